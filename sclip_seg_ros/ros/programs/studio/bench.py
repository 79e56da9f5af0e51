"""A running node as what makes the page's labels."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node

from sclip_seg_ros.io.points import Point, Score
from sclip_seg_ros.ros.programs.program import NoAnswer
from sclip_seg_ros.ros.programs.studio.feed import Feed, LiveCamera, cameras_of
from sclip_seg_ros.ros.programs.studio.parameters import NodeParameters
from sclip_seg_ros.segmentation.text.palette import palette_of
from sclip_seg_ros.studio.choices.choices import (
    BACKGROUND,
    WORDS,
    Choices,
    Refusal,
    declared_settings,
    values_of,
)
from sclip_seg_ros.studio.choices.export import palette_text
from sclip_seg_ros.studio.choices.imports import of_node
from sclip_seg_ros.studio.labelled import Labelled
from sclip_seg_ros.studio.workbench import Known, Shown, View

LOOK_SECONDS = 0.5  # between two looks at what runs
_WORDS = ("classes", "background", "palette", "class_ids", "unlabelled_id")
_ABOUT = ("model", "pretrained", "depth_topics")


class NodeBench:
    """Show what a node makes of its cameras, and set its parameters.

    The node's parameters are the truth: what others set, and a node that begins anew with others,
    is taken over. Subscriptions exist only while a browser has the page open, so that a node with
    ``lazy`` does nothing for a page that nobody looks at.
    """

    live = True

    def __init__(self, node: Node, name: str) -> None:
        """Take a node of one's own, and the name of the segmentation node.

        Args:
            node: which an executor serves in a thread of its own.
            name: with its leading slash.
        """
        self.title = name
        self.on_shown: Callable[[Shown], None] = lambda shown: None
        self.on_problem: Callable[[str, str], None] = lambda field, sentence: None
        self.on_moved: Callable[[int], None] = lambda index: None
        self.on_adopted: Callable[[Callable[[], Choices]], None] = lambda read: None
        self.model, self.pretrained = "", ""
        self._node, self._name = node, name
        self._parameters = NodeParameters(node, name, self._somebody_changed)
        self._cameras: list[LiveCamera] = []
        self._feed: Feed | None = None
        self._place, self._watched = 0, False
        self._has: frozenset[str] = frozenset()  # names of the node's parameters
        self._values: dict[str, Any] = {}
        self._stale, self._away = threading.Event(), False
        self._ended = threading.Event()
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake = node.create_guard_condition(self._do_jobs)
        node.create_timer(LOOK_SECONDS, self._look)
        self._newest: Shown | None = None
        self._problems: deque[tuple[str, str]] = deque()
        self._news = threading.Event()
        self._threads = [threading.Thread(target=work, name=name, daemon=True) for work, name in (
            (self._keep_reading, "studio-parameters"), (self._keep_telling, "studio-news"))]

    @property
    def sources(self) -> Sequence[LiveCamera]:
        """The node's cameras."""
        return list(self._cameras)

    def start(self) -> None:
        """Begin to take over what others change."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End."""
        self._ended.set()
        self._stale.set()
        self._news.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def read(self) -> Choices:
        """Return the node's words and settings.

        Raises:
            NoAnswer: it does not answer.
            Refusal: it has values that this page does not understand.
        """
        names = [*_WORDS, *_ABOUT, *declared_settings()]
        values = self._parameters.read(names)
        self._has, self._values = frozenset(values), values
        self.model, self.pretrained = values.get("model", ""), values.get("pretrained", "")
        known = {name: value for name, value in values.items()
                 if name not in (*_ABOUT, "class_ids", "unlabelled_id")}
        try:
            return of_node(known).choices.checked()
        except ValueError as error:
            raise error if isinstance(error, Refusal) else Refusal("page", error) from error

    def apply(self, before: Choices, after: Choices) -> Known:
        """Set the node's parameters to choices.

        Raises:
            Refusal: the node's own sentence, at the field that it concerns.
        """
        changes = self._changes(before, after)
        missing = sorted(set(changes) - self._has) if self._has else []
        if missing:
            raise Refusal(_field(missing[0]), f"this node has no parameter '{missing[0]}'; "
                          "it is of another version, or the setting is the studio's alone")
        try:
            if changes.keys() - {"class_ids"} == {"classes"}:
                reason = self._parameters.change_words(changes["classes"],
                                                       changes.get("class_ids", []))
            else:
                reason = self._parameters.set(changes) if changes else ""
        except NoAnswer as error:
            raise Refusal("page", error) from error
        if reason:
            raise Refusal(_blamed(reason, changes), reason)
        self._values |= changes
        return Known(palette_of(after.names, after.palette))

    def show(self, view: View) -> None:
        """Show another camera, where that is asked for."""
        if view.source != self._place:
            self._place = view.source
            self._later(self._subscribe_anew)

    def watch(self, watched: bool) -> None:
        """Listen to the node while a browser has the page open."""
        self._watched = watched
        self._later(self._subscribe_anew)

    def send(self, name: str, image: np.ndarray) -> tuple[int, int]:
        """Refuse a picture: a node shows its cameras.

        Raises:
            Refusal: always.
        """
        raise Refusal("sources", "a running node labels its cameras alone; show pictures with "
                                 "`sclip studio`")

    def count(self, choices: Choices, points: Mapping[str, Sequence[Point]],
              name_of: Callable[[Path, str], str], tell: Callable[[Score, bool], None]) -> None:
        """Refuse to count points: a camera's frames go by.

        Raises:
            Refusal: always.
        """
        raise Refusal("points", "a camera's frames go by; name points of pictures, with "
                                "`sclip studio`")

    def _changes(self, before: Choices, after: Choices) -> dict[str, Any]:
        """Return the parameters that differ between choices, words with the ids they keep."""
        old, new = _all_parameters(before), _all_parameters(after)
        changes = {name: value for name, value in new.items() if value != old[name]}
        ids = list(self._values.get("class_ids") or ())
        if ids and "classes" in changes:  # also of the same names: words alone clear the ids
            changes["class_ids"] = kept_ids(before.names, ids, after.names,
                                            self._values.get("unlabelled_id", 255))
        return changes

    def _somebody_changed(self) -> None:
        self._stale.set()

    def _keep_reading(self) -> None:
        """Take over what others set, in a thread that may wait for answers."""
        while True:
            self._stale.wait()
            self._ended.wait(0.05)  # several events come together
            self._stale.clear()
            if self._ended.is_set():  # asked last: what close() set may have just been cleared
                return
            try:
                self.on_adopted(self.read)
            except NoAnswer:
                pass  # the look that finds the node again reads anew
            except Refusal as error:
                self.on_problem("page", str(error))

    def _look(self) -> None:
        """See whether the node is there, and which cameras it has."""
        there = self._parameters.there
        if there and self._away:
            self._stale.set()
        if not there and not self._away:
            self._tell("page", f"'{self._name}' does not answer; the page goes on when it runs "
                               "again")
        self._away = not there
        depths = self._values.get("depth_topics") or ()
        cameras = cameras_of(self._node, self._name, depths) if there else self._cameras
        if cameras != self._cameras and cameras:
            self._cameras = cameras
            self._place = min(self._place, len(cameras) - 1)
            self._subscribe_anew()
            self._stale.set()
        if self._feed is not None:
            self._feed.follow()

    def _subscribe_anew(self) -> None:
        """Subscribe to the camera that is looked at, or to none."""
        wanted = self._cameras[self._place] if self._watched and self._place < len(self._cameras) \
            else None
        if self._feed is not None and self._feed.camera != wanted:
            self._feed.close()
            self._feed = None
        if wanted is not None and self._feed is None:
            self._feed = Feed(self._node, self._name, wanted, partial(self._show, self._place),
                              lambda sentence: self._tell("picture", sentence))

    def _show(self, place: int, labelled: Labelled) -> None:
        self._newest = Shown(place, 0, labelled)
        self._news.set()

    def _tell(self, field: str, sentence: str) -> None:
        self._problems.append((field, sentence))
        self._news.set()

    def _keep_telling(self) -> None:
        """Hand on what the executor's thread found, which must never wait for the page."""
        while not self._ended.is_set():
            self._news.wait()
            self._news.clear()
            while self._problems:
                self.on_problem(*self._problems.popleft())
            newest, self._newest = self._newest, None
            if newest is not None:
                self.on_shown(newest)

    def _later(self, job: Callable[[], None]) -> None:
        """Have something done in the executor's thread."""
        self._jobs.append(job)
        self._wake.trigger()

    def _do_jobs(self) -> None:
        while self._jobs:
            self._jobs.popleft()()


