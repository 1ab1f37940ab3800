"""One file per format, numbered; a released one never changes."""
