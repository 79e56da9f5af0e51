"""Label pictures, films and recordings for the page, in a thread of its own; the newest wins."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sclip_seg_ros.common.text import first_line, in_number
from sclip_seg_ros.io.points import Point, Score, judge
from sclip_seg_ros.models import WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.studio.choices.choices import WORDS, Choices, Refusal, value_of, values_of
from sclip_seg_ros.studio.labelled import Frame, Labelled, differing
from sclip_seg_ros.studio.labeller import Labeller, Sight
from sclip_seg_ros.studio.sources.sources import Photos, Sent, Source
from sclip_seg_ros.tools.failures import IMAGE_ERRORS, cause_of

_END = object()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class View:
    """What the page wants to see.

    Attributes:
        source: number of the source.
        index: of the frame in it.
        choices: words and settings.
        pinned: others, to compare with; None: none.
        playing: whether the film goes on by itself.
    """

    source: int
    index: int
    choices: Choices
    pinned: Choices | None = None
    playing: bool = False


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of words that were taken over.

    Attributes:
        colours: (C, 3) uint8 RGB of the classes.
        unknown: words that the model knows nothing of.
    """

    colours: np.ndarray
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Shown:
    """What the page shows.

    Attributes:
        source, index: which frame; index 0 of a live camera.
        labelled: by the present choices.
        pinned: by those compared with.
        differ: share of the pixels whose labels differ between the two.
    """

    source: int
    index: int
    labelled: Labelled
    pinned: Labelled | None = None
    differ: float | None = None


