"""What a person has chosen so far: words, colours, settings. Immutable, so that undo is a list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sclip_seg_ros.common.settings import Setting, check_number
from sclip_seg_ros.common.yaml_values import typed
from sclip_seg_ros.io.profiles import TEMPORAL, refuse_pieces_of_lists
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.palette import Colour
from sclip_seg_ros.segmentation.text.vocabulary import (
    VocabularyClass,
    parse_class,
    validate_classes,
)
from sclip_seg_ros.temporal import TemporalSettings

BUDGET = "latency_budget_ms"
MOST_BUDGET = 60_000.0   # milliseconds, as the node's parameter
WORDS, BACKGROUND = "classes", "background"  # fields, beside the names of settings


class Refusal(ValueError):
    """A change that cannot be; the message says why, ``field`` where it belongs on the page."""

    def __init__(self, field: str, message: object) -> None:
        """Say where and why."""
        super().__init__(str(message))
        self.field = field


@dataclass(frozen=True)
class Choices:
    """Words, colours and settings.

    Attributes:
        classes: one text a class, synonyms separated by ``|``, as a segmentor takes them.
        background: name of the class that takes uncertain pixels; empty for none.
        palette: colours of class names that somebody chose; the others have one by their name.
        settings: how an image becomes labels.
        temporal: how the frames of a film help one another.
        budget_ms: milliseconds that a node may take for a frame; 0: as long as it takes.
    """

    classes: tuple[str, ...]
    background: str = ""
    palette: Mapping[str, Colour] = field(default_factory=dict)
    settings: SegmentorSettings = SegmentorSettings()
    temporal: TemporalSettings = TemporalSettings()
    budget_ms: float = 0.0

    @property
    def parsed(self) -> tuple[VocabularyClass, ...]:
        """The classes with their synonyms."""
        return tuple(map(parse_class, self.classes))

    @property
    def names(self) -> list[str]:
        """Names of the classes, in their order."""
        return [entry.name for entry in self.parsed]

    def checked(self) -> Choices:
        """Return the same with words spelt as they are kept, or refuse them.

        What is exported shall be taken by node and programs, so their rules hold here too.

        Raises:
            Refusal: at the field of the words or of the background.
        """
        try:
            refuse_pieces_of_lists(self.classes)
            classes = validate_classes(self.classes)
            if comma := next((text for text in self.classes if "," in text), ""):
                raise ValueError(f"class '{comma}' has a comma; add each class by itself, or write "
                                 "| between synonyms")
        except ValueError as error:
            raise Refusal(WORDS, error) from error
        try:
            validate_classes(self.classes, self.background)
        except ValueError as error:
            raise Refusal(BACKGROUND, error) from error
        names = {entry.name for entry in classes}
        return replace(self, classes=tuple("|".join(entry.synonyms) for entry in classes),
                       palette={name: colour for name, colour in self.palette.items()
                                if name in names})

    def add(self, text: str) -> Choices:
        """Add one class, or several that commas or line breaks separate.

        Raises:
            Refusal: words that cannot be.
        """
        new = [part.strip() for part in re.split(r"[,\n]", text) if part.strip()]
        if not new:
            raise Refusal(WORDS, "there is no word to add; type one, e.g. person|pedestrian")
        return replace(self, classes=(*self.classes, *new)).checked()

    def remove(self, name: str) -> Choices:
        """Take a class out; the background goes with its class.

        Raises:
            Refusal: it is the last one, or none of them.
        """
        place = self._place(name)
        if len(self.classes) == 1:
            raise Refusal(WORDS, f"'{name}' is the last class; add another before you remove it")
        rest = self.classes[:place] + self.classes[place + 1:]
        background = "" if self._is_background(name) else self.background
        return replace(self, classes=rest, background=background).checked()

    def rename(self, name: str, text: str) -> Choices:
        """Give a class another name and other synonyms, separated by ``|``; its colour stays.

        Raises:
            Refusal: words that cannot be.
        """
        place = self._place(name)
        try:
            entry = parse_class(text)
        except ValueError as error:
            raise Refusal(WORDS, error) from error
        classes = list(self.classes)
        classes[place] = text
        palette = {entry.name if known == name else known: colour
                   for known, colour in self.palette.items()}
        background = entry.name if self._is_background(name) else self.background
        return replace(self, classes=tuple(classes), palette=palette,
                       background=background).checked()

    def move(self, name: str, place: int) -> Choices:
        """Bring a class to another place, which is its id."""
        classes = list(self.classes)
        text = classes.pop(self._place(name))
        classes.insert(max(0, min(place, len(classes))), text)
        return replace(self, classes=tuple(classes))

    def as_background(self, name: str) -> Choices:
        """Let a class take uncertain pixels; an empty name: none does.

        Raises:
            Refusal: it is none of the classes.
        """
        return replace(self, background=name).checked()

    def coloured(self, name: str, colour: str) -> Choices:
        """Give a class a colour such as ``#804080``; an empty one: that of its name.

        Raises:
            Refusal: no colour, or no class.
        """
        self._place(name)
        palette = {known: value for known, value in self.palette.items() if known != name}
        if colour:
            digits = re.fullmatch(r"#([0-9a-fA-F]{6})", colour)
            if digits is None:
                raise Refusal(WORDS, f"'{colour}' is not a colour; give e.g. #804080")
            red, green, blue = bytes.fromhex(digits[1])
            palette[name] = (red, green, blue)
        return replace(self, palette=palette)

    def with_settings(self, values: Mapping[str, Any]) -> Choices:
        """Change settings by the names of :func:`declared_settings`, all at once.

        Raises:
            Refusal: at the field of the setting.
        """
        budget, of_time, others = self.budget_ms, {}, {}
        for name, value in values.items():
            try:
                if name == BUDGET:
                    budget = _budget(value)
                elif name.startswith(TEMPORAL):
                    inner = name.removeprefix(TEMPORAL)
                    of_time[inner] = typed(inner, value, TemporalSettings)
                else:
                    others[name] = _of_loaded_model(name, value)
            except ValueError as error:
                raise Refusal(name, error) from error
        try:
            return replace(self, settings=self.settings.with_changes(others),
                           temporal=self.temporal.with_changes(of_time), budget_ms=budget)
        except ValueError as error:
            named = [name for name in values if name.removeprefix(TEMPORAL) in str(error)]
            raise Refusal((named or list(values))[-1], error) from error

    def _place(self, name: str) -> int:
        names = self.names
        if name not in names:
            raise Refusal(WORDS, f"'{name}' is none of the classes any more; somebody removed or "
                                 "renamed it")
        return names.index(name)

    def _is_background(self, name: str) -> bool:
        return bool(self.background) and self.background.casefold() == name.casefold()


def _budget(value: Any) -> float:
    found = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    check_number(BUDGET, found, 0.0, MOST_BUDGET, float)
    return found


def _of_loaded_model(name: str, value: Any) -> Any:
    """Return a setting's value in its own type; refuse those that the model is loaded with."""
    found = typed(name, value, SegmentorSettings)
    if SegmentorSettings.declared()[name].fixed:
        raise ValueError(f"{name} cannot change while the model is loaded; start the studio with "
                         "it")
    return found


