"""How much room a level must leave in the budget, by the frames lately over it."""

from __future__ import annotations

SHARE = 0.006    # of the frames that may be over the budget: less than the promised hundredth
FREE = 1.0       # debt that costs nothing: the frame that meets a new load cannot be saved
STEEPNESS = 0.7  # more room asked for each further frame of debt
MOST = 2.0       # times the room, at most


class Caution:
    """A debt of frames over the budget, paid back at the share that is allowed.

    Predictions are high percentiles of the last few frames. Where frame times have a longer tail
    than so few frames show, as on busy cores, a level that seems to fit is over the budget too
    often. So every frame over it adds to the debt, every frame pays ``SHARE`` of one back, and
    while more than one is owed, levels must leave more room. In the long run the share of frames
    over the budget tends to ``SHARE`` however their times are distributed, as with adaptive
    conformal inference (Gibbs and Candes, NeurIPS 2021, eq. 2).
    """

    def __init__(self) -> None:
        """Begin without debt."""
        self._debt = 0.0

    @property
    def asked(self) -> bool:
        """Whether more is owed than what costs nothing."""
        return self._debt > FREE

    @property
    def factor(self) -> float:
        """By how much more than its prediction a level is taken to cost: 1 to 2."""
        return min(MOST, 1.0 + STEEPNESS * max(0.0, self._debt - FREE))

    def frame(self, over: bool) -> None:
        """Count a frame, and whether it was over the budget though a cheaper level was not."""
        most = FREE + (MOST - 1.0) / STEEPNESS  # no debt beyond what has an effect
        self._debt = min(max(self._debt + over - SHARE, 0.0), most)

    def forget(self) -> None:
        """Forgive the debt; the budget changed."""
        self._debt = 0.0
