"""What the model is asked about a batch of scenes, at several granularities.

"Red ball", "ball" and "red object" all name the same thing. Asking for colours and nouns apart, as
well as together, is what lets the model find a red ball when it has never seen one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.tools.scenes import COLOURS, HELD_OUT_PAIRS, NOUNS, Thing

COLOUR_NOUNS = ("object", "thing", "item")


@dataclass(frozen=True)
class Queries:
    """Words to encode, and for each granularity which of them compete.

    Attributes:
        words: all texts; nouns first, then colours, then phrases.
        nouns, colours, phrases: index ranges into words.
    """

    words: list[str]
    nouns: slice
    colours: slice
    phrases: slice
    phrase_index: dict[tuple[str, str], int]

    def targets(self, things: Sequence[Thing]) -> tuple[list[int], list[int], list[int]]:
        """Return for each thing its noun, its colour and its phrase, counted in their own range."""
        return ([NOUNS.index(thing.noun) for thing in things],
                [list(COLOURS).index(thing.colour) for thing in things],
                [self.phrase_index[thing.colour, thing.noun] for thing in things])


def training_pairs() -> list[tuple[str, str]]:
    """Return every (colour, noun) that training may show or name."""
    return [(colour, noun) for colour in COLOURS for noun in NOUNS
            if (colour, noun) not in HELD_OUT_PAIRS]


def sample_queries(batch: Sequence[Sequence[Thing]], rng: np.random.Generator,
                   distractors: int = 48) -> Queries:
    """Choose the texts for a batch: all nouns, all colours, the batch's phrases and some others.

    The phrases of every scene compete with those of all other scenes in the batch.
    """
    present = {(thing.colour, thing.noun) for things in batch for thing in things}
    others = [pair for pair in training_pairs() if pair not in present]
    chosen = rng.permutation(len(others))[:distractors]
    pairs = sorted(present) + [others[index] for index in chosen]
    colours = [f"{colour} {rng.choice(COLOUR_NOUNS)}" for colour in COLOURS]
    words = [*NOUNS, *colours, *(f"{colour} {noun}" for colour, noun in pairs)]
    first, second = len(NOUNS), len(NOUNS) + len(COLOURS)
    return Queries(words, slice(0, first), slice(first, second), slice(second, len(words)),
                   {pair: index for index, pair in enumerate(pairs)})


def mixed_vocabulary(queries: Queries, things: Sequence[Thing], distractors: int,
                     rng: np.random.Generator) -> tuple[Tensor, list[int]]:
    """Draw the vocabulary a user might type for one scene: some things by noun, some by phrase.

    Returns:
        allowed: (len(words),) bool, the words in this vocabulary, never two that name one thing.
        targets: for each thing the index of its word.
    """
    by_noun = {noun for noun in NOUNS if rng.random() < 0.4}
    targets = [NOUNS.index(thing.noun) if thing.noun in by_noun
               else queries.phrases.start + queries.phrase_index[thing.colour, thing.noun]
               for thing in things]
    allowed = torch.zeros(len(queries.words), dtype=torch.bool)
    allowed[targets] = True
    seen = {thing.noun for thing in things}
    for noun in by_noun - seen:
        allowed[NOUNS.index(noun)] = rng.random() < 0.3
    candidates = [queries.phrases.start + index
                  for (_, noun), index in queries.phrase_index.items() if noun not in by_noun]
    for index in rng.permutation(candidates)[:distractors]:
        allowed[index] = True
    return allowed, targets
