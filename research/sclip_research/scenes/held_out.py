"""Rendered scenes that no training saw, to measure with."""

from __future__ import annotations

import numpy as np

from sclip_research.scenes.phrases import distractors
from sclip_research.scenes.rendering import RenderedScene, render
from sclip_research.scenes.worlds import world as world_of

SEED = 20_000         # training pools use other seeds
DISTRACTORS = 6
HEIGHT, WIDTH = 480, 640


def held_out_phrases(world: str = "toy") -> set[str]:
    """Return the phrases of the pairs that training neither shows nor names."""
    return {f"{colour} {noun}" for colour, noun in world_of(world).lexicon.held_out}


def held_out_scene(
    index: int, pairs: str = "any", world: str = "toy"
) -> tuple[RenderedScene, list[str]]:
    """Render a scene of a world that training never saw.

    Returns:
        scene: the rendered scene.
        vocabulary: its phrases and six distractors, shuffled.
    """
    rng = np.random.default_rng((SEED, index))
    drawn = world_of(world)
    scene = render(drawn.sample(rng, pairs), HEIGHT, WIDTH, noise_rng=rng)
    absent = distractors(scene.phrases, DISTRACTORS, rng, pairs="any", lexicon=drawn.lexicon)
    words = [*scene.phrases, *absent]
    return scene, [words[i] for i in rng.permutation(len(words))]


def held_out_nouns(index: int, world: str = "toy") -> tuple[RenderedScene, list[str], np.ndarray]:
    """Render the same scene, to be asked for by bare nouns.

    Returns:
        scene: the rendered scene.
        words: the nouns that are in it, and six that are not.
        truth: (H, W) uint8, index into words, at every pixel.
    """
    scene, _ = held_out_scene(index, "any", world)
    present = sorted({thing.noun for thing in scene.things})
    absent = [noun for noun in world_of(world).lexicon.nouns if noun not in present]
    rng = np.random.default_rng((SEED, index, DISTRACTORS))
    words = present + [str(noun) for noun in rng.permutation(absent)[:DISTRACTORS]]
    truth = np.array([words.index(thing.noun) for thing in scene.things], np.uint8)[scene.mask]
    return scene, words, truth
