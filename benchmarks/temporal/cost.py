"""What a frame costs that is answered without a run of the tower, and what its decoding gained."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from sclip_research.scenes.films import film

from benchmarks.configurations import phrases
from benchmarks.temporal.rows import KEY, Judge
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.segmentation.scores.decoding import plain
from sclip_seg_ros.segmentation.scores.decoding.decoding import decode
from sclip_seg_ros.segmentation.scores.decoding.rule import DecodingRule
from sclip_seg_ros.temporal import Memory, TemporalSettings
from sclip_seg_ros.temporal.evidence import INTERVAL

SIZES = ((480, 640), (1080, 1920))
WORDS = 20
MANY = 150  # words whose decoding is compared with plain decoding
ROUNDS = 2  # the film is shown so often, there and back
TURNS = 9


class Clock:
    """Collect the milliseconds of this thread by stage."""

    def __init__(self) -> None:
        """Start empty."""
        self._spans: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block; what other programs take meanwhile does not count."""
        begin = time.thread_time()
        yield
        self._spans[name].append(1e3 * (time.thread_time() - begin))

    def medians(self) -> dict[str, float]:
        """Return the median of each stage, and of their sum by frame."""
        result = {name: float(np.median(spans)) for name, spans in self._spans.items()}
        return {**result, "all": float(np.median(np.sum(list(self._spans.values()), axis=0)))}

    def ratio(self, one: str, other: str) -> float:
        """Return the median ratio of two stages, round by round."""
        return float(np.median(np.divide(self._spans[one], self._spans[other])))


def tracked_frame_ms(segmentor: SCLIPSegmentor, judge: Judge,
                     settings: TemporalSettings) -> dict[str, dict[str, float]]:
    """Measure the whole path of a frame without scores of its own, by size and stage.

    All libraries have to be held to one thread.
    """
    shown = film(0, moving=True)
    more = [f"thing {index}" for index in range(WORDS - len(shown.words))]
    words = segmentor.vocabulary([*shown.words, *more])
    shots = [shot.image for shot in shown.shots()]
    there_and_back = [*shots, *reversed(shots[1:-1])]  # begun anew, a film would be cut
    result = {}
    for height, width in SIZES:
        images = [cv2.resize(image, (width, height)) for image in there_and_back]
        memory, clock = Memory(settings), Clock()
        memory.observe(images[0], 0.0)
        memory.fuse(segmentor.predict_dense(images[0], words).score_map, KEY)
        for number in range(1, ROUNDS * len(images)):
            image, stamp = images[number % len(images)], number * INTERVAL
            with torch.inference_mode():
                with clock.stage("grey, flow"):
                    memory.observe(image, stamp)
                with clock.stage("gate, warp"):
                    evidence = memory.evidence(KEY)
                with clock.stage("decode"):
                    decided = judge.decide(image, evidence.scores, words)
                with clock.stage("settle"):
                    evidence.settle(*decided)
        result[f"{height}x{width}"] = clock.medians()
    return result


def decoding_ms(segmentor: SCLIPSegmentor,
                settings: TemporalSettings) -> dict[str, dict[str, dict[str, float]]]:
    """Compare decoding with its plain form, by number of words and size, turn by turn.

    The scores are those of a frame that others were carried to. All libraries have to be held to
    one thread.

    Returns:
        ``plain``, ``now`` in milliseconds of processor time and ``ratio``: medians.
    """
    images = [shot.image for shot in film(0, moving=True).shots()][:4]
    scale = segmentor.pipeline.logit_scale
    result: dict[str, dict[str, dict[str, float]]] = {}
    for count in (WORDS, MANY):
        words = segmentor.vocabulary(phrases()[:count])
        result[str(count)] = {}
        for size in SIZES:
            memory = Memory(settings)
            for number, image in enumerate(images):
                image = cv2.resize(image, size[::-1])
                memory.observe(image, number * INTERVAL)
                if number == 0:
                    memory.fuse(segmentor.predict_dense(image, words).score_map, KEY)
            scores = memory.evidence(KEY).scores
            rule = DecodingRule(words.query_class, scale)
            clock = Clock()
            with torch.inference_mode():
                for _ in range(TURNS):
                    with clock.stage("plain"):
                        plain.label(scores, rule, size)
                    with clock.stage("now"):
                        decode(scores, words.query_class, scale, size)
            times = clock.medians()
            result[str(count)]["x".join(map(str, size))] = {
                "plain": times["plain"], "now": times["now"],
                "ratio": clock.ratio("plain", "now")}
    return result
