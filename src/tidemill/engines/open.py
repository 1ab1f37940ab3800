"""The table of engines, and opening the one a URL names.

Another package adds engines by entry points of the group `tidemill.engines`, named after their scheme; each is an opener,
`opener(url: str) -> Engine`.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from importlib.metadata import entry_points

from tidemill.core.errors import InvalidArgument, MissingExtra
from tidemill.engines.protocol import Engine

GROUP = "tidemill.engines"


@dataclass(frozen=True)
class Opener:
    """One engine there is.

    Args:
        scheme: The scheme of its URLs.
        function: `module:function`, called with the URL.
        needs: Modules that must be installed.
        extra: The extra that installs them.
    """

    scheme: str
    function: str
    needs: tuple[str, ...] = ()
    extra: str | None = None

    @property
    def installed(self) -> bool:
        """Whether it can be opened as far as packages go."""
        return all(importlib.util.find_spec(name) is not None for name in self.needs)

    def open(self, url: str) -> Engine:
        """Open the engine.

        Raises:
            MissingExtra: A package is not installed.
        """
        if self.extra and not self.installed:
            raise MissingExtra(f"the engine {self.scheme}", self.extra)
        module, _, function = self.function.partition(":")
        engine: Engine = getattr(importlib.import_module(module), function)(url)
        return engine


BUILT_IN = (
    Opener("local", "tidemill.engines.local:open_local"),
    Opener("ray", "tidemill.engines.ray:open_ray", ("ray",), "ray"),
    Opener("dask", "tidemill.engines.dask:open_dask", ("distributed",), "dask"),
    Opener("spark", "tidemill.engines.spark:open_spark", ("pyspark", "pyarrow", "pandas"), "spark"),
)


def engines() -> dict[str, Opener]:
    """All known engines by scheme; one of another package wins over a built-in one."""
    outside = [Opener(point.name, f"{point.module}:{point.attr}") for point in entry_points(group=GROUP)]
    return {opener.scheme: opener for opener in (*BUILT_IN, *outside)}


def open_engine(url: str) -> Engine:
    """Open an engine.

    Args:
        url: `local:`, `local:?workers=2&memory=2GiB`, `ray:`, `ray://host:port`, `dask:`, `dask://host:port`, `spark:`,
            `spark://host:port`.

    Raises:
        InvalidArgument: There is no such engine, or it has no such option.
        MissingExtra: Its package is not installed.
        Unavailable: It does not answer.

    Example:
        >>> open_engine("local:?workers=2").name
        'local'
    """
    scheme, colon, _ = url.partition(":")
    known = engines()
    if not colon or scheme not in known:
        raise InvalidArgument(
            f"the engine cannot be {scheme!r}" if colon else f"the engine {url!r} has no scheme",
            expected="SCHEME: and an address",
            known=[f"{name}:" for name in known],
        )
    return known[scheme].open(url)
