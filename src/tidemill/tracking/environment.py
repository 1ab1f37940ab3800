"""What a run ran in: Python, platform, installed distributions, the process, and what it used."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import resource
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.core.ids import digest_bytes


@functools.cache
def distributions() -> tuple[str, ...]:
    """`name==version` of every installed distribution, sorted; looked up once per process."""
    found = {
        f"{dist.metadata['Name'].lower()}=={dist.version}"
        for dist in importlib.metadata.distributions()
        if dist.metadata["Name"]
    }
    return tuple(sorted(found))


@functools.cache
def distributions_text() -> bytes:
    """`distributions()` as a file, one a line."""
    return "\n".join(distributions()).encode()


@functools.cache
def distributions_digest() -> str:
    """The digest of that file: equal in two processes exactly if they have the same packages."""
    return digest_bytes(distributions_text())


def describe_environment() -> dict[str, Any]:
    """Python, platform and distributions (a digest) of this process, as plain JSON."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "distributions": distributions_digest(),
    }


def this_process() -> dict[str, Any]:
    """Host, pid and start of this process: enough to tell later whether it still lives."""
    return describe_process(os.getpid())


def describe_process(pid: int) -> dict[str, Any]:
    """The same of another process of this host."""
    return {"host": socket.gethostname(), "pid": pid, "started": process_start(pid)}


def process_start(pid: int) -> str | None:
    """When a process started, in the system's own terms; None when there is no such process.

    With it a pid that was given to another process is not taken for the first one.
    """
    if Path("/proc/self/stat").exists():
        return _start_on_linux(pid)
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _start_on_linux(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else f"{_boot()}/{fields[19]}"


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""


def is_alive(process: dict[str, Any]) -> bool:
    """Whether a process described by `this_process` still runs; one of another host counts as alive."""
    if process.get("host") != socket.gethostname():
        return True
    return process_start(int(process["pid"])) == process.get("started")


@dataclass(frozen=True)
class Usage:
    """Processor seconds and peak memory (bytes) of this process and its finished children, so far."""

    processor: float
    memory: int

    @classmethod
    def now(cls) -> Usage:
        """The usage up to this moment."""
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        unit = 1 if sys.platform == "darwin" else 1024
        seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
        return cls(seconds, max(own.ru_maxrss, children.ru_maxrss) * unit)

    def since(self, before: Usage) -> dict[str, Any]:
        """What was used since `before`, as the resources of a run."""
        return {"processor_seconds": round(self.processor - before.processor, 6), "peak_memory_bytes": self.memory}
