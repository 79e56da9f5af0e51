"""A loaded model, and what it makes of one photo or one film."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
from tqdm import tqdm

from sclip_seg_ros.io.images import holds_more, read_image
from sclip_seg_ros.io.overlay import overlay_of
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentationResult
from sclip_seg_ros.temporal import FilmSegmentor
from sclip_seg_ros.tools.arguments import (
    chosen_classes,
    chosen_profile,
    chosen_settings,
    chosen_temporal,
    text_options,
)
from sclip_seg_ros.tools.console import BAR, readable
from sclip_seg_ros.tools.failures import IMAGE_ERRORS, cause_of
from sclip_seg_ros.tools.figures import provenance
from sclip_seg_ros.tools.segment.finished import made_of
from sclip_seg_ros.tools.segment.inputs import Input
from sclip_seg_ros.tools.segment.outputs import write_image_results
from sclip_seg_ros.tools.segment.training import FOLDER, TrainingExport
from sclip_seg_ros.tools.segment.video import VideoError, VideoResults, VideoSource


class Labelling:
    """What one command labels with.

    Attributes:
        said: what :meth:`describe` returns.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Load the model that the flags name.

        Raises:
            ValueError, OSError, WeightsError: in one sentence.
        """
        self.arguments = arguments
        profile = chosen_profile(arguments)
        classes, background = chosen_classes(arguments, profile)
        settings, self.temporal = chosen_settings(arguments, profile), chosen_temporal(arguments)
        self.segmentor = SCLIPSegmentor(arguments.model, arguments.pretrained, arguments.device,
                                        settings)
        self.vocabulary = self.segmentor.vocabulary(classes, background, **text_options(arguments))
        self.said = self.describe()

    def describe(self) -> dict[str, Any]:
        """Say what results depend on besides the file.

        Returns:
            "made_with": of photos; "films": of films; "about": for run.json; "classes".
        """
        segmentor, vocabulary = self.segmentor, self.vocabulary
        made_with = {**provenance.describe_segmentation(segmentor, vocabulary),
                     "overlay": [self.arguments.overlay_alpha, self.arguments.legend]}
        if self.arguments.export_training:
            made_with["training"] = self.arguments.least_confidence
        films = {**made_with, "temporal": asdict(self.temporal)}
        if self.arguments.piece_seconds is not None:
            films["length and run-in of pieces"] = [self.arguments.piece_seconds,
                                                    self.arguments.run_in]
        return {"made_with": made_with, "films": films, "classes": vocabulary.classes, "about": {
            "model": segmentor.name, "precision": segmentor.precision,
            "device": str(segmentor.device), "fallbacks": list(segmentor.fallbacks),
            "settings": asdict(segmentor.pipeline.decided), "temporal": asdict(self.temporal),
            **provenance.describe_words(vocabulary)}}

    @cached_property
    def training(self) -> TrainingExport | None:
        """Where photos go as training data; None where nobody asks for it."""
        return TrainingExport(self.arguments.output / FOLDER, self.arguments.least_confidence,
                              self.vocabulary) if self.arguments.export_training else None

    def photo(self, entry: Input) -> list[str]:
        """Label one photo.

        Returns:
            What there is to say about it.

        Raises:
            OSError, or one of IMAGE_ERRORS: it cannot be read or written.
        """
        image = read_image(entry.path)
        result = self.segmentor.predict_dense(image, self.vocabulary)
        if self.training:
            self.training.write(entry.path, entry.target.relative_to(self.arguments.output), image,
                                result)
        write_image_results(entry.target, self.overlay(image, result), result,
                            {**self.about(entry), **made_of(entry, self.said["made_with"])})
        return [f"'{entry.name}' holds more than one picture, and the first was "
                "segmented; save the others as files of their own, or as a film"] \
            if holds_more(entry.path) else []

    def film(self, entry: Input, tell: Callable[[], None]) -> list[str]:
        """Label one film; what was written before it breaks off stays.

        Args:
            entry: the film.
            tell: called after each frame.

        Returns:
            What there is to say about it.

        Raises:
            VideoError: it cannot be read or written.
        """
        source = VideoSource(entry.path)
        frames = source.frames()
        first = next(frames)
        results = VideoResults(entry.target, source.rate, first.shape[:2])
        about = self.about(entry)
        segment = FilmSegmentor(self.segmentor, self.vocabulary, self.temporal)
        with results, tqdm(total=source.announced, desc=readable(entry.path.name), unit=" frame",
                           bar_format=BAR, disable=None) as bar:
            frame: np.ndarray | None = first
            try:
                while frame is not None:
                    result = segment(frame, source.seconds)
                    results.append(self.overlay(frame, result), result, source.seconds)
                    tell()
                    bar.update()
                    frame = next(frames, None)
            except IMAGE_ERRORS as error:
                raise VideoError(f"frame {results.count}: {cause_of(error)}") from error
            finally:
                results.write_summary(self.vocabulary, about)
        self.conclude(entry, results)
        return notices_of(entry, source, results.count)

    def conclude(self, entry: Input, results: VideoResults,
                 more: Mapping[str, Any] | None = None) -> None:
        """Check the closed films of the results, and say that they are whole."""
        results.check()
        results.write_summary(self.vocabulary, {**self.about(entry), **(more or {}),
                                                **made_of(entry, self.said["films"])})

    def overlay(self, image: np.ndarray, result: SegmentationResult) -> np.ndarray:
        """Draw labels over an image."""
        return overlay_of(image, result.labels, self.vocabulary, result.coverage,
                          self.arguments.overlay_alpha, self.arguments.legend)

    def about(self, entry: Input) -> dict[str, Any]:
        """Say of what, and with what, a result is."""
        return {"source": entry.name, "model": self.segmentor.name,
                "precision": self.segmentor.precision}


def depends_on(said: Mapping[str, Any], entry: Input) -> Mapping[str, Any]:
    """Return all that a file's results depend on besides the file: of films, time as well."""
    return said["films" if entry.is_video else "made_with"]


def notices_of(entry: Input, source: VideoSource, count: int) -> list[str]:
    """Return what is odd about a film of which so many frames could be read."""
    name, notices = entry.name, []
    if source.announced and count < source.announced - 1:
        notices.append(f"'{name}' announces {source.announced} frames, but only {count} could be "
                       "read")
    if source.told > source.rate:
        notices.append(f"'{name}' tells {source.told:g} frames a second, which no camera films; "
                       f"its results play at {source.rate:g}")
    return notices
