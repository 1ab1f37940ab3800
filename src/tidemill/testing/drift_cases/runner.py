"""Runs a file of cases: one line per failure, the skipped families, then `N passed, M failed`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from tidemill.testing import alert_cases
from tidemill.testing.drift_cases import distributions, performance, sequences
from tidemill.testing.drift_cases.situation import Case, CaseFile, Situation, Unanswered, look_up

FAMILIES = frozenset("CDEFGHIJ")
SITUATIONS: dict[str, tuple[Situation, ...]] = {
    **dict.fromkeys("CD", distributions.SITUATIONS),
    "E": performance.SITUATIONS,
    **dict.fromkeys("FGH", sequences.SITUATIONS),
    **dict.fromkeys("IJ", alert_cases.SITUATIONS),
}
PROSE = re.compile(r"required|required_status|why|audit_entry|nannyml_alert_outside|evidently_\w*threshold\w*")


def main(arguments: list[str]) -> int:
    """Run the file named on the command line; 0 = all passed, 1 = some failed, 2 = cannot run."""
    if len(arguments) != 1:
        print("usage: python -m tidemill.testing.drift_cases FILE.json")
        return 2
    try:
        cases = read_cases(Path(arguments[0]))
    except (OSError, msgspec.DecodeError) as error:
        print(f"Cannot read the cases in {arguments[0]}: {error}")
        return 2
    covered = [case for case in cases if case.id[:1] in FAMILIES]
    failures = {case.id: found for case in covered if (found := check(case))}
    for name, found in failures.items():
        for line in found:
            print(f"{name}: {line}")
    print(f"{len(cases) - len(covered)} skipped (families other than {', '.join(sorted(FAMILIES))})")
    print(f"{len(covered) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


def read_cases(path: Path) -> list[Case]:
    """The cases of a file."""
    return msgspec.json.decode(path.read_bytes(), type=CaseFile).cases


def check(case: Case) -> list[str]:
    """What is wrong with our answers to a case, empty if nothing."""
    situation = next((one for one in SITUATIONS[case.id[0]] if one.matches(case)), None)
    if situation is None:
        return [f"no situation has the input keys {', '.join(case.input)}"]
    try:
        answers = situation.answers(case)
    except Exception as error:  # noqa: BLE001 - a case that raises is a failed case, and the others still run
        return [f"raised {type(error).__name__}: {error}"]
    return [line for key in case.expected if not PROSE.fullmatch(key) for line in _check_key(case, answers, key)]


def _check_key(case: Case, answers: Any, key: str) -> Iterable[str]:
    try:
        found = look_up(answers, key)
    except Unanswered:
        return [f"{key}: no answer"]
    except Exception as error:  # noqa: BLE001 - as above
        return [f"{key}: raised {type(error).__name__}: {error}"]
    if same(case.expected[key], found, case.abs_tol):
        return []
    return [f"{key}: expected {case.expected[key]!r}, found {found!r}"]


def same(expected: Any, found: Any, abs_tol: float) -> bool:
    """Whether an answer is the expected one: floats within the tolerance, everything else exactly.

    Example:
        >>> same([1, 0.5], [1, 0.5 + 1e-12], 1e-9), same(True, 1, 1e-9)
        (True, False)
    """
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        exact = isinstance(expected, int) and isinstance(found, int)
        return expected == found if exact else math.isclose(expected, found, rel_tol=0.0, abs_tol=abs_tol)
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(same(v, found[k], abs_tol) for k, v in expected.items())
    if isinstance(expected, list) and isinstance(found, (list, tuple)):
        return len(expected) == len(found) and all(same(a, b, abs_tol) for a, b in zip(expected, found, strict=True))
    return bool(expected == found)
