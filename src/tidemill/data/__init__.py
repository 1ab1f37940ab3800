"""Ingest: sources, their archive, quality checks, quarantine, and splits."""
