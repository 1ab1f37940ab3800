"""URLs of brokers and their parts: what is known, what is refused and in which words."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tidemill.core.errors import InvalidArgument, MissingExtra
from tidemill.stores.consumers.address import check_group, parse_address
from tidemill.stores.consumers.open import is_broker, open_consumer, open_producer, schemes


def test_an_unknown_scheme_lists_the_known_ones(tmp_path: Path) -> None:
    known = r"Known: stream:, redis:, rediss:, kafka:, nats:, tls:, amqp:, amqps:"
    for url, words in (("pulsar://u:geheim77@h/t", "cannot be read from 'pulsar'"), ("orders", "has no scheme")):
        with pytest.raises(InvalidArgument, match=f"{words}.*{known}") as caught:
            open_consumer(url, tmp_path, group="g")
        assert "geheim77" not in str(caught.value)
        with pytest.raises(InvalidArgument, match=words):
            open_producer(url, tmp_path)


def test_brokers_are_told_from_files() -> None:
    assert all(is_broker(f"{scheme}://h/x") for scheme in schemes())
    assert not any(is_broker(url) for url in ("rows.csv", "data/kafka", "s3://bucket/x", "", "C:/rows.csv"))


@pytest.mark.parametrize(
    ("url", "extra"),
    [
        ("redis://h?stream=s", "redis"),
        ("kafka://h/t", "kafka"),
        ("nats://h/s", "nats"),
        ("amqps://h?queue=q", "rabbitmq"),
    ],
)
def test_a_missing_package_is_named(url: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match=rf"pip install 'tidemill\[{extra}\]'"):
        open_consumer(url, tmp_path, group="g")


@pytest.mark.parametrize("group", ["", "-a", "a b", "a/b", "é", "a" * 129])
def test_names_of_groups(group: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="is no name of a group"):
        open_consumer("stream:t", tmp_path, group=group)
    assert check_group("shop.late_flights-2") == "shop.late_flights-2"


def test_the_parts_of_an_address() -> None:
    address = parse_address("kafka://u%40x:p%2Fw%3A@a:1,b,[::1]:3/t%20x?a.b=c%26d", 9, dotted=True)
    assert address.servers == "a:1,b:9,[::1]:3"
    assert (address.host, address.port) == ("a", 1)
    assert (address.user, address.password, address.path) == ("u@x", "p/w:", "t x")
    assert address.options == {"a.b": "c&d"}
    assert parse_address("redis://h", 6379).password is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nats:///x", "names no host"),
        ("nats://a,,b/x", "names no host"),
        ("nats://h:x/s", "wrong port"),
        ("nats://h:70000/s", "wrong port"),
        ("nats://u:geheim77/@h/s", "wrong port"),
        ("nats://h/s?lesae=3", "no option 'lesae'.*Known: lease"),
        ("nats://h/s?a.b=3", "no option 'a.b'"),
    ],
)
def test_wrong_addresses(url: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        parse_address(url, 4222, options=["lease"])
    assert "geheim77" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "inf", "nan"])
def test_wrong_numbers(text: str) -> None:
    address = parse_address(f"nats://h/s?lease={text}", 4222, options=["lease"])
    with pytest.raises(InvalidArgument, match=r"lease=.* a number above 0"):
        address.number("lease", 10.0)
    assert parse_address("nats://h/s?lease=1.5", 4222, options=["lease"]).number("lease", 10.0) == 1.5
