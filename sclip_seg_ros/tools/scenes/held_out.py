"""Rendered scenes that no training saw, to measure with."""

from __future__ import annotations

import numpy as np

from sclip_seg_ros.tools.scenes.phrases import HELD_OUT_PAIRS, distractors
from sclip_seg_ros.tools.scenes.rendering import RenderedScene, render
from sclip_seg_ros.tools.scenes.sampling import sample_scene

SEED = 20_000         # training pools use other seeds
DISTRACTORS = 6
HEIGHT, WIDTH = 480, 640


def held_out_phrases() -> set[str]:
    """Return the phrases of the pairs that training neither shows nor names."""
    return {f"{colour} {noun}" for colour, noun in HELD_OUT_PAIRS}


def held_out_scene(index: int, pairs: str = "any") -> tuple[RenderedScene, list[str]]:
    """Render a scene that training never saw.

    Returns:
        scene: the rendered scene.
        vocabulary: its phrases and six distractors, shuffled.
    """
    rng = np.random.default_rng((SEED, index))
    scene = render(sample_scene(rng, pairs=pairs), HEIGHT, WIDTH, noise_rng=rng)
    words = [*scene.phrases, *distractors(scene.phrases, DISTRACTORS, rng, pairs="any")]
    return scene, [words[i] for i in rng.permutation(len(words))]
