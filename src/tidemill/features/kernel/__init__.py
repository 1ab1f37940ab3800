"""The kernel: point-in-time look-ups and windows on columns in memory. Pure functions, no input or output."""
