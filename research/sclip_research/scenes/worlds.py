"""The worlds by name: what is drawn, and by which words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sclip_research.scenes import sampling
from sclip_research.scenes.indoor import layout
from sclip_research.scenes.indoor.words import LEXICON
from sclip_research.scenes.phrases import TOY_LEXICON, Lexicon
from sclip_research.scenes.scene import Scene


@dataclass(frozen=True)
class World:
    """A world: `sample(rng, pairs)` draws a scene, the lexicon has the words for it."""

    name: str
    lexicon: Lexicon
    sample: Callable[[np.random.Generator, str], Scene]


WORLDS: dict[str, World] = {
    "toy": World("toy", TOY_LEXICON, sampling.sample_scene),
    "indoor": World("indoor", LEXICON, layout.sample_scene),
}


def world(name: str) -> World:
    """Return the world of a name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in WORLDS:
        raise ValueError(f"unknown world {name!r}; choose one of {', '.join(WORLDS)}")
    return WORLDS[name]
