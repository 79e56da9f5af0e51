"""Vocabularies and results as messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sclip_seg_ros.msg import ClassConfidence, ClassConfidenceArray, StageTime, VocabularyClass
from sclip_seg_ros.msg import Vocabulary as VocabularyMessage
from sclip_seg_ros.ros.images import to_message
from sclip_seg_ros.segmentation import SegmentationResult, Vocabulary
from sclip_seg_ros.segmentation.result import unlabelled_share


@dataclass(frozen=True)
class FrameQuality:
    """At which quality a frame was computed, and how the budget fared so far.

    Attributes:
        level, level_name: rung of the quality ladder, 0 = best.
        budget_ms: milliseconds, 0 = no budget.
        misses: earlier frames over the budget.
        changes: of the level, since the node was configured.
        stage_ms: milliseconds of this frame's stages so far.
    """

    level: int = 0
    level_name: str = "full"
    budget_ms: float = 0.0
    misses: int = 0
    changes: int = 0
    stage_ms: Mapping[str, float] = field(default_factory=dict)


def vocabulary_message(vocabulary: Vocabulary, header: Header) -> VocabularyMessage:
    """Describe a vocabulary; ``header`` is the first labelled frame's, or an empty one before."""
    background = -1 if vocabulary.background is None else vocabulary.background
    message = VocabularyMessage(header=header, version=vocabulary.version,
                                background_id=background)
    message.classes = [
        VocabularyClass(id=index, name=entry.name, synonyms=list(entry.synonyms),
                        colour=vocabulary.colours[index])
        for index, entry in enumerate(vocabulary.classes)]
    return message


def class_confidence_message(result: SegmentationResult, header: Header,
                             quality: FrameQuality) -> ClassConfidenceArray:
    """Summarise every class of the vocabulary in one frame."""
    classes = [ClassConfidence(class_id=index, class_name=name, mean_confidence=float(mean),
                               coverage=float(coverage))
               for index, (name, mean, coverage) in enumerate(
                   zip(result.vocabulary.names, result.mean_confidence, result.coverage,
                       strict=True))]
    return ClassConfidenceArray(
        header=header, vocabulary_version=result.vocabulary.version,
        unlabelled_coverage=unlabelled_share(result.coverage), classes=classes,
        quality_level=quality.level, quality_level_name=quality.level_name,
        latency_budget_ms=quality.budget_ms, budget_misses=quality.misses,
        level_changes=quality.changes, stages=stage_times(quality.stage_ms))


def stage_times(milliseconds: Mapping[str, float]) -> list[StageTime]:
    """Return stage times as messages, in their order."""
    return [StageTime(stage=name, ms=value) for name, value in milliseconds.items()]


def probabilities_message(result: SegmentationResult, header: Header) -> Image:
    """Return every class's probability x 255 on a small grid, as an image of C channels."""
    probabilities = result.class_probabilities()
    scaled = np.rint(np.clip(probabilities, 0.0, 1.0) * 255.0).astype(np.uint8)
    return to_message(scaled.transpose(1, 2, 0), f"8UC{len(scaled)}", header)
