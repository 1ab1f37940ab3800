"""Entry point of `python -m tidemill.testing.drift_cases`."""

import sys

from tidemill.testing.drift_cases.runner import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
