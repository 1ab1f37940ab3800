"""The address of a broker, read from its URL."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from tidemill.core.errors import InvalidArgument

_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Address:
    """The parts of `SCHEME://USER:PASSWORD@HOST:PORT,HOST:PORT/PATH?OPTION=VALUE`."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    user: str | None
    password: str | None
    path: str
    """Without the leading slash."""
    options: Mapping[str, str]

    @property
    def host(self) -> str:
        """The first host."""
        return self.hosts[0][0]

    @property
    def port(self) -> int:
        """The first port."""
        return self.hosts[0][1]

    @property
    def servers(self) -> str:
        """All hosts with their ports, joined by commas."""
        return ",".join(f"{_bracketed(host)}:{port}" for host, port in self.hosts)

    def number(self, option: str, default: float) -> float:
        """The value of an option that is a number above 0.

        Raises:
            InvalidArgument: It is something else.
        """
        text = self.options.get(option)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise InvalidArgument(f"{option}={text!r} in the URL of {self.scheme}", expected="a number above 0")
        return value


def parse_address(url: str, port: int, *, options: Collection[str] = (), dotted: bool = False) -> Address:
    """Read the URL of a broker.

    Args:
        url: The URL.
        port: The port where the URL names none.
        options: The options it may have.
        dotted: Whether it may also have options with a dot in their name, which are settings of the broker's library.

    Raises:
        InvalidArgument: It has no host, a wrong port or an unknown option.

    Example:
        >>> address = parse_address("redis://mill:s3cret@10.0.0.7/2?stream=orders", 6379, options=["stream"])
        >>> (address.servers, address.path, address.options["stream"])
        ('10.0.0.7:6379', '2', 'orders')
    """
    parts = urlsplit(url)
    login, _, location = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    hosts = tuple(_host(text, port, parts.scheme) for text in location.split(","))
    found = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in found:
        if name not in options and not (dotted and "." in name):
            raise InvalidArgument(f"the URL of {parts.scheme} has no option {name!r}", known=options)
    return Address(
        parts.scheme,
        hosts,
        unquote(user) if user else None,
        unquote(password) if colon else None,
        unquote(parts.path.removeprefix("/")),
        found,
    )


def check_group(group: str) -> str:
    """The name of a group of processes, if it fits every broker.

    Raises:
        InvalidArgument: It does not.

    Example:
        >>> check_group("shop.orders")
        'shop.orders'
    """
    if not _GROUP.fullmatch(group):
        raise InvalidArgument(
            f"{group!r} is no name of a group",
            expected="up to 128 letters, digits and . _ -, with no sign at the start",
        )
    return group


def _host(text: str, port: int, scheme: str) -> tuple[str, int]:
    expected = f"{scheme}://HOST or {scheme}://HOST:PORT"
    try:
        parts = urlsplit(f"//{text}")
        host, number = parts.hostname, parts.port
    except ValueError:
        # The text is not repeated: a password with an unquoted sign may have ended up in it.
        raise InvalidArgument(f"the URL of {scheme} has a wrong port", expected=expected) from None
    if not host:
        raise InvalidArgument(f"the URL of {scheme} names no host", expected=expected)
    return host, port if number is None else number


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
