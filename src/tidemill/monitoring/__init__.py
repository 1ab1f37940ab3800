"""Capture, labels, windows, drift, performance and evidence."""
