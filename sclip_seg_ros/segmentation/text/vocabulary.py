"""The words to look for: parsed, checked, and bound to their text embeddings."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.common.text import shortened
from sclip_seg_ros.segmentation.text.class_ids import POSITIONS, ClassIds

MAX_CLASSES = 254     # one value stays free for pixels without a class
MAX_CHARACTERS = 256  # of one synonym
_NO_TEXT = ("Cc", "Cs")  # control characters, and what is left of bytes that are not UTF-8


@dataclass(frozen=True)
class VocabularyClass:
    """One class: its name and every word or phrase that counts as it, the name first."""

    name: str
    synonyms: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A set of classes with their text embeddings; immutable, and known by its version.

    Attributes:
        classes: in the order of their ids.
        background: id of the background class, or None.
        version: grows with every change; written into every output.
        embeddings: (Q, D) L2-normalised, one row per synonym ("query").
        query_class: (Q,) int64, the class id of each query, ascending. Negative words belong to
            the background, or without one to an id behind the last.
        colours: (C, 3) uint8 RGB.
        ids: values in published label images.
        negatives: words that compete and are never published: their pixels are the background's,
            or unlabelled.
        templates: prompts that the words were put into, or names of sets of them.
    """

    classes: tuple[VocabularyClass, ...]
    background: int | None
    version: int
    embeddings: Tensor
    query_class: Tensor
    colours: np.ndarray
    ids: ClassIds = POSITIONS
    negatives: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()

    @property
    def rejects(self) -> bool:
        """Whether negative words are a class of their own, whose pixels are unlabelled."""
        return bool(self.negatives) and self.background is None

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return tuple(entry.name for entry in self.classes)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Published id of each class."""
        return self.ids.values[:len(self)]

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.classes)

    def to(self, device: torch.device | str) -> Vocabulary:
        """Return the same vocabulary with its tensors on a device, itself where they are there."""
        embeddings, query_class = self.embeddings.to(device), self.query_class.to(device)
        if embeddings is self.embeddings and query_class is self.query_class:
            return self
        return replace(self, embeddings=embeddings, query_class=query_class)


def parse_class(text: str) -> VocabularyClass:
    """Split ``"person|pedestrian"`` into a class; white space around the words is dropped.

    Raises:
        ValueError: no text, a blank word, one longer than 256 characters, or a character that
            belongs to no text.
    """
    if not isinstance(text, str):
        raise ValueError(f"class {text!r} is of type {type(text).__name__}; give a text such as "
                         "'person|pedestrian'")
    synonyms = tuple(" ".join(word.split()) for word in text.split("|"))
    if not all(synonyms):
        raise ValueError(f"class '{shortened(text)}' has a blank word; write e.g. "
                         "'person|pedestrian'")
    for word in synonyms:
        if len(word) > MAX_CHARACTERS:
            raise ValueError(f"class '{shortened(word)}' has {len(word)} characters; "
                             f"use at most {MAX_CHARACTERS}")
        if strange := next((sign for sign in word if unicodedata.category(sign) in _NO_TEXT), ""):
            raise ValueError(f"class {shortened(ascii(word))} has the character "
                             f"U+{ord(strange):04X}, which belongs to no text; write the words as "
                             "text in UTF-8")
    return VocabularyClass(synonyms[0], synonyms)


def validate_classes(classes: Sequence[str], background: str = "") -> tuple[VocabularyClass, ...]:
    """Parse and check a list of classes.

    Args:
        classes: one string a class, synonyms separated by ``|``.
        background: name of the class that takes uncertain pixels; empty for none.

    Raises:
        ValueError: an empty list, more than 254 classes, a blank, over-long or repeated word, or a
            background that is not a class. One sentence that names the value and the remedy.
    """
    if isinstance(classes, str):
        raise ValueError(f"classes is one text '{shortened(classes)}'; give a list such as "
                         "['floor', 'wall']")
    if not isinstance(classes, Collection):
        raise ValueError(f"classes is of type {type(classes).__name__}; give a list such as "
                         "['floor', 'wall']")
    if not isinstance(background, str):
        raise ValueError(f"background={background!r} is not text; give a class's name, or '' for "
                         "none")
    if len(classes) == 0:
        raise ValueError("the list of classes is empty; name at least one thing to look for")
    if len(classes) > MAX_CLASSES:
        raise ValueError(f"{len(classes)} classes do not fit an 8-bit label image; use at most "
                         f"{MAX_CLASSES}")
    parsed = tuple(parse_class(text) for text in classes)
    seen: set[str] = set()
    for word in (word for entry in parsed for word in entry.synonyms):
        if word.casefold() in seen:
            raise ValueError(f"'{shortened(word)}' stands in the classes twice; keep one of them")
        seen.add(word.casefold())
    if background and background_id(parsed, background) is None:
        raise ValueError(f"background '{shortened(background)}' is none of the classes; add it to "
                         "them or leave background empty")
    return parsed


def validate_negatives(negatives: Sequence[str], classes: Sequence[VocabularyClass]
                       ) -> tuple[str, ...]:
    """Parse and check negative words; those separated by ``|`` are single words like the others.

    Args:
        negatives: words that compete with the classes.
        classes: of the same vocabulary.

    Raises:
        ValueError: a blank, over-long or repeated word, or one of the classes'.
    """
    if isinstance(negatives, str):
        raise ValueError(f"negative words are one text '{shortened(negatives)}'; give a list "
                         "such as ['mirror', 'window']")
    seen = {word.casefold() for entry in classes for word in entry.synonyms}
    words = tuple(word for text in negatives for word in parse_class(text).synonyms)
    for word in words:
        if word.casefold() in seen:
            raise ValueError(f"negative word '{shortened(word)}' is a class's word too, or stands "
                             "there twice; keep one of them")
        seen.add(word.casefold())
    return words


def background_id(classes: Sequence[VocabularyClass], background: str) -> int | None:
    """Return the id of the class called ``background``, or None."""
    names = [entry.name.casefold() for entry in classes]
    wanted = " ".join(background.split("|")[0].split()).casefold()
    return names.index(wanted) if wanted in names else None
