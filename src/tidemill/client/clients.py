"""The two clients: one that waits, one that is awaited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, overload

from tidemill.client.exchange import Asked, Moment, Rows, ask_answers, ask_features, read_rows
from tidemill.core.errors import DeadlineExceeded, MissingExtra, Unavailable
from tidemill.core.settings import UpSettings

if TYPE_CHECKING:
    import polars as pl

URL = f"http://{UpSettings().host}:{UpSettings().port}"
"""Where `tidemill up` answers when it is not told otherwise."""


class AsyncClient:
    """A client to be awaited; many requests may be under way at once over the connections it keeps.

    Use it as an asynchronous context manager, or call `close`.

    Args:
        url: The address of a `tidemill up`.
        timeout: Seconds a request may take.
        transport: How requests travel, for tests.

    Raises:
        MissingExtra: httpx is not installed.

    Example:
        >>> import asyncio
        >>> async def main():
        ...     async with AsyncClient("http://127.0.0.1:7878") as client:
        ...         return await client.features("late_flight", [{"carrier": "UA", "origin": "EWR"}])
    """

    def __init__(self, url: str = URL, *, timeout: float = 10.0, transport: Any = None) -> None:
        self._url = url
        with _told(url):
            self._http = _httpx().AsyncClient(base_url=url, timeout=timeout, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give its connections back."""
        await self._http.aclose()

    @overload
    async def features(self, service: str, rows: Rows, *, at: Moment | None = None) -> list[dict[str, Any]]: ...
    @overload
    async def features(self, service: str, rows: Any, *, at: Moment | None = None) -> pl.DataFrame: ...
    async def features(self, service: str, rows: Any, *, at: Moment | None = None) -> Any:
        """The features of each row, in the order of the rows.

        Args:
            service: The feature service.
            rows: Keys, and what on-demand features read: a list of dicts, or a frame of Polars, pandas or pyarrow.
            at: The moment of all rows: ISO text, a datetime, or microseconds. Absent: each row's own time, or the clock.

        Returns:
            A list of dicts for a list of dicts. For a frame a Polars frame, with the types the features have.

        Raises:
            NotFound: There is no such service, or a key is missing.
            InvalidArgument: A value, or the moment, is wrong.
            NotReady: The features were not materialized yet.
            Unavailable: The server cannot be reached.
            DeadlineExceeded: It did not answer in time.
        """
        return await self._answer(ask_features(service, rows, at))

    @overload
    async def respond(self, source: str, rows: Rows, service: str) -> list[dict[str, Any]]: ...
    @overload
    async def respond(self, source: str, rows: Any, service: str) -> pl.DataFrame: ...
    async def respond(self, source: str, rows: Any, service: str) -> Any:
        """Give rows that just happened to a source, and be answered with features of each, as of its own time.

        The rows are durable then. When no answer came, send them again: they are taken once, and answered.

        Args:
            source: The source.
            rows: A list of dicts, or a frame of Polars, pandas or pyarrow.
            service: The feature service; its keys are columns of the source.

        Returns:
            A list of dicts for a list of dicts, in the order of the rows. For a frame a Polars frame.

        Raises:
            NotFound: There is no such source or service, or a key is missing.
            InvalidData: A row fails a check; none was taken.
            NotReady: The features were not materialized yet.
            Overloaded: Too many rows wait to be moved into the table.
            Unavailable: The server cannot be reached.
            DeadlineExceeded: It did not answer in time.
        """
        return await self._answer(ask_answers(source, rows, service))

    async def _answer(self, asked: Asked) -> Any:
        with _told(self._url):
            answer = await self._http.post(asked.path, **_sent(asked))
        return read_rows(asked.kind, answer.status_code, answer.content)


class Client:
    """A client that waits for each answer. May be shared by threads.

    Use it as a context manager, or call `close`.

    Args:
        url: The address of a `tidemill up`.
        timeout: Seconds a request may take.
        transport: How requests travel, for tests.

    Raises:
        MissingExtra: httpx is not installed.

    Example:
        >>> with Client("http://127.0.0.1:7878") as client:
        ...     client.features("late_flight", [{"carrier": "UA"}])  # doctest: +SKIP
    """

    def __init__(self, url: str = URL, *, timeout: float = 10.0, transport: Any = None) -> None:
        self._url = url
        with _told(url):
            self._http = _httpx().Client(base_url=url, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give its connections back."""
        self._http.close()

    @overload
    def features(self, service: str, rows: Rows, *, at: Moment | None = None) -> list[dict[str, Any]]: ...
    @overload
    def features(self, service: str, rows: Any, *, at: Moment | None = None) -> pl.DataFrame: ...
    def features(self, service: str, rows: Any, *, at: Moment | None = None) -> Any:
        """The features of each row; see `AsyncClient.features`."""
        return self._answer(ask_features(service, rows, at))

    @overload
    def respond(self, source: str, rows: Rows, service: str) -> list[dict[str, Any]]: ...
    @overload
    def respond(self, source: str, rows: Any, service: str) -> pl.DataFrame: ...
    def respond(self, source: str, rows: Any, service: str) -> Any:
        """Give rows to a source, and be answered with features of each; see `AsyncClient.respond`."""
        return self._answer(ask_answers(source, rows, service))

    def _answer(self, asked: Asked) -> Any:
        with _told(self._url):
            answer = self._http.post(asked.path, **_sent(asked))
        return read_rows(asked.kind, answer.status_code, answer.content)


def _httpx() -> Any:
    try:
        import httpx
    except ModuleNotFoundError:
        raise MissingExtra("the HTTP client", "client") from None
    return httpx


def _sent(asked: Asked) -> dict[str, Any]:
    return {"params": asked.query, "content": asked.body, "headers": asked.headers}


@contextmanager
def _told(url: str) -> Iterator[None]:
    """What goes wrong on the way, in Tidemill's words."""
    httpx = _httpx()
    try:
        yield
    except httpx.TimeoutException:
        raise DeadlineExceeded(f"{url} did not answer in time", hint="Ask again, or raise timeout=") from None
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise Unavailable(
            f"{url} cannot be reached: {error}", hint="Check the address; start it with `tidemill up`"
        ) from None
