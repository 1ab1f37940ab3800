"""The streams store: Protocol and backends."""
