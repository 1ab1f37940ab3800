"""Alembic migrations of the metadata store. Run by `upgrade`, or by hand with this folder as the script location."""
