"""Evidence that a model no longer keeps its promises, or that its loss rose: bets on whole windows.

A classifier promises: of the rows with probability p, a share p is positive. Given the probabilities of a window, two
numbers have mean zero while it keeps that, whatever season or traffic is, and however strongly the days differ from each
other in between:

- the *gap*, mean(y - p): positive when the truth is more frequent than promised;
- the *excess*, mean((y - p)(1 - 2p)): the Brier score less what the probabilities themselves let expect; positive when
  they are too sure.

Both have a least value known before the labels are, so a bet 1 + share / |least| x number never falls below zero. No
baseline and no reference enters. A regression has no such promise: there the loss is held against the loss on the test
rows plus the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from tidemill.measures.arrays import Floats

SHARES = np.array([0.1, 0.2, 0.4, 0.8])
"""Shares of the largest possible bet. Small ones find small lasting gaps, large ones strong sudden ones."""

Task = Literal["binary", "loss"]


class Held(Struct, frozen=True):
    """What the labelled rows of one window say about a model.

    Attributes:
        start: Start of the window.
        rows: Labelled rows.
        value: Per bet the number whose mean is at most zero while all is well.
        least: Per bet the least value it could have taken, negative.
        effect: The effect by name: `gap` and `excess`, or `loss`.
    """

    start: int
    rows: int
    value: tuple[float, ...]
    least: tuple[float, ...]
    effect: dict[str, float]


class Judgement(Struct, frozen=True):
    """What windows in a row say.

    Attributes:
        alarm: Start of the window at which the evidence crossed with an effect beyond the tolerance, None if none did.
        log_sr: Log of the statistic at the alarm, or at the end.
        since: Start of the first window of the evidence.
        harm: The effect since then as a share of the tolerance.
        effect: The effect in its own unit.
        rows: Labelled rows since then.
    """

    alarm: int | None
    log_sr: float | None
    since: int | None
    harm: float
    effect: float
    rows: int


def held_promise(start: int, y: Floats, p: Floats) -> Held:
    """What a window says of a classifier of two classes.

    Args:
        start: Start of the window.
        y: Labels 0/1, shape (n,), n > 0.
        p: Probabilities of class 1, shape (n,).

    Example:
        >>> held = held_promise(0, np.array([1.0, 0.0]), np.array([0.5, 0.5]))
        >>> held.effect["gap"], held.least[:2]
        (0.0, (-0.5, -0.5))
    """
    gap, mean = float((y - p).mean()), float(p.mean())
    tilt = 1 - 2 * p
    excess = float(((y - p) * tilt).mean())
    # Per row the two values the number can take are -p tilt (label 0) and (1 - p) tilt (label 1).
    least = float(np.minimum(-p * tilt, (1 - p) * tilt).mean())
    promised = float((p * (1 - p)).mean())
    return Held(
        start,
        len(y),
        (gap, -gap, excess),
        (min(-mean, -1e-9), min(mean - 1, -1e-9), min(least, -1e-9)),
        {"gap": gap, "excess": excess, "promised": promised},
    )


def held_loss(start: int, losses: Floats, limit: float) -> Held:
    """What a window says of a model whose expected loss is to stay at a limit.

    Args:
        start: Start of the window.
        losses: One loss per labelled row in [0, 1], shape (n,), n > 0.
        limit: Largest mean loss that is still fine, in (0, 1).
    """
    loss = float(losses.mean())
    return Held(start, len(losses), (loss - limit,), (-limit,), {"loss": loss, "limit": limit})


def judge(windows: Iterable[Held], threshold: float, tolerance: float) -> Judgement:
    """Go through windows in order until one gives alarm.

    The statistic of Shiryaev and Roberts, averaged over all bets, is on average below the threshold as long as all is well.
    Each crossing starts it at zero again, whether the effect is large enough for an alarm or not, so alarms are a part of
    the crossings and keep their budget.

    Args:
        windows: What the windows say, oldest first.
        threshold: Windows per period / false alarms allowed in it.
        tolerance: The effect that is still fine: a share of the loss, and a gap in probability.

    Example:
        >>> bad = [held_promise(i, np.ones(10), np.full(10, 0.5)) for i in range(9)]
        >>> judge(bad, 30.0, 0.05).alarm
        7
    """
    part: list[Held] = []
    sr: Floats | None = None
    log_sr: float | None = None
    for held in windows:
        part.append(held)
        sr = _step(sr, held)
        log_sr = math.log(max(float(sr.mean()), 1e-300))
        if log_sr < math.log(threshold):
            continue
        effect, harm = effect_of(part, tolerance)
        if harm > 1:
            return Judgement(held.start, log_sr, part[0].start, harm, effect, _rows(part))
        part, sr, log_sr = [], None, None
    effect, harm = effect_of(part, tolerance)
    return Judgement(None, log_sr, part[0].start if part else None, harm, effect, _rows(part))


def effect_of(windows: Sequence[Held], tolerance: float) -> tuple[float, float]:
    """The effect over windows, each of equal weight, and the same as a share of what is tolerated."""
    if not windows:
        return 0.0, 0.0
    mean = {name: float(np.mean([one.effect[name] for one in windows])) for name in windows[0].effect}
    if "loss" in mean:
        # The limit already contains the tolerance.
        return mean["loss"], mean["loss"] / mean["limit"]
    return mean["gap"], abs(mean["gap"]) / max(tolerance, 1e-9)


def _step(sr: Floats | None, held: Held) -> Floats:
    largest = 1 / np.abs(np.array(held.least))
    factors = (1 + np.outer(np.array(held.value) * largest, SHARES)).ravel()
    return factors if sr is None else (sr + 1) * factors


def _rows(windows: Sequence[Held]) -> int:
    return sum(one.rows for one in windows)
