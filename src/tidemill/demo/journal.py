"""How far the demo got, kept after every slice so that it can be interrupted anywhere and continue."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import msgspec


class SliceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests of one slice gave."""

    day: date
    end: int
    flights: int
    requests: int
    failed: int
    retried: int
    milliseconds: tuple[float, ...]
    errors: tuple[str, ...] = ()
    """What failed requests were told, each text once."""


class DayRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the end of one day brought."""

    closed: date
    alarms: int
    retrains: int
    version: int | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: a demo continues only with the same."""

    days: int
    every: int
    """One flight of so many takes part."""
    trials: int
    hours: int = 12
    """Landings and weather arrive for so many hours together, then the flights of those hours are asked for."""
    round: int = 1
    """After so many days their windows are closed and alarms acted on."""
    frozen_version: int = 0


Line = SliceRecord | DayRecord


class Journal:
    """An append-only file of records, one JSON line each.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._plan = path.with_suffix(".plan.json")
        self._mended = False

    def plan(self) -> Plan | None:
        """What the interrupted demo was asked for; None when there is none."""
        return msgspec.json.decode(self._plan.read_bytes(), type=Plan) if self._plan.exists() else None

    def begin(self, plan: Plan) -> None:
        """Start a new journal."""
        temporary = self._plan.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(plan))
        temporary.replace(self._plan)

    def append(self, record: Line) -> None:
        """Add a record; it survives a kill once this returns."""
        kind = "slice" if isinstance(record, SliceRecord) else "day"
        line = msgspec.json.encode({"kind": kind, **msgspec.to_builtins(record)}) + b"\n"
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._mend(fd)
            os.write(fd, line)
        finally:
            os.close(fd)

    def _mend(self, fd: int) -> None:
        """Remove the torn line a kill left at the end, or the next line would become a part of it."""
        if not self._mended:
            content = self._path.read_bytes()
            os.truncate(fd, content.rfind(b"\n") + 1)
            self._mended = True

    def read(self) -> tuple[list[SliceRecord], list[DayRecord]]:
        """All records; a torn last line is left out."""
        slices: list[SliceRecord] = []
        days: list[DayRecord] = []
        lines = self._path.read_bytes().split(b"\n") if self._path.exists() else []
        for line in lines[:-1]:
            raw = msgspec.json.decode(line)
            if raw.pop("kind") == "slice":
                slices.append(msgspec.convert(raw, SliceRecord))
            else:
                days.append(msgspec.convert(raw, DayRecord))
        return slices, days
