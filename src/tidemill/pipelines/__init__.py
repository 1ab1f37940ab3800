"""Pipelines: running a traced graph of steps, with a cache that can explain itself."""
