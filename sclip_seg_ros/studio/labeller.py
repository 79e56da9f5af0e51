"""Label a frame again and again while words and settings change, from kept features."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings, Vocabulary
from sclip_seg_ros.segmentation.pipeline import Features, Picture, Pipeline
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.studio.choices.choices import Choices
from sclip_seg_ros.studio.labelled import Frame, Labelled, OfScores
from sclip_seg_ros.temporal import Memory

_KEPT = 3  # frames' features; of a window LoftUp makes some 100 MB


@dataclass(frozen=True, eq=False)
class Seen:
    """What the tower saw of one frame.

    Attributes:
        pictures: the frame on the device.
        features: of its windows.
        stage_ms: what that took.
    """

    pictures: list[Picture]
    features: Features
    stage_ms: Mapping[str, float]


class Sight:
    """The features of the newest frames, by all that they depend on."""

    def __init__(self) -> None:
        """Begin with none."""
        self._seen: OrderedDict[Any, Seen] = OrderedDict()
        self.runs = 0  # of the tower

    def of(self, frame: Frame, pipeline: Pipeline, vocabulary: Vocabulary) -> tuple[Seen, bool]:
        """Return a frame's features, and whether they were kept from before."""
        key = (frame.key, features_key(pipeline.settings, vocabulary))
        if key in self._seen:
            self._seen.move_to_end(key)
            return self._seen[key], True
        watch = pipeline.stopwatch()
        pictures = pipeline.read([frame.image], watch)
        features = pipeline.look(pictures, vocabulary, watch)
        self.runs += 1
        self._seen[key] = Seen(pictures, features, watch.milliseconds())
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        return self._seen[key], False


def features_key(settings: SegmentorSettings, vocabulary: Vocabulary) -> tuple[Any, ...]:
    """Return what a frame's features depend on, beside the frame.

    ResCLIP's feedback looks at the words; of all others, only the settings before the scores count.
    """
    feedback = settings.use_resclip and settings.resclip.sfr
    return settings.scoring(), vocabulary.classes if feedback else ()


class Labeller:
    """Label the frames of one source with choices that change.

    Not for several threads at once.
    """

    def __init__(self, segmentor: SCLIPSegmentor, sight: Sight,
                 text: Mapping[str, Any] | None = None) -> None:
        """Share a model, and the features of frames, with others.

        Args:
            segmentor: the model.
            sight: features.
            text: what vocabularies take besides classes, background and palette, by keyword.
        """
        self._text = dict(text or {})
        self._segmentor = segmentor
        self._sight = sight
        self._pipeline = segmentor.pipeline
        self._vocabulary: Vocabulary | None = None
        self._words: tuple[Any, ...] = ()
        self._memory: Memory | None = None
        self._observed: tuple[Any, ...] = ()  # key of the newest frame in the memory
        self._fused: tuple[Any, ScoreMap] | None = None

    def prepare(self, choices: Choices) -> tuple[Pipeline, Vocabulary]:
        """Return the pipeline and the words of choices.

        Raises:
            ValueError, WeightsError: what cannot work with the model.
        """
        if self._pipeline.settings != choices.settings:
            self._pipeline = self._segmentor.prepare(choices.settings)
        words = (choices.classes, choices.background, dict(choices.palette))
        if self._vocabulary is None or words != self._words:
            version = self._vocabulary.version + 1 if self._vocabulary else 1
            self._vocabulary = self._segmentor.vocabulary(
                choices.classes, choices.background, version, palette=choices.palette,
                **self._text)
            self._words = words
        return self._pipeline, self._vocabulary

    def __call__(self, frame: Frame, choices: Choices, moving: bool = False) -> Labelled:
        """Label a frame.

        Args:
            frame: the picture.
            choices: words and settings.
            moving: whether it is one of a film, whose frames help one another.

        Raises:
            ValueError, WeightsError: what cannot work with the model or the picture.
        """
        pipeline, vocabulary = self.prepare(choices)
        seen, kept = self._sight.of(frame, pipeline, vocabulary)
        watch = pipeline.stopwatch()
        scores, = pipeline.score(seen.features, vocabulary, watch)
        if moving and choices.temporal.enabled:
            with watch.stage("temporal"):
                scores = self._through_time(frame, choices, scores, vocabulary)
        result, = pipeline.label(seen.pictures, [scores], vocabulary, watch)
        notes = [*(f"{fallback}" for fallback in pipeline.fallbacks)]
        if choices.settings.use_densecrf:
            notes.append("heat map and words under the pointer are from before DenseCRF")
        return Labelled(frame, result.labels, result.confidence, vocabulary.classes,
                        vocabulary.colours, result.coverage, result.mean_confidence,
                        OfScores(result), _sum(seen.stage_ms, result.stage_ms),
                        _alone(seen.stage_ms, result.stage_ms) if kept else (), tuple(notes))

    def _through_time(self, frame: Frame, choices: Choices, scores: ScoreMap,
                      vocabulary: Vocabulary) -> ScoreMap:
        """Fuse a frame's scores with those of the frames before; once for each frame and words."""
        if self._memory is None or self._memory.settings != choices.temporal:
            self._memory, self._observed = Memory(choices.temporal), ()
        key = (features_key(choices.settings, vocabulary), vocabulary.classes)
        if frame.key != self._observed:
            self._memory.observe(frame.image, frame.seconds)
            self._observed, self._fused = frame.key, None
        if self._fused is None or self._fused[0] != key:
            self._memory.fuse(scores, key)
            evidence = self._memory.evidence(key)
            self._fused = key, evidence.scores if evidence is not None else scores
        return self._fused[1]


def _alone(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[str, ...]:
    """Return the stages that only the first has."""
    return tuple(stage for stage in first if stage not in second)


def _sum(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Add milliseconds by stage."""
    return {stage: first.get(stage, 0.0) + second.get(stage, 0.0)
            for stage in dict.fromkeys((*first, *second))}
