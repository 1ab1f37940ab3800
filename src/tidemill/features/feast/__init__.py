"""Feast repositories, read in Feast's own environment and written anew as Tidemill definitions."""
