"""The demo: a year of real flights in accelerated time, with a model that watches and heals itself."""

from __future__ import annotations

import contextlib
import http.client
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from tidemill.core.clock import SharedClock
from tidemill.core.errors import InvalidArgument, Unavailable
from tidemill.daemon import Daemon, Tick
from tidemill.demo.clients import Answer, Clients
from tidemill.demo.comparison import ENDPOINT, MODEL, MonthScores, compare
from tidemill.demo.flights import prepare
from tidemill.demo.journal import DayRecord, Journal, Plan, SliceRecord
from tidemill.demo.report import make_report, print_report, write_report
from tidemill.demo.servers import Server, end_orphans, free_port
from tidemill.demo.year import FIRST_DAY, LAST_DAY, Slice, Year, midnight
from tidemill.platform import Platform, open

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PIPELINE = "late_flight_pipeline"
_SETTINGS = """\
project = "late-flights"
files = ["late_flights.py"]
clock = "shared:clock"      # accelerated time, the same for all processes
executor = "inline"

[channels]
team = "console:"
"""


@dataclass(frozen=True)
class Options:
    """What `tidemill demo` was asked for."""

    days: int | None = None
    fast: bool = False
    keep: bool = False
    restart: bool = False
    report: Path | None = None
    folder: Path = Path("tidemill-demo")

    def plan(self) -> Plan:
        """The days to live and how."""
        whole = (LAST_DAY - FIRST_DAY).days + 1
        if self.days is not None and self.days > whole:
            raise InvalidArgument(f"--days {self.days} is more than the year has left", expected=f"at most {whole}")
        days = self.days or whole
        if self.fast:
            return Plan(days=days, every=4, trials=6, hours=24, round=7)
        return Plan(days=days, every=1, trials=20, hours=12, round=1)


