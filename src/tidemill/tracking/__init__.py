"""Runs, datasets, lineage, and the catalog of definitions: the record everything writes to."""
