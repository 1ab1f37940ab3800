"""Several streams in one process, a thread each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from tidemill.core.errors import InvalidArgument
from tidemill.core.specs.sources import Source
from tidemill.platform import Platform
from tidemill.stores.consumers.open import is_broker
from tidemill.streaming.options import Options, broker_of, feed_name
from tidemill.streaming.status import Status
from tidemill.streaming.stream import Stream

_log = logging.getLogger("tidemill.streaming")

Say = Callable[[list[Status]], None]
"""Called about once a second with how the streams stand."""


class StreamService:
    """Reads the brokers of some sources until told to stop, or until one of them cannot be read.

    Args:
        platform: The platform.
        sources: The sources.
        options: How they are read.
    """

    def __init__(self, platform: Platform, sources: Sequence[Source], options: Options) -> None:
        self._streams = [Stream(platform, source, options) for source in sources]
        self._stop = threading.Event()
        self._ended = threading.Semaphore(0)
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Finish the batches at hand, then end. Safe in a signal handler."""
        self._stop.set()

    def status(self) -> list[Status]:
        """How the streams stand."""
        return [stream.gauge.read() for stream in self._streams]

    def run(self, say: Say, *, every: float = 1.0) -> None:
        """Read; returns when all streams ended.

        Args:
            say: Told now and then how they stand.
            every: Seconds between two times.

        Raises:
            TidemillError: A stream failed; the others finished the batches at hand.
        """
        threads = [
            threading.Thread(target=self._work, args=[stream], name=f"tidemill-stream-{number}", daemon=True)
            for number, stream in enumerate(self._streams)
        ]
        for thread in threads:
            thread.start()
        ended = 0
        say(self.status())
        while ended < len(threads):
            ended += self._ended.acquire(timeout=every)
            say(self.status())
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _work(self, stream: Stream) -> None:
        try:
            stream.run(self._stop)
            stream.gauge.state = "stopped"
        except BaseException as error:  # noqa: BLE001 - the thread's edge: `run` raises it when the others have ended
            stream.gauge.state, stream.gauge.detail = "failed", str(error)
            _log.error("the stream of %s ended: %s", stream.gauge.read().source, error)
            self._failure = self._failure or error
            self._stop.set()
        finally:
            self._ended.release()


def sources_to_stream(platform: Platform, names: Sequence[str]) -> list[Source]:
    """The sources of some names; all whose URL names a broker when there are none.

    Raises:
        NotFound: A name is of no source.
        InvalidArgument: No source has a broker.
    """
    if names:
        return [platform.definitions.get("source", name) for name in names]
    defined: dict[str, Source] = platform.definitions.of_kind("source")
    found = [source for source in defined.values() if source.url is not None and is_broker(source.url)]
    if not found:
        raise InvalidArgument(
            "no source of the project is read from a broker",
            expected="at least one, such as tm.Source('trips', 'kafka://HOST:PORT/TOPIC', time='at', id='trip_id')",
        )
    return found


def rewind(platform: Platform, source: Source) -> dict[str, str]:
    """Let the next stream of a source begin with the earliest event of its broker.

    Returns:
        The positions that were forgotten, by partition.

    Raises:
        InvalidArgument: The source is not read from a broker.
    """
    feed = feed_name(broker_of(source))
    known = platform.data.positions(source, feed)
    platform.data.forget_positions(source, feed)
    return known
