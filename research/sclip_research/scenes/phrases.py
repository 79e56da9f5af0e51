"""The words of the little world: things, held-out pairs, captions and distractors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sclip_research.scenes.colours import COLOURS

MOVABLE_NOUNS = (
    "ball", "box", "cone", "cup", "bottle", "bowl", "pyramid", "cylinder",
    "chair", "table", "lamp",
)  # fmt: skip
NOUNS: tuple[str, ...] = ("floor", "wall", *MOVABLE_NOUNS, "rug", "door")

HELD_OUT_PAIRS: frozenset[tuple[str, str]] = frozenset({
    ("purple", "ball"), ("brown", "ball"),
    ("pink", "box"), ("cyan", "box"),
    ("blue", "cone"), ("white", "cone"),
    ("green", "cup"), ("orange", "cup"),
    ("yellow", "bottle"), ("gray", "bottle"),
    ("red", "bowl"), ("black", "bowl"),
    ("orange", "pyramid"),
    ("purple", "cylinder"),
    ("blue", "chair"),
    ("cyan", "table"),
    ("pink", "lamp"),
})  # fmt: skip



@dataclass(frozen=True)
class Lexicon:
    """The words of a world.

    Attributes:
        nouns: what can be named.
        held_out: pairs of colour and noun that training neither shows nor names.
        synonyms: other words for a noun, which training uses too.
    """

    nouns: tuple[str, ...]
    held_out: frozenset[tuple[str, str]]
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def pairs(self) -> list[tuple[str, str]]:
        """Return every (colour, noun) that training may show or name."""
        return [(colour, noun) for colour in COLOURS for noun in self.nouns
                if (colour, noun) not in self.held_out]


def joined(lexicons: Sequence[Lexicon]) -> Lexicon:
    """Return the words of several worlds as one lexicon; held out is what any of them keeps out."""
    nouns = tuple(dict.fromkeys(noun for lexicon in lexicons for noun in lexicon.nouns))
    synonyms = {noun: words for lexicon in lexicons for noun, words in lexicon.synonyms.items()}
    return Lexicon(nouns, frozenset().union(*(lexicon.held_out for lexicon in lexicons)), synonyms)


TOY_LEXICON = Lexicon(NOUNS, HELD_OUT_PAIRS)
PAIR_MODES = ("training", "held-out", "any")
LONGEST_CAPTION = 28
PLURALS = ("stairs", "steps", "drapes")


@dataclass(frozen=True)
class Thing:
    """One nameable thing: a colour word, a noun, and perhaps a material or texture word.

    `called` is another word for the noun, which captions use in its place.
    """

    colour: str
    noun: str
    material: str | None = None
    called: str | None = None

    @property
    def phrase(self) -> str:
        """Colour and noun, the label of the thing: "red ball"."""
        return f"{self.colour} {self.noun}"

    @property
    def described(self) -> str:
        """The phrase with its material in front, where there is one: "striped red ball"."""
        return f"{self.material} {self.named}" if self.material else self.named

    @property
    def named(self) -> str:
        """Colour and the word that captions use for the noun: "red couch"."""
        return f"{self.colour} {self.called or self.noun}"

    @property
    def held_out(self) -> bool:
        """Whether training never sees this pair of colour and noun."""
        return (self.colour, self.noun) in HELD_OUT_PAIRS


def check_mode(pairs: str) -> None:
    """Refuse a mode of drawing pairs that does not exist."""
    if pairs not in PAIR_MODES:
        raise ValueError(f"pairs is {pairs!r}; choose one of {', '.join(PAIR_MODES)}")


def distractors(
    scene_or_phrases: object,
    count: int,
    rng: np.random.Generator,
    *,
    pairs: str = "training",
    lexicon: Lexicon = TOY_LEXICON,
) -> list[str]:
    """Draw phrases that name nothing in the scene, half of them hard to tell from what is.

    A hard distractor shares its colour or its noun with something present.

    Args:
        scene_or_phrases: anything with `things` (a scene, rendered or not), or phrases.
        count: how many to draw; all differ.
        rng: source of the choice.
        pairs: "training" keeps held-out pairs out, so that they are not even seen as
            negatives; "any" allows them.
        lexicon: the words of the scene's world.

    Raises:
        ValueError: the world has fewer than `count` absent phrases, or the mode is unknown.
    """
    check_mode(pairs)
    present = _phrases_of(scene_or_phrases)
    words = {word for phrase in present for word in phrase.split()}
    absent = [
        (colour, noun)
        for noun in lexicon.nouns
        for colour in COLOURS
        if f"{colour} {noun}" not in present
        and not (pairs == "training" and (colour, noun) in lexicon.held_out)
    ]
    if count > len(absent):
        raise ValueError(f"{count} distractors asked for; only {len(absent)} phrases are absent")
    order = [absent[index] for index in rng.permutation(len(absent))]
    hard = [pair for pair in order if pair[0] in words or pair[1] in words]
    easy = [pair for pair in order if pair[0] not in words and pair[1] not in words]
    wanted = min((count + 1) // 2, len(hard))
    wanted = max(wanted, count - len(easy))
    chosen = hard[:wanted] + easy[: count - wanted]
    return [" ".join(chosen[index]) for index in rng.permutation(count)]


def _phrases_of(scene_or_phrases: object) -> set[str]:
    """Collect the phrases of a scene, or take the phrases as they come."""
    things = getattr(scene_or_phrases, "things", None)
    if things is not None:
        return {thing.phrase for thing in things}
    if isinstance(scene_or_phrases, str) or not isinstance(scene_or_phrases, Iterable):
        raise ValueError(
            f"{scene_or_phrases!r} is neither a scene nor a list of phrases; pass one of them"
        )
    return {str(phrase) for phrase in scene_or_phrases}


def caption(things: Sequence[Thing], supports: Sequence[int | None], seen: Sequence[int]) -> str:
    """Tell in one English sentence what is seen, within LONGEST_CAPTION words.

    The richest wording that fits is taken: first materials go, then the wall, then the
    least visible things.

    Args:
        things: every thing of the scene.
        supports: for each thing the index of what it stands on; None for floor and wall.
        seen: indices of the visible things, most pixels first.
    """
    objects = [i for i in seen if things[i].noun not in ("floor", "wall", "ceiling")]
    ground = [i for i in seen if things[i].noun == "floor"]
    backdrop = [i for i in seen if things[i].noun == "wall"]
    for kept in range(len(objects), -1, -1):
        subset = sorted(objects[:kept])
        for with_materials, with_wall in ((True, True), (False, True), (False, False)):
            behind = backdrop if with_wall or not subset else []
            text = _sentence(things, supports, subset, ground, behind, with_materials)
            if len(text.split()) <= LONGEST_CAPTION:
                return text
    raise ValueError(f"no caption of at most {LONGEST_CAPTION} words names {len(seen)} things")


def _sentence(
    things: Sequence[Thing],
    supports: Sequence[int | None],
    objects: Sequence[int],
    ground: Sequence[int],
    backdrop: Sequence[int],
    with_materials: bool,
) -> str:
    """Join the named groups: on furniture, on the floor, in front of the wall."""

    def name(index: int) -> str:
        thing = things[index]
        words = thing.described if with_materials else thing.named
        if words.endswith(PLURALS):
            return words
        return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"

    carriers = [i for i in objects if any(supports[j] == i for j in objects)]
    clauses = []
    for carrier in carriers:
        load = [name(j) for j in objects if supports[j] == carrier]
        clauses.append(f"{_listing(load)} on {name(carrier)}")
    carried = {j for j in objects if supports[j] in carriers}
    clauses += [name(i) for i in objects if i not in carriers and i not in carried]
    text = _listing(clauses)
    for place, indices in (("on", ground), ("in front of", backdrop)):
        for index in indices:
            text = f"{text} {place} {name(index)}" if text else name(index)
    return text


def _listing(names: Sequence[str]) -> str:
    """Join names with commas and a last "and"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
