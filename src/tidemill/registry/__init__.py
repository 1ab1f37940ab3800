"""Models: versions, aliases with their history, signatures and file formats."""
