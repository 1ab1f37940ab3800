"""Keeps processes of the service running. It imports nothing heavy: it has to live when the others do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from tidemill.core.clock import SystemClock
from tidemill.core.errors import EXIT_CODE
from tidemill.streaming.lines import announce

STOP_WITHIN = 60.0
"""Seconds the process may take to finish its batch when it is asked to stop."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a process that ended is started again: the first time, and at most. Each is twice the one before."""

STEADY = 60.0
"""A process that lived for so many seconds counts as well again."""

FINAL = frozenset({0} | {EXIT_CODE[code] for code in (
    "invalid_argument", "not_found", "conflict", "invalid_data", "permission_denied", "format_too_new", "missing_extra",
    "user_code",
)})  # fmt: skip
"""Exit codes that another attempt would not change."""

LIFELINE = "TIDEMILL_LIFELINE"
"""The variable that names the file descriptor a process watches: when it ends, its supervisor is gone."""


class Supervisor:
    """Runs commands; starts each again when it is killed or crashes, with growing pauses.

    Args:
        commands: The commands. Their environment has `LIFELINE`.
    """

    def __init__(self, *commands: Sequence[str]) -> None:
        reading, self._lifeline = os.pipe()
        self._keepers = [_Keeper(command, reading) for command in commands]

    def run(self) -> int:
        """Keep the commands running until all have ended by themselves or SIGTERM or SIGINT asks to stop.

        Returns:
            The exit code of the last process; of several commands the one that is not 0, if there is one.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        threads = [threading.Thread(target=keeper.run, daemon=True) for keeper in self._keepers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()  # signals are handled meanwhile
        return next((keeper.code for keeper in self._keepers if keeper.code), 0)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        for keeper in self._keepers:
            keeper.stop()


class _Keeper:
    """Keeps one command running."""

    def __init__(self, command: Sequence[str], lifeline: int) -> None:
        self._command = list(command)
        self._lifeline = lifeline
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._patience_ends = 0.0
        self.code = 0

    def run(self) -> None:
        pause = FIRST_PAUSE
        began = time.monotonic()
        while not self._is_over(self._run_once()):
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY else pause
            how = f"was killed by signal {-self.code}" if self.code < 0 else f"ended with exit code {self.code}"
            message = f"The process {how}; it is started again in {pause:.1f} s."
            announce(sys.stderr, SystemClock(), message, level="warning")
            if self._stopping.wait(pause):
                break
            pause, began = min(2 * pause, LONGEST_PAUSE), time.monotonic()

    def stop(self) -> None:
        """Ask the process to end; the second time without patience."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if self._stopping.is_set() else signal.SIGTERM)
        if not self._stopping.is_set():
            self._patience_ends = time.monotonic() + STOP_WITHIN
            self._stopping.set()

    def _is_over(self, code: int) -> bool:
        self.code = code
        return self._stopping.is_set() or code in FINAL

    def _run_once(self) -> int:
        # In a session of its own, so that Ctrl-C reaches it once: by way of this process.
        process = self._process = subprocess.Popen(
            self._command, env={**os.environ, LIFELINE: str(self._lifeline)}, stdin=subprocess.DEVNULL,
            start_new_session=True, pass_fds=[self._lifeline],
        )  # fmt: skip
        if self._stopping.is_set():  # asked to while it was started
            process.send_signal(signal.SIGTERM)
        while True:
            try:
                return process.wait(0.5)
            except subprocess.TimeoutExpired:
                if self._stopping.is_set() and time.monotonic() > self._patience_ends:
                    process.kill()
