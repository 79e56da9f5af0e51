"""Every noun's designs; one of them is drawn, with proportions of its own."""

from __future__ import annotations

import numpy as np

from sclip_research.scenes.furniture import Model
from sclip_research.scenes.indoor import devices, fittings, living, seats, small, storage
from sclip_research.scenes.indoor.building import Design

DESIGNS: dict[str, tuple[Design, ...]] = {
    **seats.DESIGNS, **storage.DESIGNS, **small.DESIGNS, **devices.DESIGNS, **fittings.DESIGNS,
    **living.DESIGNS,
}  # fmt: skip


def build(noun: str, rng: np.random.Generator) -> Model:
    """Build a model of the noun in one of its designs.

    Raises:
        ValueError: nothing of that name can be built.
    """
    if noun not in DESIGNS:
        raise ValueError(f"cannot build {noun!r}; choose one of {', '.join(DESIGNS)}")
    designs = DESIGNS[noun]
    return designs[int(rng.integers(len(designs)))](rng)