class Workbench:
    """Label what is on disk.

    Attributes:
        live: whether a node makes the labels; here none does.
        title: model and weights.
        on_shown: called with every result, in the thread of the work.
        on_problem: called with the field of the page and a sentence where a frame cannot be done.
        on_moved: called with the number of the frame that a playing film has come to.
    """

    live = False

    def __init__(self, segmentor: SCLIPSegmentor, sources: Sequence[Source],
                 text: Mapping[str, Any] | None = None) -> None:
        """Take a model and what to label; :meth:`start` begins.

        Args:
            segmentor: the model.
            sources: of pictures.
            text: what vocabularies take besides classes, background and palette, by keyword.
        """
        self._text = dict(text or {})
        self.segmentor = segmentor
        self.title = segmentor.name
        self.sight = Sight()
        self._sent = Sent()
        self._sources: list[Source] = [*sources]
        self.on_shown: Callable[[Shown], None] = lambda shown: None
        self.on_problem: Callable[[str, str], None] = lambda field, sentence: None
        self.on_moved: Callable[[int], None] = lambda index: None
        self._count: Iterator[None] | None = None
        self._labellers: dict[bool, Labeller] = {}  # by whether of the pinned choices
        self._of_source = -1
        self._wanted: View | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._frame: tuple[tuple[int, int], Frame] | None = None
        self._thread = threading.Thread(target=self._work, name="studio-work", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """End the work after the present frame."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def sources(self) -> list[Source]:
        """Sources in the order of their numbers."""
        return list(self._sources)

    def send(self, name: str, image: np.ndarray) -> tuple[int, int]:
        """Take a picture from a browser; return its source and its number there."""
        self._sent.add(name, image)
        if self._sent not in self._sources:
            self._sources.append(self._sent)
        return self._sources.index(self._sent), self._sent.count - 1

    def apply(self, before: Choices, after: Choices) -> Known:
        """Check that choices work with the model; new words are encoded, weights loaded.

        Raises:
            Refusal: at the field concerned.
        """
        try:
            vocabulary = self.segmentor.vocabulary(after.classes, after.background,
                                                   palette=after.palette, **self._text)
        except ValueError as error:
            raise Refusal(WORDS, error) from error
        if before.settings != after.settings:
            try:
                self.segmentor.prepare(after.settings)
            except (ValueError, WeightsError) as error:
                changed = [name for name in values_of(after)
                           if value_of(after, name) != value_of(before, name)]
                raise Refusal(changed[0] if changed else "settings", error) from error
        words = [word for entry in vocabulary.classes for word in entry.synonyms]
        return Known(vocabulary.colours, tuple(self.segmentor.text.unknown(words)))

    def watch(self, watched: bool) -> None:
        """Do nothing: what is on disk waits for whoever looks."""

    def show(self, view: View) -> None:
        """Ask for a view; one that was asked for and not begun is forgotten."""
        with self._changed:
            self._wanted = view
            self._changed.notify()

    def count(self, choices: Choices, points: Mapping[str, Sequence[Point]],
              name_of: Callable[[Path, str], str], tell: Callable[[Score, bool], None]) -> None:
        """Judge all pictures that have points, one by one, while nobody wants to see anything.

        Args:
            choices: words and settings.
            points: by picture.
            name_of: returns a picture's name there, by its path and its name below its folder.
            tell: called with the score as it grows, and whether it is done.
        """
        with self._changed:
            self._count = self._counting(choices, points, name_of, tell)
            self._changed.notify()

    def _counting(self, choices: Choices, points: Mapping[str, Sequence[Point]],
                  name_of: Callable[[Path, str], str],
                  tell: Callable[[Score, bool], None]) -> Iterator[None]:
        """Look at one picture at every step; only those with points are read."""
        score, label, left = Score(), Labeller(self.segmentor, Sight(), self._text), dict(points)
        problems: list[str] = []
        for source in [source for source in self._sources if isinstance(source, Photos)]:
            for index in range(source.count):
                yield
                found = left.pop(name_of(source.path_of(index), source.name_of(index)), None)
                if not found:
                    continue
                try:
                    labelled = label(source.frame(index), choices)
                    right = judge(labelled.labels, labelled.classes, found)
                except IMAGE_ERRORS as error:
                    problems.append(cause_of(error))
                    right = [False] * len(found)
                score.add(found, right)
                tell(score, False)
        for found in left.values():  # of pictures that are not here
            score.add(found, [False] * len(found))
        tell(score, True)
        if problems:
            self.on_problem("points", f"the points of {in_number(len(problems), 'picture')} count "
                                      f"as wrong: {problems[0]}")

    def _work(self) -> None:
        playing: View | None = None
        while True:
            with self._changed:
                while not (self._wanted or playing or self._count or self._ended):
                    self._changed.wait()
                if self._ended:
                    return
                view = self._wanted or playing
                self._wanted = None
            if view is None:
                self._go_on_counting()
                continue
            playing = self._do(view)

    def _go_on_counting(self) -> None:
        counting = self._count
        try:
            if next(counting or iter(()), _END) is not _END:
                return
        except WeightsError as error:
            self.on_problem("points", str(error))
        except Exception as error:
            _log.exception("points could not be counted")
            self._tell_unexpected("points", "the points could not be counted", error)
        with self._changed:
            if self._count is counting:  # whoever heard of the end may have asked for another
                self._count = None

    def _next(self, view: View, began: float) -> View | None:
        """Return the view that a playing film has come to; wait for it where it is early."""
        source = self._sources[view.source]
        if view.index + 1 >= source.count:
            self.on_moved(-1)
            return None
        took = time.monotonic() - began
        step = max(1, int(took * source.rate))
        with self._changed:
            if self._wanted is None and not self._ended:
                self._changed.wait(max(0.0, step / source.rate - took))
            if self._wanted is not None:
                return None
        following = replace(view, index=min(view.index + step, source.count - 1))
        self.on_moved(following.index)
        return following

    def _do(self, view: View) -> View | None:
        """Label one view, and tell; say why where it cannot be. Return what a film shows next."""
        began = time.monotonic()
        try:
            frame, moving = self._read(view)
            labelled = self._labeller(view, pinned=False)(frame, view.choices, moving)
            pinned, differ = None, None
            if view.pinned is not None:
                pinned = self._labeller(view, pinned=True)(frame, view.pinned, moving)
                differ = differing(labelled.labels, labelled.names, pinned.labels, pinned.names)
            self.on_shown(Shown(view.source, view.index, labelled, pinned, differ))
            return self._next(view, began) if view.playing and moving else None
        except (*IMAGE_ERRORS, WeightsError) as error:
            self.on_problem("picture", cause_of(error))
        except Exception as error:
            _log.exception("a frame could not be labelled")
            self._tell_unexpected("picture", "this frame could not be labelled", error)
        return None

    def _tell_unexpected(self, field: str, what: str, error: Exception) -> None:
        """Say on the page what happened; the thread lives on."""
        self.on_problem(field, f"{what} ({first_line(error)}); the terminal has the details")

    def _read(self, view: View) -> tuple[Frame, bool]:
        source, place = self._sources[view.source], (view.source, view.index)
        if isinstance(source, (Photos, Sent)) or self._frame is None or self._frame[0] != place:
            self._frame = place, source.frame(view.index)
        return self._frame[1], source.moving

    def _labeller(self, view: View, pinned: bool) -> Labeller:
        """Return the labeller of one side; another source begins another film."""
        if view.source != self._of_source:
            self._labellers, self._of_source = {}, view.source
        if pinned not in self._labellers:
            self._labellers[pinned] = Labeller(self.segmentor, self.sight, self._text)
        return self._labellers[pinned]
