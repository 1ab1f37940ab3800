"""The URL of an engine: its scheme, the address of a cluster, and options."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tidemill.core.errors import InvalidArgument

_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]+)?")


@dataclass(frozen=True)
class Address:
    """A URL such as `ray://host:10001` or `local:?workers=2&memory=2GiB`.

    Args:
        scheme: The engine.
        host: `host:port` of a cluster; empty for one on this machine.
        options: What stands behind the question mark.
    """

    scheme: str
    host: str
    options: dict[str, str]

    def count(self, name: str) -> int | None:
        """An option that is a positive number; None when it is absent.

        Raises:
            InvalidArgument: It is none.
        """
        text = self.options.get(name)
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise InvalidArgument(f"{name}={text!r} of engine {self.scheme!r}", expected="a whole number from 1")
        return int(text)

    def flag(self, name: str, *, default: bool) -> bool:
        """An option that is `yes` or `no`.

        Raises:
            InvalidArgument: It is neither.
        """
        text = self.options.get(name, "yes" if default else "no")
        if text not in ("yes", "no"):
            raise InvalidArgument(f"{name}={text!r} of engine {self.scheme!r}", known=["yes", "no"])
        return text == "yes"

    def size(self, name: str) -> int | None:
        """An option that is an amount of memory, in bytes; None when it is absent."""
        text = self.options.get(name)
        return None if text is None else parse_size(text)


def parse_address(url: str, known: Collection[str], *, cluster: bool = True) -> Address:
    """Read the URL of an engine.

    Args:
        url: The URL.
        known: The names of options there are.
        cluster: Whether it may name a cluster.

    Raises:
        InvalidArgument: It names an option there is not, or a cluster of an engine without.

    Example:
        >>> parse_address("dask://10.0.0.7:8786", ["workers"])
        Address(scheme='dask', host='10.0.0.7:8786', options={})
    """
    scheme, _, rest = url.partition(":")
    host, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise InvalidArgument(f"engine {scheme!r} has no option {name!r}", known=sorted(known))
    host = host.removeprefix("//")
    if host and not cluster:
        raise InvalidArgument(f"engine {scheme!r} has no address, but {host!r} was given", expected=f"{scheme}:")
    if host and ":" not in host:
        raise InvalidArgument(f"engine {scheme!r} at {host!r} has no port", expected=f"{scheme}://host:port")
    return Address(scheme, host, options)


def parse_size(text: str) -> int:
    """An amount of memory in bytes.

    Raises:
        InvalidArgument: The text is none.

    Example:
        >>> parse_size("2GiB"), parse_size("1.5 kB")
        (2147483648, 1500)
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _UNITS.get((match["unit"] or "B") if match else "")
    if match is None or factor is None or not float(match["number"]):
        raise InvalidArgument(f"{text!r} is no amount of memory", expected="a number and a unit", known=_UNITS)
    return round(float(match["number"]) * factor)