class Demo:
    """One demo, from the raw files to the final table.

    Args:
        options: What was asked for.
    """

    def __init__(self, options: Options) -> None:
        from rich.console import Console

        self._options = options
        self._plan = options.plan()
        self._folder = options.folder.resolve()
        self._journal = Journal(self._folder / ".tidemill" / "demo.jsonl")
        self._console: Console = Console()
        self._began = time.perf_counter()
        self._stop = _Stop()

    def run(self) -> None:
        """Live through the days, then show what came of it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        try:
            self._run()
        except KeyboardInterrupt:
            self._console.print("\nStopped. Run the same command again to continue, with --restart to start over.")
            raise

    def _run(self) -> None:
        continues = self._continues()
        end_orphans(self._folder)
        if not continues:
            self._clear()
        with self._console.status("Reading a year of flights"):
            prepare(self._folder / "year")
            year = Year(self._folder / "year", every=self._plan.every)
        if not continues:
            self._write_project(year)
        with ExitStack() as stack:
            platform = stack.enter_context(open(self._folder))
            if not continues:
                self._deploy_first(platform)
            # Before the servers start, so that it is this daemon that acts: once a day, when the day is over.
            daemon = stack.enter_context(Daemon(platform, every=None, wait=True))
            servers = stack.enter_context(self._servers())
            self._live(platform, year, servers, daemon)
            scores = self._compare(platform, year)
            self._show(scores, servers)

    # -- starting

    def _continues(self) -> bool:
        plan = self._journal.plan()
        if plan is None or self._options.restart:
            return False
        same = msgspec.structs.replace(plan, frozen_version=0, days=0) == msgspec.structs.replace(self._plan, days=0)
        if not same:
            raise InvalidArgument(f"{self._folder} holds a demo with other options", hint="Add --restart to start over")
        self._plan = msgspec.structs.replace(plan, days=self._plan.days)
        self._console.print("Continuing the demo of an earlier run.")
        return True

    def _clear(self) -> None:
        for name in (".tidemill", "data"):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def _write_project(self, year: Year) -> None:
        """The project as its owner has it on 1 April: definitions, and what is known until then."""
        source = files("tidemill.demo").joinpath("late_flights.py").read_text(encoding="utf-8")
        (self._folder / "late_flights.py").write_text(
            source.replace("trials=20", f"trials={self._plan.trials}"), encoding="utf-8"
        )
        (self._folder / "tidemill.toml").write_text(_SETTINGS, encoding="utf-8")
        data = self._folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        flights, weather = year.before(midnight(FIRST_DAY))
        flights.write_parquet(data / "flights.parquet")
        weather.write_csv(data / "weather.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
        shutil.copy(self._folder / "year" / "planes.csv", data / "planes.csv")
        SharedClock(self._folder / ".tidemill" / "clock").set(midnight(FIRST_DAY))

    def _deploy_first(self, platform: Platform) -> None:
        with self._console.status("Ingesting January to March"):
            arrivals = platform.ingest()
            platform.apply()
        for arrival in arrivals:
            self._say(f"{arrival.source}: {arrival.rows:,} rows, {arrival.quarantined:,} in quarantine")
        with self._console.status("Training the first model"):
            run = platform.pipelines.run(PIPELINE, reason="the first model")
        version = platform.registry.alias(MODEL, "champion")
        if version is None:
            raise Unavailable(f"the first model was not promoted: {run.result}")
        self._say(
            f"version {version} is champion: {run.result['metric']} {run.result['score']:.4f} on the last 28 days"
        )
        self._plan = msgspec.structs.replace(self._plan, frozen_version=version)
        self._journal.begin(self._plan)

    @contextmanager
    def _servers(self) -> Iterator[tuple[Server, Server]]:
        serve = Server(self._folder, ["serve"], port=free_port(), health="/v2/health/ready")
        up = Server(self._folder, ["up"], port=free_port(), health="/health")
        try:
            with self._console.status("Starting the servers"):
                serve.start()
                up.start()
            self._say(f"predictions at http://127.0.0.1:{serve.port}, pages at http://127.0.0.1:{up.port}")
            yield serve, up
        finally:
            serve.stop()
            up.stop()

    # -- living

    def _live(self, platform: Platform, year: Year, servers: tuple[Server, Server], daemon: Daemon) -> None:
        slices, days = self._journal.read()
        lived = max((one.end for one in slices), default=0)
        closed = {one.closed for one in days}
        clients = Clients("127.0.0.1", servers[0].port, f"/predict/{ENDPOINT}")
        with ExitStack() as stack, contextlib.closing(clients), self._progress() as progress:
            life = _Life(platform, daemon, clients, servers, self._journal, self._say, self._plan)
            life.requests, life.alarms = sum(one.requests for one in slices), sum(one.alarms for one in days)
            life.await_version()
            stack.enter_context(self._stop.after_the_slice())
            bar = progress.add_task("", total=self._plan.days, completed=0, **_shown(life, FIRST_DAY))
            for number in range(self._plan.days):
                day = FIRST_DAY + timedelta(days=number)
                life.open(day, closed=day in closed)
                for part in year.day(day, hours=self._plan.hours):
                    if part.end > lived:
                        life.live(day, part)
                        self._stop.check(life.settle)
                progress.update(bar, completed=number + 1, **_shown(life, day))
            life.end()
            progress.update(bar, **_shown(life, day))

    def _progress(self) -> Progress:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        text = (
            "{task.fields[date]}  {task.fields[requests]:,} requests  {task.fields[alarms]} alarms  "
            "version {task.fields[version]}"
        )
        return Progress(TextColumn(text), BarColumn(), TimeElapsedColumn(), console=self._console)

    # -- the end

    def _compare(self, platform: Platform, year: Year) -> list[MonthScores]:
        end = midnight(FIRST_DAY + timedelta(days=self._plan.days))
        with self._console.status("Comparing with a frozen model and one retrained every month") as status:
            return compare(
                platform, known=year.flights.select("flight_id", "known"), frozen=self._plan.frozen_version, end=end,
                progress=lambda month: status.update(f"Comparing with a model retrained for {month}"),
            )  # fmt: skip

    def _show(self, scores: list[MonthScores], servers: tuple[Server, Server]) -> None:
        slices, days = self._journal.read()
        report = make_report(slices, days, scores, seconds=time.perf_counter() - self._began,
                             restarts=sum(server.restarts for server in servers))  # fmt: skip
        print_report(report, self._console)
        if self._options.report is not None:
            write_report(report, self._options.report)
        if self._options.keep:
            self._say(f"Look around: http://127.0.0.1:{servers[1].port} (Ctrl-C ends it)")
            while True:
                time.sleep(1)
        self._say(f"Look around: tidemill up --project {self._options.folder}, then http://127.0.0.1:7878")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)


def _shown(life: _Life, day: date) -> dict[str, Any]:
    return {"date": str(day), "requests": life.requests, "alarms": life.alarms, "version": life.version or "-"}


class _Stop:
    """Ctrl-C and SIGTERM: at once, or, while the year goes by, once the hours at hand are lived; a second one at once."""

    def __init__(self) -> None:
        self._waits = self._asked = False

    def __call__(self, number: int, frame: object) -> None:
        if not self._waits or self._asked:
            raise KeyboardInterrupt
        self._asked = True

    @contextmanager
    def after_the_slice(self) -> Iterator[None]:
        """Within the block the first request to stop waits for `check`."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def check(self, settle: Callable[[], None]) -> None:
        """Stop if that was asked for."""
        if self._asked:
            settle()
            raise KeyboardInterrupt


