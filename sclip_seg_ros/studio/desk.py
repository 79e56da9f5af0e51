"""What all browsers see: sources, the present frame, choices with their history."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sclip_seg_ros.common.settings import Setting
from sclip_seg_ros.io.points import Point, Score, judge
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.palette import palette_of
from sclip_seg_ros.studio.choices.choices import (
    WORDS,
    Choices,
    Refusal,
    changed_settings,
    declared_settings,
    values_of,
)
from sclip_seg_ros.studio.choices.colours import distinct_colours
from sclip_seg_ros.studio.labelled import Frame
from sclip_seg_ros.studio.points import Points
from sclip_seg_ros.studio.sources.sources import Listed
from sclip_seg_ros.studio.workbench import Known, Shown, View

MOST_STEPS = 200  # of the history


class Bench(Protocol):
    """What makes the labels: a model here, or a running node."""

    live: bool
    title: str
    on_shown: Callable[[Shown], None]
    on_problem: Callable[[str, str], None]
    on_moved: Callable[[int], None]

    @property
    def sources(self) -> Sequence[Listed]:
        """What there is to see."""

    def apply(self, before: Choices, after: Choices) -> Known:
        """Take choices over, or refuse them with a Refusal."""

    def show(self, view: View) -> None:
        """Ask for a view; the newest wins."""

    def watch(self, watched: bool) -> None:
        """Learn whether anybody looks."""

    def count(self, choices: Choices, points: Mapping[str, Sequence[Point]],
              name_of: Callable[[Path, str], str], tell: Callable[[Score, bool], None]) -> None:
        """Judge all pictures with points, and tell the score as it grows."""

    def send(self, name: str, image: np.ndarray) -> tuple[int, int]:
        """Take a picture; return its source and its number."""


class Desk:
    """The shared state, changed by commands; for several threads.

    Attributes:
        bench: that labels.
        shown: the newest result; None before the first.
        points: pixels that were named.
        on_change: called after every change of the state.
        on_shown: called with every result.
    """

    def __init__(self, bench: Bench, choices: Choices, points: Points | None = None) -> None:
        """Begin with the first frame of the first source."""
        self.points = points or Points()
        self.bench = bench
        self.shown: Shown | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_shown: Callable[[Shown], None] = lambda shown: None
        self._choices = choices.checked()
        self._before: list[Choices] = []
        self._after: list[Choices] = []
        self._pinned: Choices | None = None
        self._source = self._index = 0
        self._playing = False
        self._problem: dict[str, str] | None = None
        self._busy = ""
        self._counted: dict[str, Any] | None = None
        self._counts = 0  # that were begun, or came to nothing
        self._dragged: list[str] = []  # settings of the slider that is being dragged
        self._lock = threading.RLock()
        self._state: dict[str, Any] = {}
        self._commands: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "add": lambda given: self._choose(self._choices.add(_text(given, "text")),
                                              f"encoding {_text(given, 'text')[:40]}"),
            "remove": lambda given: self._choose(self._choices.remove(_text(given, "name"))),
            "rename": lambda given: self._choose(
                self._choices.rename(_text(given, "name"), _text(given, "text"))),
            "move": lambda given: self._choose(
                self._choices.move(_text(given, "name"), _number(given, "place"))),
            "background": lambda given: self._choose(
                self._choices.as_background(_text(given, "name"))),
            "colour": lambda given: self._choose(
                self._choices.coloured(_text(given, "name"), _text(given, "colour"))),
            "colours": lambda given: self._choose(self._recoloured(_text(given, "how"))),
            "set": self._set,
            "undo": lambda given: self._step(self._before, self._after),
            "redo": lambda given: self._step(self._after, self._before),
            "pin": lambda given: self._pin(self._choices),
            "unpin": lambda given: self._pin(None),
            "swap": lambda given: self._swap(),
            "go": lambda given: self._go(_number(given, "source"), _number(given, "index")),
            "point": self._point,
            "unpoint": lambda given: self._unpoint(_number(given, "place")),
            "count": lambda given: self._count(),
            "play": lambda given: self._play(bool(given.get("on"))),
        }
        bench.on_shown, bench.on_problem, bench.on_moved = self._took, self._failed, self._moved
        self._known = bench.apply(self._choices, self._choices)
        self._publish()

    def begin(self) -> None:
        """Ask for the first frame."""
        with self._lock:
            self._ask()

    @property
    def choices(self) -> Choices:
        """The present choices."""
        return self._choices

    @property
    def state(self) -> dict[str, Any]:
        """The state as the page reads it; a new object after every change."""
        return self._state

    def do(self, command: Mapping[str, Any]) -> None:
        """Carry out a command of a browser.

        Raises:
            Refusal: with the field of the page that it concerns.
        """
        what = command.get("do")
        if not isinstance(what, str) or what not in self._commands:
            raise Refusal("page", f"there is no command {what!r}; load the page again")
        with self._lock:
            self._commands[what](command)

    def choose(self, choices: Choices) -> None:
        """Take over choices that come from elsewhere, such as an imported file.

        Raises:
            Refusal: they cannot be.
        """
        with self._lock:
            self._choose(choices.checked(), "encoding")

    def adopt(self, read: Callable[[], Choices]) -> None:
        """Take over choices that are in force already, such as what others set at a node.

        They are read while no command is carried out, which would change them meanwhile.
        """
        with self._lock:
            choices = read()
            if choices != self._choices:
                self._remember()
                self._choices = choices
                self._known = Known(palette_of(choices.names, choices.palette))
            self._problem = None
            self._ask()

    def watch(self, browsers: int) -> None:
        """Note how many browsers have the page open."""
        self.bench.watch(browsers > 0)

    def send(self, name: str, image: np.ndarray) -> None:
        """Show a picture that a browser sent."""
        with self._lock:
            self._go(*self.bench.send(name, image))

    def _set(self, given: Mapping[str, Any]) -> None:
        """Change settings; all that a slider passes while it is dragged is one step."""
        values = _values(given)
        dragged = sorted(values) if given.get("drag") is True else []
        on = bool(dragged) and dragged == self._dragged
        before = list(self._before)
        self._choose(self._choices.with_settings(values), "preparing")
        if on:
            self._before = before
            self._publish()
        self._dragged = dragged

    def _choose(self, choices: Choices, busy: str = "") -> None:
        self._dragged = []
        if choices == self._choices:
            return
        self._busy = busy
        if busy:
            self._publish()
        try:
            known = self.bench.apply(self._choices, choices)
        finally:
            self._busy = ""
            self._publish()
        self._remember()
        self._take(choices, known)

    def _remember(self) -> None:
        """Keep the present choices as those to go back to."""
        self._before.append(self._choices)
        del self._before[:-MOST_STEPS]
        self._after.clear()

    def _step(self, back: list[Choices], ahead: list[Choices]) -> None:
        """Go back to the choices before, or ahead again."""
        if not back:
            return
        known = self.bench.apply(self._choices, back[-1])
        ahead.append(self._choices)
        self._take(back.pop(), known)

    def _take(self, choices: Choices, known: Known) -> None:
        self._choices, self._known = choices, known
        self._forget_count()
        self._ask()

    def _recoloured(self, how: str) -> Choices:
        if how == "by-name":
            return replace(self._choices, palette={})
        if how != "distinct":
            raise Refusal(WORDS, f"there are no colours '{how}'; choose by-name or distinct")
        names = self._choices.names
        return replace(self._choices, palette=dict(zip(names, distinct_colours(len(names)),
                                                       strict=True)))

    def _pin(self, choices: Choices | None) -> None:
        if choices is not None and self.bench.live:
            raise Refusal("compare", "a running node has one set of settings; compare two with "
                                     "`sclip studio`, on pictures or a recording")
        self._pinned = choices
        self._ask()

    def _swap(self) -> None:
        if self._pinned is None:
            raise Refusal("compare", "nothing is pinned; pin the present settings first")
        pinned, self._pinned = self._pinned, self._choices
        try:
            self._choose(pinned)
        except Refusal:  # and both stay as they are
            self._pinned = pinned
            raise

    def _go(self, source: int, index: int) -> None:
        sources = self.bench.sources
        if not 0 <= source < len(sources):
            raise Refusal("sources", f"there is no source {source + 1}; there are {len(sources)}")
        if not 0 <= index < max(1, sources[source].count):
            raise Refusal("sources", f"there is no frame {index + 1}; "
                          f"'{sources[source].name}' has {sources[source].count}")
        self._source, self._index = source, index
        self._playing = self._playing and sources[source].moving
        self._ask()

    def _play(self, on: bool) -> None:
        source = self.bench.sources[self._source]
        if on and not source.moving:
            raise Refusal("sources", f"'{source.name}' holds photos, which do not play; choose a "
                                     "film or a recording")
        if on and self._index + 1 >= source.count:
            self._index = 0
        self._playing = on
        self._ask()

    def _ask(self) -> None:
        self._publish()
        if self.bench.sources:
            self.bench.show(View(self._source, self._index, self._choices, self._pinned,
                                 self._playing))

    def _took(self, shown: Shown) -> None:
        self.shown = shown
        if self._problem is not None or self.points.of(shown.labelled.frame) \
                or self._state.get("points"):
            with self._lock:
                self._problem = None
                self._publish()
        self.on_shown(shown)

    def _point(self, given: Mapping[str, Any]) -> None:
        word, frame = _text(given, "word"), self._frame()
        if word not in self._choices.names:
            raise Refusal("points", f"'{word}' is none of the classes; choose one of them")
        self.points.click(frame, _number(given, "x"), _number(given, "y"), word)
        self._forget_count()
        self._publish()

    def _unpoint(self, place: int) -> None:
        self.points.remove(self._frame(), place)
        self._forget_count()
        self._publish()

    def _forget_count(self) -> None:
        """Forget a score that no longer holds, also one that is still being made."""
        self._counted = None
        self._counts += 1

    def _count(self) -> None:
        if not self.points.pictures:
            raise Refusal("points", "there are no points yet; choose a word, and click what it is")
        self._forget_count()
        number = self._counts
        self.bench.count(self._choices, self.points.pictures, self.points.name_at,
                         lambda score, done: self._was_counted(number, score, done))

    def _was_counted(self, number: int, score: Score, done: bool) -> None:
        with self._lock:
            if number != self._counts:
                return
            self._counted = {"right": score.right, "total": score.total, "done": done,
                             "words": {word: list(counts)
                                       for word, counts in score.by_word.items()}}
            self._publish()

    def _frame(self) -> Frame:
        if self.shown is None:
            raise Refusal("points", "there is no picture yet; wait for the first")
        return self.shown.labelled.frame

    def _judged(self) -> list[dict[str, Any]]:
        """Return the points of the present picture, and whether each is right."""
        if self.shown is None:
            return []
        labelled = self.shown.labelled
        points = self.points.of(labelled.frame)
        verdicts = judge(labelled.labels, labelled.classes, points)
        return [{"x": x, "y": y, "word": word, "right": good}
                for (x, y, word), good in zip(points, verdicts, strict=True)]

    def _failed(self, field: str, sentence: str) -> None:
        with self._lock:
            self._problem, self._playing = {"field": field, "message": sentence}, False
            self._publish()

    def _moved(self, index: int) -> None:
        """Note where a playing film is; -1: at its end."""
        with self._lock:
            if index < 0:
                self._playing = False
            elif self._playing:
                self._index = index
            self._publish()

    def _publish(self) -> None:
        self._state = self._described()
        self.on_change()

    def _described(self) -> dict[str, Any]:
        choices, palette, known = self._choices, self._choices.palette, self._known
        sources = self.bench.sources
        return {
            "kind": "state", "live": self.bench.live, "title": self.bench.title,
            "sources": [{"name": source.name, "kind": source.kind, "count": source.count,
                         "moving": source.moving, "rate": source.rate} for source in sources],
            "frame": sources[self._source].name_of(self._index)
            if self._source < len(sources) else "",
            "source": self._source, "index": self._index, "playing": self._playing,
            "classes": [{"name": entry.name, "synonyms": list(entry.synonyms),
                         "text": text, "colour": _hex(colour), "chosen": entry.name in palette,
                         "unknown": [word for word in entry.synonyms if word in known.unknown]}
                        for entry, text, colour in zip(choices.parsed, choices.classes,
                                                       known.colours, strict=True)],
            "background": choices.background, "settings": values_of(choices),
            "changed": sorted(changed_settings(choices)),
            "undo": len(self._before), "redo": len(self._after),
            "pinned": _difference(choices, self._pinned) if self._pinned else None,
            "points": self._judged(), "counted": self._counted,
            "pictures_with_points": len(self.points.pictures),
            "problem": self._problem, "busy": self._busy,
        }


def described_settings() -> list[dict[str, Any]]:
    """Describe every setting, for the page to make its fields of."""
    stages = {group: switch for switch, group in SegmentorSettings.stages().items()}
    return [{"name": name, "kind": _kind(item), "needs": stages.get(name.partition(".")[0], ""),
             "default": item.default, "low": item.low, "high": item.high,
             "unit": item.unit, "choices": list(item.choices),
             "description": item.description, "section": item.section or _section(name)}
            for name, item in declared_settings().items()]


def _difference(choices: Choices, pinned: Choices) -> dict[str, Any]:
    """Say in what the pinned choices differ from the present ones."""
    now, then = values_of(choices), values_of(pinned)
    return {"words": len(pinned.classes),
            "settings": {name: then[name] for name in now if now[name] != then[name]},
            "added": [name for name in choices.names if name not in pinned.names],
            "removed": [name for name in pinned.names if name not in choices.names]}


def _section(name: str) -> str:
    return "Time" if name.startswith("temporal.") else "Stages"


def _kind(item: Setting) -> str:
    if isinstance(item.default, bool):
        return "switch"
    if isinstance(item.default, str):
        return "choice" if item.choices else "text"
    if isinstance(item.default, tuple):
        return "numbers"
    return "whole" if isinstance(item.default, int) else "number"


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or len(value) > 100_000:
        raise Refusal("page", f"the command lacks the text '{name}'; load the page again")
    return value


def _number(given: Mapping[str, Any], name: str) -> int:
    value = given.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal("page", f"the command lacks the number '{name}'; load the page again")
    return value


def _values(given: Mapping[str, Any]) -> Mapping[str, Any]:
    values = given.get("values")
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise Refusal("page", "the command lacks the settings; load the page again")
    return values
