"""Features: definitions become point-in-time columns, the same offline and online."""