@dataclass
class _Life:
    """What happens in the world, slice by slice and day by day."""

    platform: Platform
    daemon: Daemon
    clients: Clients
    servers: tuple[Server, Server]
    journal: Journal
    say: Callable[[str], None]
    plan: Plan
    requests: int = 0
    alarms: int = 0
    _open: list[date] = field(default_factory=list)
    """The days whose windows are not closed yet, the one at hand last."""
    _asked: tuple[date, Slice, list[Future[Answer]], Future[None]] | None = None
    _poster: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "labels"))

    def __post_init__(self) -> None:
        self.version = self.platform.registry.alias(MODEL, "champion")

    def open(self, day: date, *, closed: bool) -> None:
        """A day begins, unless an earlier run of the demo closed it already."""
        if not closed:
            self._open.append(day)

    def end(self) -> None:
        """The last day ends."""
        self.settle()
        if self._open:
            self._close(self._open)

    def live(self, day: date, part: Slice) -> None:
        """Time passes, rows arrive, clients ask, labels become known; days before are closed meanwhile."""
        # When a day's last hours are asked for, its own window is complete by the clock, but not its answers.
        last = part.end >= midnight(day + timedelta(days=1))
        ended = self._to_close(day)
        if last and ended:
            self.settle()
            self._close(ended)
        clock = SharedClock(self.platform.settings.home_path / "clock")
        clock.set(max(part.end, clock.now()))  # hours that were interrupted are lived again, a little later
        self._arrive(part)
        self._ensure()
        asked = self.clients.ask(_batches(part))
        # While the clients wait the world goes on: what lands later is not seen at the earlier time of their flights.
        self.settle()
        self._asked = (day, part, asked, self._poster.submit(self._post_labels, part.outcomes))
        if ended and not last:
            self._close(ended)

    def settle(self) -> None:
        """Note what the requests of the slice before gave."""
        if self._asked is None:
            return
        day, part, asked, posting = self._asked
        waiting: list[Future[Any]] = [*asked, posting]
        while wait(waiting, timeout=1.0).not_done:
            self._ensure()  # a server that was killed comes back while its clients try again
        answers = [future.result() for future in asked]
        posting.result()
        self._asked = None
        self.requests += len(answers)
        record = _record(day, part, answers)
        self.journal.append(record)
        for error in record.errors:
            self.say(f"  {day}  a request failed: {error}")

    def _to_close(self, day: date) -> list[date]:
        """The days before this one, if enough of them are open."""
        ended = [one for one in self._open if one != day]
        return ended if len(ended) >= self.plan.round else []

    def _close(self, days: list[date]) -> None:
        """Close the windows of days that are over, and act on alarms."""
        tick = self.daemon.tick()
        before, self.version = self.version, self.platform.registry.alias(MODEL, "champion")
        if self.version != before:
            self.await_version()
        alarms = sum(len(report.alarms) for report in tick.reports)
        retrains = sum(decision.action == "retrain" for decision in tick.decisions)
        self.alarms += alarms
        for day in days[:-1]:
            self.journal.append(DayRecord(closed=day, alarms=0, retrains=0, version=before))
        self.journal.append(DayRecord(closed=days[-1], alarms=alarms, retrains=retrains, version=self.version))
        self._open = self._open[len(days) :]
        for line in _told(tick):
            self.say(f"  {days[-1]}  {line}")

    def _arrive(self, part: Slice) -> None:
        landed = part.outcomes.filter(pl.col("landed_at").is_not_null())
        for source, rows in (("weather", part.weather), ("landings", landed), ("flights", part.outcomes)):
            if rows.height:
                self.platform.push(source, rows)

    def _post_labels(self, outcomes: pl.DataFrame) -> None:
        known = outcomes.filter(pl.col("arr_delay").is_not_null())
        if not known.height:
            return
        rows = known.select(id="flight_id", label=pl.col("arr_delay") > 15, known_at="landed_at").to_dicts()
        ends = time.monotonic() + 60
        while not self._posted(msgspec.json.encode({"rows": rows})):
            if time.monotonic() > ends:
                raise Unavailable("the labels were not taken: the server does not answer")
            time.sleep(0.2)  # killed meanwhile; posting labels again changes nothing

    def _posted(self, body: bytes) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.servers[1].port, timeout=60)
        with contextlib.closing(connection):
            try:
                connection.request("POST", "/api/tidemill/v1/labels/late", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException):
                return False
        if response.status >= 300:
            raise Unavailable(f"the labels were not taken: {response.status} {answer[:300].decode(errors='replace')}")
        return True

    def _ensure(self) -> None:
        for server in self.servers:
            server.ensure()

    def await_version(self) -> None:
        """Wait until the new champion serves, so that no request meets a server without it."""
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            if self._serving_version() == self.version:
                return
            time.sleep(0.05)
        raise Unavailable(f"version {self.version} is champion but does not serve after 60 s")

    def _serving_version(self) -> int | None:
        serving = [g for g in self.platform.serving.generations(ENDPOINT) if g.state == "serving"]
        return next((v for g in serving for uri, v in g.models.items() if uri.endswith("@champion")), None)


def _batches(part: Slice) -> list[list[dict[str, Any]]]:
    """The flights of a slice in requests of 8 to 32 rows."""
    rows, draw, batches = part.departures.to_dicts(), random.Random(part.start), []
    while rows:
        size = draw.randint(8, 32)
        batches.append(rows[:size])
        rows = rows[size:]
    return batches


def _record(day: date, part: Slice, answers: list[Answer]) -> SliceRecord:
    return SliceRecord(
        day=day,
        end=part.end,
        flights=part.departures.height,
        requests=len(answers),
        failed=sum(not answer.ok for answer in answers),
        retried=sum(answer.retried for answer in answers),
        milliseconds=tuple(round(answer.seconds * 1000, 2) for answer in answers),
        errors=tuple(dict.fromkeys(answer.error or "an incomplete answer" for answer in answers if not answer.ok)),
    )


def _told(tick: Tick) -> list[str]:
    """What the notification channel does not tell: why an alarm starts no retrain."""
    return [f"{one.action}: {one.reason}" for one in tick.decisions if one.action != "retrain"]
