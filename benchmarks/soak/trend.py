"""Whether a measured quantity grows: a straight line, and how sure its slope is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIGNIFICANT = 3.0  # standard errors
_MOST_CORRELATED = 0.99


@dataclass(frozen=True)
class Trend:
    """A straight line through measurements.

    Attributes:
        slope: of the line, per minute.
        error: standard error of the slope, per minute.
        growth: what the slope makes of the time measured.
        first, last: mean of the first and of the last tenth of the measurements.
        highest: largest measurement.
    """

    slope: float
    error: float
    growth: float
    first: float
    last: float
    highest: float

    def grows(self, more_than: float) -> bool:
        """Tell whether the slope is significant and the growth larger than a bound."""
        return self.slope > SIGNIFICANT * self.error and self.growth > more_than


def fit(seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """Fit a line by least squares.

    Neighbouring measurements resemble each other, so that there are fewer independent ones than
    measurements. The standard error is widened for that: n measurements whose residuals have the
    correlation r from one to the next count as n (1 - r) / (1 + r).

    Args:
        seconds: when, ascending.
        values: what was measured then.

    Raises:
        ValueError: fewer than four measurements.
    """
    count = len(values)
    if count < 4:
        raise ValueError(f"{count} measurements show no trend; measure for longer")
    minutes = (np.asarray(seconds, dtype=float) - seconds[0]) / 60.0
    values = np.asarray(values, dtype=float)
    line, covariance = np.polyfit(minutes, values, 1, cov=True)
    slope, correlation = float(line[0]), _correlation(values - np.polyval(line, minutes))
    error = math.sqrt(covariance[0, 0] * (1 + correlation) / (1 - correlation))
    tenth = max(1, count // 10)
    return Trend(slope, error, slope * float(minutes[-1]), float(values[:tenth].mean()),
                 float(values[-tenth:].mean()), float(values.max()))


def _correlation(residuals: np.ndarray) -> float:
    """Return the correlation of each residual with the next, 0 where it is negative."""
    power = float(residuals @ residuals)
    if power == 0.0:
        return 0.0
    return min(max(float(residuals[:-1] @ residuals[1:]) / power, 0.0), _MOST_CORRELATED)
