"""Specs, ids, clock, errors, settings and Protocols: what every room shares. Standard library and msgspec only."""
