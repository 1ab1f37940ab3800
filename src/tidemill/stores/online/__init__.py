"""The online store: Protocol and backends."""
