"""The tables store: Protocol and backends."""