def kept_ids(before: Sequence[str], ids: Sequence[int], after: Sequence[str],
             unlabelled: int) -> list[int]:
    """Return ids in label images for changed classes: who was there keeps theirs.

    Args:
        before: names of the classes, with ``ids``.
        after: names to come; new ones get the lowest ids that nobody has.
        unlabelled: that nobody may have.
    """
    old = dict(zip(before, ids, strict=False))
    taken = {old[name] for name in after if name in old} | {unlabelled}
    free = (value for value in range(256) if value not in taken)
    return [old[name] if name in old else next(free) for name in after]


def _all_parameters(choices: Choices) -> dict[str, Any]:
    """Return the node's parameters for choices, also those at their default."""
    return {**values_of(choices), "classes": list(choices.classes),
            "background": choices.background, "palette": palette_text(choices.palette)}


def _field(parameter: str) -> str:
    """Return the page's field of a parameter."""
    if parameter in ("classes", "class_ids", "palette"):
        return WORDS
    if parameter == "background":
        return BACKGROUND
    return parameter if parameter in declared_settings() else "page"


def _blamed(reason: str, changes: Mapping[str, Any]) -> str:
    """Return the field that a refusal speaks of, or that of the first change."""
    for parameter in changes:
        field = _field(parameter)
        if parameter in reason or field in reason:
            return field
    return _field(next(iter(changes)))
