"""The artifacts store: Protocol and backends."""
