"""Brokers that events are read from: Protocol and backends."""
