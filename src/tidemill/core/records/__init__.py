"""What the metadata store keeps: one frozen struct per kind of record.

A record's scalar fields become typed columns, everything else JSON. Every record has project, principal and creation time.
"""
