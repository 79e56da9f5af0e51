"""How many runs of the tower a robot saves that stands still."""

from __future__ import annotations

import numpy as np
from sclip_research.scenes.films import film

from benchmarks.temporal.measures import iou_of
from benchmarks.temporal.rows import KEY, Judge
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.temporal import Memory, TemporalSettings
from sclip_seg_ros.temporal.evidence import INTERVAL
from sclip_seg_ros.tools.figures.metrics import confusion_table

PAUSE = 45  # frames in which nothing moves, before and after something does


def resting(segmentor: SCLIPSegmentor, judge: Judge, films: int,
            settings: TemporalSettings) -> dict[str, float]:
    """Label films of a standing camera, running the tower always and where it is of use.

    Returns:
        ``saved``, the share of runs left out; ``miou_always`` and ``miou_resting``, in percent.
    """
    runs = frames = 0
    means: dict[str, list[float]] = {"always": [], "resting": []}
    for index in range(films):
        shown = film(index, moving=True, panning=False, pause=PAUSE)
        words = segmentor.vocabulary(shown.words)
        memories = {way: Memory(settings) for way in means}
        tables = {way: np.zeros((len(words), len(words) + 1), np.int64) for way in means}
        for number, shot in enumerate(shown.shots()):
            scores = segmentor.predict_dense(shot.image, words).score_map
            for way, memory in memories.items():
                memory.observe(shot.image, number * INTERVAL)
                if way == "always" or memory.wants_scores(KEY):
                    memory.fuse(scores, KEY)
                    runs += way == "resting"
                evidence = memory.evidence(KEY)
                labels, confidence = judge.decide(shot.image, evidence.scores, words)
                labels, _ = evidence.settle(labels, confidence)
                tables[way] += confusion_table(labels[::2, ::2], shot.labels[::2, ::2], len(words))
            frames += 1
        for way, table in tables.items():
            means[way].append(np.nanmean(iou_of(table)))
    return {"saved": 1 - runs / frames,
            **{f"miou_{way}": 100 * float(np.mean(values)) for way, values in means.items()}}


