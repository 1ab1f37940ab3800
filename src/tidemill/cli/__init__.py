"""The command line. It translates words into calls of the services, and answers into tables or JSON."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with the code of `tidemill.core.errors.EXIT_CODE`."""
    # Threads of OpenMP that spin while they wait starve the serving workers beside them: measured on two busy cores, a fit
    # takes 2 s with waiting threads asleep and 19 s with them spinning. It must be said before the library loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from tidemill.cli.app import run

        code = run()
        # Here, where a reader that left can still be told from a failure, and not at the end of the process.
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the process's edge: every failure gets a sentence
        from tidemill.cli.failures import report

        code = report(error)
    # Python remembers a Ctrl-C that met code made from a text, such as that of a dataclass, and would end by the signal and not
    # with the exit code. More such code makes it forget.
    exec("")  # noqa: S102 - nothing is run
    sys.exit(code)
