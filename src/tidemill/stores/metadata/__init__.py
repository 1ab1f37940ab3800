"""The metadata store: Protocol and backends."""
