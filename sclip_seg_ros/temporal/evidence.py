"""What a camera remembers: scores of earlier frames, carried to the newest one."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from io import BytesIO
from weakref import WeakSet

import cv2
import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.text.class_ids import UNLABELLED
from sclip_seg_ros.temporal.flow import OpticalFlow, resemblance, small_grey
from sclip_seg_ros.temporal.keyframes import Carried, Keyframe, standstill
from sclip_seg_ros.temporal.settings import TemporalSettings
from sclip_seg_ros.temporal.warp import warp

CELLS = 112        # along the short side of the grid that scores are kept on
INTERVAL = 1 / 15  # seconds that TemporalSettings.weight is meant for
LONGEST_GAP = 1.0  # seconds between two frames of a film, after which it begins anew
LEAST_SHARE = 0.05  # of the past in a cell's scores that counts as fused
LEAST_RESEMBLANCE = 0.6  # of a frame to the one before; below, the scene was cut


@dataclass(frozen=True)
class Motion:
    """What a new frame has to do with the one before.

    Attributes:
        known: whether there was one, and shows the same scene: of a size, soon before, no cut.
        still: whether nothing has moved.
    """

    known: bool
    still: bool


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known about the newest frame.

    Attributes:
        scores: of the whole picture, ready for refinement and decoding; where there is no evidence
            they are whatever lies nearest.
        trust: (h, w) float32 in 0..1 on the grid, by which confidence is to be multiplied.
        age: (h, w) float32, seconds since the newest scores of a cell; infinite where it has none.
        fused: share of the cells whose scores rest on more than one frame.
    """

    scores: ScoreMap
    trust: np.ndarray
    age: np.ndarray
    fused: float

    @classmethod
    def nothing(cls, queries: int, size: tuple[int, int], device: torch.device) -> Evidence:
        """Return what is known where there are no scores: all pixels will be unlabelled.

        Args:
            queries: words that are looked for.
            size: (H, W) the image is worked on at.
            device: of the scores.
        """
        return cls(ScoreMap.of_cells(torch.zeros(queries, 1, 1, device=device), size),
                   np.zeros((1, 1), np.float32), np.full((1, 1), np.inf, np.float32), 0.0)

    @property
    def seconds(self) -> float:
        """Age of the scores that labels rest on; NaN where there are none."""
        known = self.age[np.isfinite(self.age)]
        return float(known.max()) if known.size else math.nan

    @property
    def unknown(self) -> float:
        """Share of the picture that nothing is known about, 0..1."""
        return float(np.isinf(self.age).mean())

    def settle(self, labels: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower the confidence of old evidence, and unlabel pixels without any.

        Args:
            labels, confidence: (H, W) uint8 each, decoded from ``scores``.

        Returns:
            both anew; (255, 0) where there is no evidence.
        """
        size = labels.shape[::-1]
        none = np.isinf(self.age)
        if none.any():
            blank = cv2.resize(none.astype(np.uint8) * UNLABELLED, size,
                               interpolation=cv2.INTER_NEAREST)
            labels = cv2.bitwise_or(labels, blank)
        trust = np.where(none, 0, self.trust)
        if trust.min() < 1:
            factor = cv2.resize(np.rint(trust * 255).astype(np.uint8), size,
                                interpolation=cv2.INTER_LINEAR)
            confidence = cv2.multiply(confidence, factor, scale=1 / 255)
            confidence = cv2.bitwise_and(confidence,
                                         cv2.compare(labels, UNLABELLED, cv2.CMP_NE))
        return labels, confidence


class Memory:
    """The frames of one camera, and scores that are carried along with what moves in them.

    Not for several threads at once. Scores may be made anywhere, and are handed in by :meth:`fuse`.

    Attributes:
        settings: how much the past counts.
        longest_gap: seconds between two frames, after which nothing is known about the second.
        keyframe: the newest frame, to be kept with its features until scores are made of it; None
            before the first frame.
    """

    def __init__(self, settings: TemporalSettings | None = None) -> None:
        """Begin with nothing."""
        self.settings = settings or TemporalSettings()
        self.longest_gap = LONGEST_GAP
        self._flow = OpticalFlow()
        self._followed: WeakSet[Keyframe] = WeakSet()  # what fell out of use is let go of
        self.reset()

    def reset(self) -> None:
        """Forget all frames and scores; keyframes that somebody holds are lost."""
        for keyframe in list(self._followed):
            keyframe.lost = True
        self._followed.clear()
        self._size: tuple[int, int] | None = None
        self._grey: np.ndarray | None = None    # of the newest frame that anything had moved in
        self._stamp = 0.0
        self._keyframe: Keyframe | None = None  # the newest frame, once somebody asked for it
        self._source: Keyframe | None = None    # the frame that the scores are of
        self._scores: Carried | None = None     # as they were there
        self._now: Carried | None = None        # as they are in the newest frame
        self._alone: ScoreMap | None = None     # the same in full, where nothing was fused
        self._fused = 0.0                       # share of their cells that rest on more frames

    def observe(self, image: np.ndarray, stamp: float) -> Motion:
        """Take in a frame; every frame, in order, whether it gets scores of its own or not.

        Evidence is forgotten when the size changes, time goes back or leaps, or the scene is cut.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp: seconds, of any clock that goes on from frame to frame.
        """
        grey, size = small_grey(image), image.shape[:2]
        if size != self._size or not 0 < stamp - self._stamp <= self.longest_gap:
            self.reset()
        known, still, flow = self._grey is not None, False, None
        if known:
            still = standstill(grey, self._grey)
            if not still:
                flow = self._flow(grey, self._grey)
                known = resemblance(grey, self._grey, flow) >= LEAST_RESEMBLANCE
            if not known:
                self.reset()
        for keyframe in list(self._followed):
            keyframe.follow(flow)
        if not still:  # else the older copy stays: motion too slow to be seen in one frame adds up
            self._grey = grey
        self._size, self._stamp = size, stamp
        self._now, self._keyframe = None, None
        return Motion(known, still)

    @property
    def keyframe(self) -> Keyframe | None:
        """The newest frame; the same object until the next frame."""
        if self._keyframe is None and self._grey is not None:
            self._keyframe = Keyframe(self._grey, self._stamp, self._carry())
            self._followed.add(self._keyframe)
        return self._keyframe

    def fuse(self, scores: ScoreMap, key: Hashable, keyframe: Keyframe | None = None) -> bool:
        """Take in scores, of the newest frame or of an earlier one.

        They are fused with what had been carried to that frame, as if they had been made at once.
        Z = (1 - a g) S + a g W: new scores S, carried ones W, gate g, weight a.

        Args:
            scores: cosines.
            key: what makes scores comparable, such as the vocabulary's version; those of another
                key replace all there are.
            keyframe: the frame they are of, by default the newest.

        Returns:
            whether they were of use: not where the scene was cut since, or where newer scores of
            the same key came first.

        Raises:
            ValueError: no frame was observed.
        """
        keyframe = keyframe or self.keyframe
        if keyframe is None or self._size is None:
            raise ValueError("scores came before any frame; call observe() first")
        if keyframe.lost or (self._scores is not None and self._scores.key == key
                             and self._scores.stamp > keyframe.stamp):
            return False
        grid = _grid(self._size)
        new = scores.dense(grid)
        share = np.zeros(grid, np.float32)
        past = keyframe.past
        if past is not None and past.key == key and past.scores.shape == new.shape:
            weight = self.settings.weight ** ((keyframe.stamp - past.stamp) / INTERVAL)
            share = np.float32(weight) * past.gate
            new = torch.lerp(new, past.scores, torch.from_numpy(share).to(new.device))
        self._hold(keyframe, new, key, scores.size)
        self._fused = float((share > LEAST_SHARE).mean())
        self._alone = None if share.any() else scores
        return True

    def evidence(self, key: Hashable) -> Evidence | None:
        """Return what is known about the newest frame; None without scores of this key.

        With all evidence older than ``max_age``, every age is infinite.
        """
        now = self._carry()
        if now is None or now.key != key:
            return None
        age = self._stamp - now.stamp
        known = now.inside & (age <= self.settings.max_age)
        whole = self._alone if self._source is self._keyframe else None
        return Evidence(whole or ScoreMap.of_cells(now.scores, now.size), now.gate,
                        np.where(known, np.float32(age), np.float32(np.inf)),
                        self._fused)

    def wants_scores(self, key: Hashable) -> bool:
        """Tell whether a run of the tower is of use now.

        It is, unless the scene stands still since the frame that the scores are of, and those are
        not yet ``rest`` seconds old.
        """
        if self._scores is None or self._source is None or self._scores.key != key:
            return True
        return (self._stamp - self._scores.stamp >= self.settings.rest
                or not self._source.unchanged(self._grey))

    def pack(self) -> bytes:
        """Pack the newest frame and its scores, so that another memory goes on from there.

        Raises:
            ValueError: the scores are of an earlier frame.
        """
        packed = BytesIO()
        if self._scores is not None:
            if self._scores.stamp != self._stamp:
                raise ValueError("the newest frame has no scores of its own to be packed; fuse() "
                                 "some first")
            np.savez(packed, grey=self._grey, size=self._size, stamp=self._stamp,
                     scores=self._scores.scores.cpu().numpy(), working=self._scores.size,
                     device=str(self._scores.scores.device))
        return packed.getvalue()

    def unpack(self, packed: bytes, key: Hashable) -> None:
        """Go on from what :meth:`pack` returned, with scores of a key."""
        self.reset()
        if not packed:
            return
        with np.load(BytesIO(packed), allow_pickle=False) as state:
            self._grey, self._stamp = state["grey"], float(state["stamp"])
            self._size = tuple(state["size"].tolist())
            keyframe = self.keyframe
            assert keyframe is not None  # of the frame that stands there now
            self._hold(keyframe, torch.from_numpy(state["scores"]).to(str(state["device"])),
                       key, tuple(state["working"].tolist()))

    def _hold(self, keyframe: Keyframe, scores: Tensor, key: Hashable,
              size: tuple[int, int]) -> None:
        """Replace all scores by those (Q, h, w) of a keyframe."""
        sure = np.ones(scores.shape[1:], np.float32)
        self._source, self._alone, self._now = keyframe, None, None
        self._scores = Carried(scores, sure, sure > 0, keyframe.stamp, key, size)
        self._followed.add(keyframe)

    def _carry(self) -> Carried | None:
        """Return the scores in the newest frame."""
        then, source = self._scores, self._source
        if then is None or source is None or self._now is not None:
            return self._now
        if source is self._keyframe:
            self._now = then
        else:
            path = source.path(self._grey, self.settings.gate, tuple(then.scores.shape[1:]))
            self._now = Carried(warp(then.scores, path), path.gate, path.inside, then.stamp,
                                then.key, then.size)
        return self._now


def _grid(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (rows, columns) of cells over an image of (H, W) pixels."""
    scale = min(1.0, CELLS / min(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
