"""Moving windows as plain Python does them: panes of ten minutes, running sums, maxima found over the panes."""

from __future__ import annotations

PANE = 600_000_000


class Panes:
    """Count, sum, mean and maximum of the last hour and the last day of one key, to the pane."""

    SIZES = (6, 144)

    def __init__(self) -> None:
        self.newest = 0
        self.counts, self.sums, self.most = [0] * 144, [0.0] * 144, [float("-inf")] * 144
        self.count, self.sum = [0, 0], [0.0, 0.0]

    def add(self, pane: int, value: float) -> list[float]:
        """Take a value, and give the eight features with it."""
        for number in range(self.newest + 1, min(pane, self.newest + 144) + 1):
            for place, size in enumerate(self.SIZES):
                old = (number - size) % 144
                self.count[place] -= self.counts[old]
                self.sum[place] -= self.sums[old]
            new = number % 144
            self.counts[new], self.sums[new], self.most[new] = 0, 0.0, float("-inf")
        self.newest = max(pane, self.newest)
        place = pane % 144
        self.counts[place] += 1
        self.sums[place] += value
        self.most[place] = max(self.most[place], value)
        answer: list[float] = []
        for index, size in enumerate(self.SIZES):
            self.count[index] += 1
            self.sum[index] += value
            last = max(self.most[number % 144] for number in range(self.newest - size + 1, self.newest + 1))
            answer += [self.count[index], self.sum[index], self.sum[index] / self.count[index], last]
        return answer
