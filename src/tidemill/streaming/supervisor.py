"""Keeps a process of the service running. It imports nothing heavy: it has to live when the other does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
    """Runs a command; starts it again when it is killed or crashes, with growing pauses.

    Args:
        command: The command. Its environment has `LIFELINE`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._patience_ends = 0.0
        self._lifeline = os.pipe()

    def run(self) -> int:
        """Keep the command running until it ends by itself or SIGTERM or SIGINT asks to stop.

        Returns:
            The exit code of the last process.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        pause = FIRST_PAUSE
        began = time.monotonic()
        while not self._is_over(code := self._run_once()):
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY else pause
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            message = f"The process {how}; it is started again in {pause:.1f} s."
            announce(sys.stderr, SystemClock(), message, level="warning")
            self._sleep(pause)
            if self._is_over(code):
                break
            pause, began = min(2 * pause, LONGEST_PAUSE), time.monotonic()
        return code

    def _is_over(self, code: int) -> bool:
        return self._stopping or code in FINAL

    def _run_once(self) -> int:
        reading, _ = self._lifeline
        # In a session of its own, so that Ctrl-C reaches it once: by way of this process.
        process = self._process = subprocess.Popen(
            self._command, env={**os.environ, LIFELINE: str(reading)}, stdin=subprocess.DEVNULL,
            start_new_session=True, pass_fds=[reading],
        )  # fmt: skip
        if self._stopping:  # asked to while it was started
            process.send_signal(signal.SIGTERM)
        while True:
            try:
                return process.wait(0.5)
            except subprocess.TimeoutExpired:
                if self._stopping and time.monotonic() > self._patience_ends:
                    process.kill()

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self._process is not None:  # asked twice: no more patience
            self._process.send_signal(signal.SIGKILL if self._stopping else signal.SIGTERM)
        if not self._stopping:
            self._stopping, self._patience_ends = True, time.monotonic() + STOP_WITHIN

    def _sleep(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while not self._stopping and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
