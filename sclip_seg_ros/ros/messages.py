"""Vocabularies and results as messages."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sclip_seg_ros.msg import ClassConfidence, ClassConfidenceArray, VocabularyClass
from sclip_seg_ros.msg import Vocabulary as VocabularyMessage
from sclip_seg_ros.ros.images import to_message
from sclip_seg_ros.segmentation import SegmentationResult, Vocabulary


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


def class_confidence_message(result: SegmentationResult, header: Header) -> ClassConfidenceArray:
    """Summarise every class of the vocabulary in one frame."""
    names = result.vocabulary.names
    message = ClassConfidenceArray(header=header, vocabulary_version=result.vocabulary.version)
    message.unlabelled_coverage = max(0.0, 1.0 - float(np.sum(result.coverage, dtype=np.float64)))
    message.classes = [
        ClassConfidence(class_id=index, class_name=name, mean_confidence=float(mean),
                        coverage=float(coverage))
        for index, (name, mean, coverage) in enumerate(
            zip(names, result.mean_confidence, result.coverage, strict=True))]
    return message


def probabilities_message(result: SegmentationResult, header: Header) -> Image:
    """Return every class's probability x 255 on a small grid, as an image of C channels."""
    probabilities = result.class_probabilities()
    scaled = np.rint(np.clip(probabilities, 0.0, 1.0) * 255.0).astype(np.uint8)
    return to_message(scaled.transpose(1, 2, 0), f"8UC{len(scaled)}", header)
