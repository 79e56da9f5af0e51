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

from sclip_research.scenes import COLOURS, Thing
from sclip_research.scenes.phrases import TOY_LEXICON, Lexicon

COLOUR_NOUNS = ("object", "thing", "item")
SYNONYM_SHARE = 0.3


@dataclass(frozen=True)
class Queries:
    """Words to encode, and for each granularity which of them compete.

    Attributes:
        words: all texts; nouns first, then colours, then phrases.
        nouns, colours, phrases: index ranges into words.
        phrase_index: place of each (colour, noun) among the phrases.
        lexicon: the words of the worlds that are trained on.
    """

    words: list[str]
    nouns: slice
    colours: slice
    phrases: slice
    phrase_index: dict[tuple[str, str], int]
    lexicon: Lexicon = TOY_LEXICON

    def targets(self, things: Sequence[Thing]) -> tuple[list[int], list[int], list[int]]:
        """Return for each thing its noun, its colour and its phrase, counted in their own range."""
        return ([self.lexicon.nouns.index(thing.noun) for thing in things],
                [list(COLOURS).index(thing.colour) for thing in things],
                [self.phrase_index[thing.colour, thing.noun] for thing in things])


def sample_queries(batch: Sequence[Sequence[Thing]], rng: np.random.Generator,
                   distractors: int = 48, lexicon: Lexicon = TOY_LEXICON) -> Queries:
    """Choose the texts for a batch: all nouns, all colours, the batch's phrases and some others.

    The phrases of every scene compete with those of all other scenes in the batch. At times another
    word stands for a noun, in place of it, never beside it.
    """
    present = {(thing.colour, thing.noun) for things in batch for thing in things}
    others = [pair for pair in lexicon.pairs() if pair not in present]
    chosen = rng.permutation(len(others))[:distractors]
    pairs = sorted(present) + [others[index] for index in chosen]
    colours = [f"{colour} {rng.choice(COLOUR_NOUNS)}" for colour in COLOURS]
    words = [*(said(noun, lexicon, rng) for noun in lexicon.nouns), *colours,
             *(f"{colour} {said(noun, lexicon, rng)}" for colour, noun in pairs)]
    first, second = len(lexicon.nouns), len(lexicon.nouns) + len(COLOURS)
    return Queries(words, slice(0, first), slice(first, second), slice(second, len(words)),
                   {pair: index for index, pair in enumerate(pairs)}, lexicon)


def said(noun: str, lexicon: Lexicon, rng: np.random.Generator) -> str:
    """Return the noun, or at times another word for it, where there is one."""
    others = lexicon.synonyms.get(noun, ())
    if not others or rng.random() >= SYNONYM_SHARE:
        return noun
    return others[int(rng.integers(len(others)))]


def mixed_vocabulary(queries: Queries, things: Sequence[Thing], distractors: int,
                     rng: np.random.Generator) -> tuple[Tensor, list[int]]:
    """Draw the vocabulary a user might type for one scene: some things by noun, some by phrase.

    Returns:
        allowed: (len(words),) bool, the words in this vocabulary, never two that name one thing.
        targets: for each thing the index of its word.
    """
    nouns = queries.lexicon.nouns
    by_noun = {noun for noun in nouns if rng.random() < 0.4}
    targets = [nouns.index(thing.noun) if thing.noun in by_noun
               else queries.phrases.start + queries.phrase_index[thing.colour, thing.noun]
               for thing in things]
    allowed = torch.zeros(len(queries.words), dtype=torch.bool)
    allowed[targets] = True
    seen = {thing.noun for thing in things}
    for noun in (noun for noun in nouns if noun in by_noun - seen):   # sets have no lasting order
        allowed[nouns.index(noun)] = rng.random() < 0.3
    candidates = [queries.phrases.start + index
                  for (_, noun), index in queries.phrase_index.items() if noun not in by_noun]
    for index in rng.permutation(candidates)[:distractors]:
        allowed[index] = True
    return allowed, targets
