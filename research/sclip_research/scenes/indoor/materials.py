"""What things of the indoor world are made of."""

from __future__ import annotations

import numpy as np

from sclip_research.scenes import textures
from sclip_research.scenes.colours import LinearColour, mix
from sclip_research.scenes.textures import Finish

_PLAIN: dict[str | None, float] = {None: 4.0, "shiny": 1.5, "striped": 0.6, "dotted": 0.4}
_JOINERY: dict[str | None, float] = {None: 3.0, "wooden": 3.0, "metal": 0.8}
_CLOTH: dict[str | None, float] = {
    None: 1.5, "fabric": 3.0, "striped": 0.8, "checkered": 0.5, "dotted": 0.4,
}  # fmt: skip
_HARD: dict[str | None, float] = {None: 3.0, "metal": 1.5, "shiny": 2.0}
MATERIALS: dict[str, dict[str | None, float]] = {
    "floor": {None: 1.0, "wooden": 3.0, "tiled": 2.0, "carpeted": 2.0, "checkered": 0.5,
              "marble": 1.2},
    "wall": {None: 5.0, "brick": 1.2, "tiled": 0.6, "striped": 0.6, "wooden": 0.4},
    "ceiling": {None: 5.0, "tiled": 1.0, "wooden": 0.5},
    "rug": {None: 2.0, "striped": 1.0, "checkered": 0.6, "dotted": 0.5, "fabric": 1.5,
            "patterned": 1.5},
    "door": _JOINERY, "table": _JOINERY | {"marble": 0.4}, "chair": _JOINERY | {"fabric": 1.0},
    "stool": _JOINERY, "shelf": _JOINERY, "cabinet": _JOINERY,
    "sofa": _CLOTH | {"leather": 2.0}, "bed": _CLOTH | {"patterned": 0.8},
    "pillow": _CLOTH | {"patterned": 0.8}, "curtain": _CLOTH | {"patterned": 0.8},
    "person": _CLOTH, "plant": {None: 1.0}, "lamp": {None: 1.0, "fabric": 0.5},
    "box": {None: 2.0, "cardboard": 4.0, "wooden": 1.5, "striped": 0.4, "shiny": 0.6},
    "pallet": {None: 1.0, "wooden": 5.0}, "bin": _HARD, "bucket": _HARD, "wheel": {None: 1.0},
    "monitor": {None: 1.0, "shiny": 0.5}, "keyboard": {None: 1.0}, "cable": {None: 1.0},
    "stairs": {None: 2.0, "wooden": 2.5, "marble": 1.0, "metal": 0.8},
    "window": {None: 3.0, "wooden": 1.5}, "picture": {None: 2.0, "patterned": 2.0},
    "book": {None: 1.0, "leather": 0.4},
    "ball": _PLAIN, "cone": {None: 1.0}, "cup": _PLAIN | {"metal": 0.5},
    "bottle": {None: 2.0, "shiny": 3.0, "metal": 0.6},
    "bowl": _PLAIN | {"wooden": 0.8, "metal": 0.6}, "pyramid": _PLAIN | {"wooden": 0.6},
    "cylinder": _PLAIN | {"wooden": 0.6, "metal": 0.8},
}  # fmt: skip
_LARGE = ("wall", "floor", "ceiling")


def sample_material(noun: str, colour: str, rng: np.random.Generator) -> str | None:
    """Draw a material word that suits the noun and the colour; None is plain."""
    return textures.sample_material(noun, colour, rng, MATERIALS)


def finish(noun: str, material: str | None, base: LinearColour, rng: np.random.Generator) -> Finish:
    """Turn a material word into the finish of a thing of that noun and colour."""
    shift = (float(rng.uniform(0, 2)), float(rng.uniform(0, 2)))
    if material == "metal":
        return Finish(base, base, "brushed", gloss=float(rng.uniform(0.4, 0.9)), shift=shift)
    if material == "fabric":
        return Finish(base, base, "weave", float(rng.uniform(0.012, 0.03)), 0.0, 0.0, shift)
    if material == "leather":
        return Finish(base, base, "mottled", gloss=float(rng.uniform(0.15, 0.4)), shift=shift)
    if material == "cardboard":
        return Finish(base, base, "mottled", gloss=0.0, shift=shift)
    if material in ("marble", "patterned"):
        pale = sum(base) > 1.8
        other = mix(base, (0.0, 0.0, 0.0) if pale else (1.0, 1.0, 1.0), 0.6)
        pattern = "marble" if material == "marble" else "art"
        gloss = float(rng.uniform(0.2, 0.5)) if material == "marble" else 0.0
        return Finish(base, other, pattern, float(rng.uniform(0.1, 0.3)), gloss, 0.0, shift)
    # Ceilings take the patterns of walls, whose scale is a room's.
    return textures.finish("wall" if noun in _LARGE and noun != "floor" else noun, material, base,
                           rng)  # fmt: skip
