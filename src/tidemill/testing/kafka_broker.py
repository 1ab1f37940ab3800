"""A Kafka broker for tests: the one inside librdkafka, which speaks the protocol on a port of this machine.

It keeps its topics in the memory of this process, for as long as the object lives; any process may use it meanwhile. The
package confluent-kafka brings the library, but not these functions of it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka

_PRODUCER = 0
_ONLY = 1
"""The number of the only broker."""


class KafkaBroker:
    """One broker, without any topic yet; topics come into being when they are used, with four partitions.

    Example:
        >>> broker = KafkaBroker()
        >>> broker.address.startswith("127.0.0.1:")
        True
        >>> broker.create_topic("orders", partitions=2)
        >>> broker.close()
    """

    def __init__(self) -> None:
        self._library = _library()
        text = ctypes.create_string_buffer(512)
        conf = self._library.rd_kafka_conf_new()
        # Any address will do: it is never called, but without one a warning is printed.
        for name, value in ((b"bootstrap.servers", b"127.0.0.1:1"), (b"log_level", b"0")):
            self._library.rd_kafka_conf_set(conf, name, value, text, len(text))
        self._client = self._library.rd_kafka_new(_PRODUCER, conf, text, len(text))
        if not self._client:
            raise RuntimeError(text.value.decode())
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return str(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic.

        Args:
            name: The topic.
            partitions: The number of its partitions.
        """
        _check(self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1))

    def stop(self) -> None:
        """Break all connections and refuse new ones; the topics stay."""
        _check(self._library.rd_kafka_mock_broker_set_down(self._cluster, _ONLY))

    def start(self) -> None:
        """Take connections again."""
        _check(self._library.rd_kafka_mock_broker_set_up(self._cluster, _ONLY))

    def close(self) -> None:
        """End it."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


def _library() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    found = [*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")]
    library = ctypes.CDLL(str(found[0]) if found else "librdkafka.so.1")
    pointer, text, size, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, size]),
        ("rd_kafka_new", pointer, [number, pointer, text, size]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
        ("rd_kafka_mock_broker_set_down", number, [pointer, number]),
        ("rd_kafka_mock_broker_set_up", number, [pointer, number]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _check(code: int) -> None:
    if code != 0:
        raise RuntimeError(f"librdkafka's broker says {code}")
