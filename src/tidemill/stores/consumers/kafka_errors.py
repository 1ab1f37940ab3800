"""What the library for Kafka says, in words."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException

from tidemill.core.errors import InvalidArgument, NotFound, PermissionDenied

log = logging.getLogger("tidemill.kafka")
"""Where the library writes, instead of standard error."""

REFUSED = (
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
)
"""The codes that mean that waiting does not help."""

UNKNOWN = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
"""The codes that mean that there is no such topic."""


def no_topic(who: str, topic: str) -> NotFound:
    """The error for a topic that does not exist."""
    return NotFound(f"{who} has no topic {topic!r}", hint="Create it, or correct the URL")


def denied(who: str, error: KafkaError) -> PermissionDenied:
    """The error for a broker that does not let the user in."""
    return PermissionDenied(f"{who} refuses ({error.str()})", hint="Check user and password in the URL")


def misconfigured(error: KafkaException) -> InvalidArgument:
    """The error for a setting that the library does not know or take."""
    return InvalidArgument(f"an option in the URL of kafka is wrong: {error.args[0].str()}")
