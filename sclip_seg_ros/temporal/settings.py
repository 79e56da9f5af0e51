"""Everything that decides how labels are carried through time, in one immutable object."""

from __future__ import annotations

from dataclasses import dataclass

from sclip_seg_ros.common.settings import Settings, number, switch


@dataclass(frozen=True)
class TemporalSettings(Settings):
    """How much the past counts, when it is doubted, how long it is believed.

    The defaults are measured: ``benchmarks/results/temporal.md``.
    """

    enabled: bool = switch(True, "Carry scores from frame to frame; else every frame is labelled "
                           "alone.")
    weight: float = number(0.9, 0.0, 0.99, "Share of the past in the scores of a frame that comes "
                           "1/15 s after the one before; it falls with that time.")
    gate: float = number(10.0, 1.0, 255.0, "Difference in brightness between a place and where it "
                         "came from, at which the past loses 63 % of its share.",
                         unit="grey levels")
    max_age: float = number(5.0, 0.0, 60.0, "Pixels whose newest scores are older are unlabelled.",
                            unit="seconds")
    refresh: float = number(0.5, 0.0, 60.0, "Time between two runs of the image tower; the ladder "
                            "takes the best level whose run is no longer.", unit="seconds")
    rest: float = number(2.0, 0.0, 60.0, "The same while nothing moves in the picture.",
                         unit="seconds")

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: naming the setting, its value and what is allowed.
        """
        super().__post_init__()
        self.check("temporal.")