def declared_settings() -> dict[str, Setting]:
    """Return every setting that can be chosen, by its name in files and messages."""
    budget = Setting(0.0, "Milliseconds that a node may take for a frame; 0: no budget. It is kept "
                     "by giving up quality.", 0.0, MOST_BUDGET, "milliseconds",
                     section="Node alone")
    chosen = {name: item for name, item in SegmentorSettings.declared().items() if not item.fixed}
    return {**chosen, **TemporalSettings.declared(TEMPORAL), BUDGET: budget}


def values_of(choices: Choices) -> dict[str, Any]:
    """Return the value of every setting of :func:`declared_settings`."""
    return {name: value_of(choices, name) for name in declared_settings()}


def value_of(choices: Choices, name: str) -> Any:
    """Return the value of one setting, e.g. ``"crf.iterations"``."""
    if name == BUDGET:
        return choices.budget_ms
    holder: Any = choices if name.startswith(TEMPORAL) else choices.settings
    for part in name.split("."):
        holder = getattr(holder, part)
    return list(holder) if isinstance(holder, tuple) else holder


def changed_settings(choices: Choices) -> dict[str, Any]:
    """Return the settings that differ from their defaults."""
    default = Choices(choices.classes)
    return {name: value for name, value in values_of(choices).items()
            if value != value_of(default, name)}
