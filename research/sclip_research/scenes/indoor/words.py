"""The words of the indoor world: nouns, other words for them, what it keeps from training."""

from __future__ import annotations

from sclip_research.scenes.phrases import HELD_OUT_PAIRS, Lexicon
from sclip_research.scenes.phrases import NOUNS as TOY_NOUNS

SURFACES = ("floor", "wall", "ceiling")
NOUNS: tuple[str, ...] = (
    *TOY_NOUNS, "ceiling", "person", "plant", "bin", "bucket", "shelf", "cabinet", "sofa", "bed",
    "pillow", "stool", "monitor", "keyboard", "cable", "stairs", "window", "curtain", "picture",
    "pallet", "wheel", "book",
)  # fmt: skip

SYNONYMS: dict[str, tuple[str, ...]] = {
    "floor": ("ground",),
    "person": ("human", "pedestrian", "man", "woman"),
    "plant": ("potted plant", "houseplant"),
    "bin": ("trash can", "waste bin", "garbage can"),
    "bucket": ("pail",),
    "shelf": ("bookcase", "bookshelf", "rack"),
    "cabinet": ("cupboard", "locker", "wardrobe"),
    "sofa": ("couch",),
    "pillow": ("cushion",),
    "monitor": ("screen", "display", "tv"),
    "cable": ("cord", "wire"),
    "stairs": ("staircase", "steps"),
    "curtain": ("drapes",),
    "picture": ("poster", "painting"),
    "wheel": ("tire", "tyre"),
    "rug": ("carpet", "mat"),
    "box": ("carton", "crate", "package"),
    "ball": ("sphere",),
    "cup": ("mug",),
    "cone": ("traffic cone",),
    "table": ("desk",),
}

# The toy world's pairs too, so that a model of both worlds can be measured on either.
HELD_OUT: frozenset[tuple[str, str]] = HELD_OUT_PAIRS | {
    ("green", "person"), ("purple", "bin"), ("yellow", "bucket"), ("red", "shelf"),
    ("cyan", "cabinet"), ("pink", "sofa"), ("orange", "bed"), ("blue", "pillow"),
    ("brown", "stool"), ("purple", "curtain"), ("green", "picture"), ("gray", "pallet"),
    ("red", "wheel"), ("white", "book"), ("yellow", "stairs"), ("purple", "cable"),
}  # fmt: skip
LEXICON = Lexicon(NOUNS, HELD_OUT, SYNONYMS)

# Colours that a noun mostly has; the others are drawn too, so that colours do not give nouns away.
USUAL: dict[str, tuple[str, ...]] = {
    "floor": ("brown", "gray", "white", "black", "orange"),
    "wall": ("white", "gray", "yellow", "brown", "blue", "green"),
    "ceiling": ("white", "gray"),
    "door": ("brown", "white", "gray"),
    "window": ("white", "brown", "gray", "black"),
    "table": ("brown", "white", "black", "gray", "orange"),
    "chair": ("brown", "black", "gray", "white", "red", "orange"),
    "stool": ("orange", "black", "white", "gray"),
    "shelf": ("brown", "white", "black", "gray", "orange"),
    "cabinet": ("brown", "white", "gray", "black"),
    "monitor": ("black", "gray", "white"),
    "keyboard": ("black", "gray", "white"),
    "cable": ("black", "white", "gray", "orange", "yellow"),
    "box": ("brown", "white", "orange"),
    "pallet": ("brown", "orange", "blue"),
    "wheel": ("black", "gray"),
    "cone": ("orange", "red", "yellow"),
    "bin": ("black", "gray", "blue", "green"),
    "stairs": ("gray", "brown", "white"),
    "sofa": ("gray", "brown", "blue", "black", "green", "white"),
    "plant": ("green",),
}
# A plant of another colour would not be taken for one.
ONLY: dict[str, tuple[str, ...]] = {
    "plant": ("green", "yellow", "red", "purple"),
    "ceiling": ("white", "gray", "yellow", "blue", "brown"),
}
