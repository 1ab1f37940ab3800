"""`tidemill features stream` and `tidemill features dead-letters`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.examples import examples
from tidemill.cli.opening import AsJson, Project, existing, opened
from tidemill.cli.output import emit_rows, when
from tidemill.core.errors import InvalidArgument
from tidemill.core.times import parse_duration, to_micros
from tidemill.streaming.supervisor import LIFELINE, Supervisor

if TYPE_CHECKING:
    from tidemill.platform import Platform
    from tidemill.streaming.service import StreamService

_STREAM = examples(
    "tidemill features stream",
    "tidemill features stream landings --port 7880 --limit 5000",
    "tidemill features stream landings --drain",
    "tidemill features stream landings --workers 4",
)


def add_to(group: typer.Typer) -> None:
    """Add the commands about streams to those about features."""
    group.command(epilog=_STREAM)(stream)
    group.command(epilog=examples("tidemill features rewind landings"))(rewind)
    group.command("dead-letters", epilog=examples("tidemill features dead-letters landings --limit 5"))(dead_letters)


def stream(
    sources: Annotated[list[str] | None, typer.Argument(help="Sources; all that have a broker when absent.")] = None,
    limit: Annotated[int, typer.Option(help="The most events in memory at once, of one source.", min=1)] = 1000,
    linger: Annotated[str, typer.Option(help="How long a batch that is not full waits for more.")] = "100ms",
    patience: Annotated[str, typer.Option(help="How long a broker may be away before the process ends.")] = "5m",
    port: Annotated[
        int | None, typer.Option(help="Answer /health and /metrics here, on loopback.", min=0, max=65535)
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that divide the partitions; each answers at a port of its own.", min=1)
    ] = 1,
    drain: Annotated[bool, typer.Option("--drain", help="End when everything there is has been read.")] = False,
    supervised: Annotated[
        bool, typer.Option("--supervised/--alone", help="Restart after a crash; alone where something else does.")
    ] = True,
    project: Project = None,
) -> None:
    """Read events of brokers, each once, until stopped."""
    existing(project)
    if supervised:
        raise typer.Exit(_supervise(workers, port))
    if workers > 1 and LIFELINE not in os.environ:
        raise InvalidArgument("--workers and --alone do not go together", hint="Start the command several times")
    from tidemill.streaming.options import Options
    from tidemill.streaming.service import StreamService, sources_to_stream

    options = Options(limit=limit, linger=_seconds(linger), patience=_seconds(patience), drain=drain)
    with opened(project) as platform:
        service = StreamService(platform, sources_to_stream(platform, sources or []), options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
        lifeline = os.environ.pop(LIFELINE, None)
        if lifeline is not None:
            threading.Thread(target=_watch, args=[int(lifeline), service], daemon=True).start()
        with _answering(platform, service, port):
            # The lines of several would be written over each other.
            _run(platform, service, on_one_line=workers == 1 and sys.stderr.isatty())


def _supervise(workers: int, port: int | None) -> int:
    # The same words again: what they mean is decided by the process that does the work.
    words = [sys.executable, "-m", "tidemill", *sys.argv[1:], "--alone"]
    return Supervisor(*([*words, *(["--port", str(port + number)] if port else [])] for number in range(workers))).run()


def _watch(lifeline: int, service: StreamService) -> None:
    os.read(lifeline, 1)  # returns when the supervisor is gone, however it died
    service.stop()


@contextlib.contextmanager
def _answering(platform: Platform, service: StreamService, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    from tidemill.api.streams import answering
    from tidemill.streaming.lines import announce

    with answering(platform, service, port) as url:
        announce(sys.stderr, platform.scope.clock, f"Health and metrics at {url}")
        yield


def _run(platform: Platform, service: StreamService, *, on_one_line: bool) -> None:
    from tidemill.serving.logs import log_json
    from tidemill.streaming.report import JsonLog, ProgressLine

    clock = platform.scope.clock
    if on_one_line:
        say: ProgressLine | JsonLog = ProgressLine(sys.stderr, clock)
    else:
        say = JsonLog(sys.stderr, clock)
        log_json(clock, platform.settings.log_level)
    try:
        service.run(say)
    finally:
        say.close()


def rewind(
    source: Annotated[str, typer.Argument(help="The source.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Forget how far a broker was read, to read it from its start.

    Shows the positions that were forgotten. Stop the stream before. Rows that are there already, with the same id and
    values, are left out when they come again.
    """
    from tidemill.streaming.service import rewind as forget

    with opened(project) as platform:
        forgotten = forget(platform, platform.definitions.get("source", source))
    rows = [{"partition": partition, "position": position} for partition, position in sorted(forgotten.items())]
    emit_rows(rows, title=f"Forgotten of {source}", empty="Nothing was read yet.", as_json=as_json)


def dead_letters(
    source: Annotated[str, typer.Argument(help="The source.")],
    limit: Annotated[int, typer.Option(help="Dead letters to show, the newest.", min=1)] = 20,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show the events of a source that are no rows, and why."""
    with opened(project) as platform:
        found = platform.data.dead_letters(platform.definitions.get("source", source))
    rows = [
        {
            "arrived": when(to_micros(one["arrived_at"])), "feed": one["feed"], "partition": one["partition"],
            "position": one["position"], "reason": one["reason"], "key": _text(one["key"]),
            "payload": _text(one["payload"]),
        }
        for one in found.tail(limit).to_dicts()
    ]  # fmt: skip
    title = f"Dead letters of {source}, {len(rows)} of {found.height}"
    emit_rows(rows, title=title, empty="There are no dead letters.", as_json=as_json)


def _text(payload: bytes | None) -> str | None:
    # What is no text is shown as Python writes bytes.
    if payload is None:
        return None
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return repr(payload)


def _seconds(duration: str) -> float:
    return parse_duration(duration) / 1e6
