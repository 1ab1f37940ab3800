"""What the library for Kafka says, in words."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException

from tidemill.core.errors import InvalidArgument, PermissionDenied

log = logging.getLogger("tidemill.kafka")
"""Where the library writes, instead of standard error."""

REFUSED = (
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
)
"""The codes that mean that waiting does not help."""


def denied(who: str, error: KafkaError) -> PermissionDenied:
    """The error for a broker that does not let the user in."""
    return PermissionDenied(f"{who} refuses ({error.str()})", hint="Check user and password in the URL")


def misconfigured(error: KafkaException) -> InvalidArgument:
    """The error for a setting that the library does not know or take."""
    return InvalidArgument(f"an option in the URL of kafka is wrong: {error.args[0].str()}")
