"""Vocabularies and results as messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sclip_seg_ros.msg import (
    ClassConfidence,
    ClassConfidenceArray,
    StageTime,
    VocabularyClass,
)
from sclip_seg_ros.msg import Evidence as EvidenceMessage
from sclip_seg_ros.msg import Vocabulary as VocabularyMessage
from sclip_seg_ros.ros.images import to_message
from sclip_seg_ros.segmentation import SegmentationResult, Vocabulary
from sclip_seg_ros.segmentation.result import unlabelled_share
from sclip_seg_ros.temporal import Evidence


@dataclass(frozen=True)
class FrameQuality:
    """At which quality a frame was computed, and how the budget fared so far.

    Attributes:
        level, level_name: rung of the quality ladder, 0 = best.
        budget_ms: milliseconds, 0 = no budget.
        misses: earlier frames over the budget.
        changes: of the level, since the node was configured.
        stage_ms: milliseconds of this frame's stages so far.
        evidence: what the labels rest on.
    """

    level: int = 0
    level_name: str = "full"
    budget_ms: float = 0.0
    misses: int = 0
    changes: int = 0
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    evidence: EvidenceMessage = field(default_factory=EvidenceMessage)


def vocabulary_message(vocabulary: Vocabulary, header: Header) -> VocabularyMessage:
    """Describe a vocabulary; ``header`` is the first labelled frame's, or an empty one before."""
    ids = vocabulary.ids
    background = -1 if vocabulary.background is None else ids.values[vocabulary.background]
    message = VocabularyMessage(header=header, version=vocabulary.version,
                                background_id=background, unlabelled_id=ids.unlabelled)
    message.classes = [
        VocabularyClass(id=value, name=entry.name, synonyms=list(entry.synonyms), colour=colour)
        for value, entry, colour in zip(vocabulary.class_ids, vocabulary.classes,
                                        vocabulary.colours, strict=True)]
    return message


def class_confidence_message(result: SegmentationResult, header: Header,
                             quality: FrameQuality) -> ClassConfidenceArray:
    """Summarise every class of the vocabulary in one frame."""
    vocabulary = result.vocabulary
    classes = [ClassConfidence(class_id=value, class_name=name, mean_confidence=float(mean),
                               coverage=float(coverage))
               for value, name, mean, coverage in zip(
                   vocabulary.class_ids, vocabulary.names, result.mean_confidence,
                   result.coverage, strict=True)]
    return ClassConfidenceArray(
        header=header, vocabulary_version=vocabulary.version,
        unlabelled_id=vocabulary.ids.unlabelled,
        unlabelled_coverage=unlabelled_share(result.coverage), classes=classes,
        quality_level=quality.level, quality_level_name=quality.level_name,
        latency_budget_ms=quality.budget_ms, budget_misses=quality.misses,
        level_changes=quality.changes, evidence=quality.evidence,
        stages=stage_times(quality.stage_ms))


def evidence_message(evidence: Evidence | None, keyframe: bool,
                     keyframes_hz: float) -> EvidenceMessage:
    """Tell what labels rest on.

    Args:
        evidence: that they were decided from; None for the frame alone.
        keyframe: whether the image tower ran on the frame.
        keyframes_hz: of its camera.
    """
    if evidence is None:
        return EvidenceMessage(keyframe=keyframe, keyframes_hz=keyframes_hz)
    return EvidenceMessage(keyframe=keyframe, age_ms=evidence.seconds * 1e3,
                           unknown=evidence.unknown, fused=evidence.fused,
                           keyframes_hz=keyframes_hz)


def stage_times(milliseconds: Mapping[str, float]) -> list[StageTime]:
    """Return stage times as messages, in their order."""
    return [StageTime(stage=name, ms=value) for name, value in milliseconds.items()]


def probabilities_message(result: SegmentationResult, header: Header) -> Image:
    """Return every class's probability x 255 on a small grid, as an image of C channels."""
    probabilities = result.class_probabilities()
    scaled = np.rint(np.clip(probabilities, 0.0, 1.0) * 255.0).astype(np.uint8)
    return to_message(scaled.transpose(1, 2, 0), f"8UC{len(scaled)}", header)
