"""One way to label images: settings joined with a model, for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from sclip_seg_ros.common.forks import survive_fork
from sclip_seg_ros.common.stopwatch import Stopwatch
from sclip_seg_ros.models import ClipModel
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone
from sclip_seg_ros.segmentation.backbones.preprocessing import resize_pixels, to_tensor
from sclip_seg_ros.segmentation.backbones.proxies.towers import Proxy
from sclip_seg_ros.segmentation.pipeline.features import Features, Picture
from sclip_seg_ros.segmentation.refinement import Context
from sclip_seg_ros.segmentation.refinement.anytime import KeepGoing
from sclip_seg_ros.segmentation.result import DeviceView, SegmentationResult, summarise
from sclip_seg_ros.segmentation.scores.decoding import compiled, triton_kernel
from sclip_seg_ros.segmentation.scores.labelling import Labelling
from sclip_seg_ros.segmentation.scores.score_map import ScoreMap
from sclip_seg_ros.segmentation.scores.scoring import WindowScorer
from sclip_seg_ros.segmentation.scores.window_batches import WindowBatches
from sclip_seg_ros.segmentation.scores.windows import tower_size
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.segmentation.upsamplers import UPSAMPLERS, FeatureUpsampler


@dataclass(eq=False)
class Model:
    """What all pipelines of one segmentor share.

    Attributes:
        clip: both towers, and the statistics of their images.
        backbone: the image tower, in the arithmetic of ``precision``.
        device: torch device, with its number.
        precision: arithmetic of the image tower, "fp32", "bf16" or "fp16".
        clock: seconds by which stages are timed on a CPU; None for the time of day's pace.
    """

    clip: ClipModel
    backbone: DenseBackbone
    device: torch.device
    precision: str
    clock: Callable[[], float] | None = None

    def decide(self, settings: SegmentorSettings) -> SegmentorSettings:
        """Return settings with what they leave to the model decided."""
        return settings.for_model(self.clip.name, self.backbone.usual_attention, self.clip.suits)


Settle = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Pipeline:
    """Label images with one set of settings; immutable, and for any thread.

    :meth:`predict` does it all. Its steps can be taken one by one, so that features are kept, and
    scores are changed before they become labels: :meth:`read`, :meth:`look`, :meth:`score`,
    :meth:`label`.

    Attributes:
        settings: how images become labels.
        decided: the same, with what they leave to the model decided.
        attention: name of the rule in use, or of the proxy.
        upsampler: of features, or of scores; None where it is off.
        scorer: from windows to scores.
        device: torch device.
    """

    def __init__(self, model: Model, settings: SegmentorSettings,
                 upsampler: FeatureUpsampler | None, proxy: Proxy | None = None) -> None:
        """Join a model with settings that it was checked to work with.

        Args:
            model: shared with other pipelines.
            settings: how images become labels.
            upsampler: of features, or of scores; None where it is off.
            proxy: by whose features places are compared; None where it is off.

        Raises:
            WeightsError: an upsampler that was trained on other features.
        """
        self.settings = settings
        self.decided = model.decide(settings)
        self.attention = f"proxy {proxy.name}" if proxy else self.decided.attention
        self.upsampler = upsampler
        self._enlarges_scores = upsampler is not None and UPSAMPLERS[upsampler.name].of_scores
        self.scorer = WindowScorer(model.backbone, model.clip, self.decided,
                                   None if self._enlarges_scores else upsampler, proxy)
        self.device = model.device
        self._model = model

    @property
    def logit_scale(self) -> float:
        """Inverse softmax temperature: the setting's, or the model's own."""
        return self.settings.logit_scale or self._model.clip.logit_scale

    @property
    def inference(self) -> str:
        """How images meet the tower, for people: at which size, whole or in which windows."""
        decided = self.decided
        way = "whole" if decided.inference == "whole" else \
            f"in windows of {decided.crop} every {decided.stride}"
        return f"{way} at short side {decided.short_side}"

    @property
    def upsampler_fallback(self) -> str | None:
        """Why bilinear interpolation stands in for an upsampler; None where it does not."""
        return self.upsampler.fallback if self.upsampler is not None else None

    @property
    def departures(self) -> tuple[str, ...]:
        """In what the features that the upsampler is fed differ from those it was trained on."""
        return self.scorer.departures

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Stages replaced by a simpler one, e.g. ``"loftup -> bilinear"``."""
        found = []
        if self.upsampler is not None and self.upsampler.fallback:
            found.append(f"{self.upsampler.name} -> bilinear")
        if self.device.type == "cuda" and triton_kernel.fallback():
            found.append("decoding kernel -> torch")
        if self.device.type == "cpu" and compiled.fallback():
            found.append("compiled decoding -> torch")
        if self.scorer.tower.failure:
            found.append("CUDA graph -> single kernels")
        return tuple(found)

    def stopwatch(self) -> Stopwatch:
        """Return a stopwatch for the stages of one batch."""
        return Stopwatch(self.device, self._model.clock)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (H, W) an image is worked on."""
        return tower_size(height, width, self.decided, self._model.backbone.patch_size)

    @torch.inference_mode()
    def read(self, images: Sequence[np.ndarray | Tensor | Image], watch: Stopwatch,
             label_sizes: Sequence[tuple[int, int] | None] = ()) -> list[Picture]:
        """Bring images (H, W, 3) uint8 RGB to the device.

        Args:
            images: of any sizes.
            watch: takes the time.
            label_sizes: (H, W) of each image's labels; None for the image's own, empty for all.

        Raises:
            ValueError: an image that cannot be used.
        """
        survive_fork()
        with watch.stage("preprocess"):
            sources = [to_tensor(image, self.device) for image in images]
            return [Picture(resize_pixels(source, size) if size else source, source,
                            self._size_for(source), self.settings.antialias)
                    for source, size in zip(sources, label_sizes or [None] * len(sources),
                                            strict=True)]

    @torch.inference_mode()
    def look(self, pictures: Sequence[Picture], vocabulary: Vocabulary,
             watch: Stopwatch) -> Features:
        """Run the image tower, and the upsampler, on the windows of pictures of any sizes.

        Args:
            pictures: as :meth:`read` returns them.
            vocabulary: steers ResCLIP's feedback alone.
            watch: takes the stage times.
        """
        seen = self.glance(pictures, vocabulary, watch)
        return replace(seen, parts=[(indices, list(pieces)) for indices, pieces in seen.parts])

    @torch.inference_mode()
    def glance(self, pictures: Sequence[Picture], vocabulary: Vocabulary,
               watch: Stopwatch) -> Features:
        """Do the same as they are asked for, so that few exist at a time; they serve once."""
        with watch.stage("preprocess"):
            working = [picture.working for picture in pictures]
        batches = self._windows(working)
        overviews = None
        if self.settings.use_image_words and pictures:
            overviews = torch.stack([self.scorer.overview(each, watch) for each in working])
        return Features(batches, (
            (indices, (self.scorer.dense(chunk, vocabulary.embeddings, watch) for chunk in chunks))
            for indices, chunks in batches), overviews)

    @torch.inference_mode()
    def score(self, features: Features, vocabulary: Vocabulary,
              watch: Stopwatch) -> list[ScoreMap]:
        """Return each picture's cosine scores.

        Raises:
            ValueError: words of another model, or scores that are not numbers, from broken weights
                or an overflow.
        """
        _refuse_foreign(vocabulary, self._model.backbone.dimension)
        scores: dict[int, ScoreMap] = {}
        for indices, pieces in features.parts:
            owners, compared = features.batches.owners(indices), []
            for piece in pieces:
                compared.append(self.scorer.compare(piece, vocabulary.embeddings, watch,
                                                    features.overviews_of(owners[:len(piece)])))
                owners = owners[len(piece):]
            with watch.stage("stitch"):
                scores.update(features.batches.stitch(indices, torch.cat(compared)))
        found = [scores[index] for index in range(len(scores))]
        _refuse_not_finite(found, self._model.precision)
        return found

    @torch.inference_mode()
    def refine(self, pictures: Sequence[Picture], scores: Sequence[ScoreMap],
               vocabulary: Vocabulary, watch: Stopwatch) -> list[ScoreMap]:
        """Return scores after all stages that refine scores: AnyUp, PAMR.

        Args:
            pictures, scores, vocabulary, watch: as for :meth:`label`.
        """
        labelling = self._labelling(pictures, vocabulary, watch, None)
        scores = self._enlarged(pictures, scores, watch)
        if not labelling.refines_scores:
            return scores
        # Words left out go on unrefined: the next picture may show what this one does not.
        refined = labelling.refine([picture.working for picture in pictures],
                                   labelling.narrow(scores))
        return [labelling.rejoin(index, *pair)
                for index, pair in enumerate(zip(scores, refined, strict=True))]

    @torch.inference_mode()
    def label(self, pictures: Sequence[Picture], scores: Sequence[ScoreMap],
              vocabulary: Vocabulary, watch: Stopwatch, keep_going: KeepGoing | None = None, *,
              refined: bool = False, settle: Sequence[Settle] = ()) -> list[SegmentationResult]:
        """Refine scores, and decide each picture's labels at its own size.

        Args:
            pictures: as :meth:`read` returns them.
            scores: of each picture.
            vocabulary: they are scores of.
            watch: takes the stage times; the results' times are all that it has.
            keep_going: see :meth:`predict`.
            refined: whether the scores went through :meth:`refine`.
            settle: for each picture, from labels and confidence, (H, W) uint8 both, to those that
                are to hold; empty where they hold as they are.
        """
        labelling = self._labelling(pictures, vocabulary, watch, keep_going)
        if not refined:
            scores = self._enlarged(pictures, scores, watch)
        scores = labelling.narrow(scores)
        if not refined and labelling.refines_scores:
            with watch.stage("preprocess"):  # a frame without a run of its own comes here first
                working = [picture.working for picture in pictures]
            scores = labelling.refine(working, scores)
        decided = [labelling.decide(index, picture.original, score)
                   for index, (picture, score) in enumerate(zip(pictures, scores, strict=True))]
        with watch.stage("decode"):  # a GPU's work is waited for here, and only here
            arrays = [(labels.cpu().numpy(), confidence.cpu().numpy())
                      for labels, confidence in decided]
            on_device = [labels for labels, _ in decided]
            if settle:
                arrays = [last(*pair) for last, pair in zip(settle, arrays, strict=True)]
                on_device = [torch.from_numpy(labels).to(self.device) for labels, _ in arrays]
        milliseconds = watch.milliseconds()
        return [
            SegmentationResult(*pair, *summarise(*pair, len(vocabulary)),
                               DeviceView(picture.original.permute(1, 2, 0), labels),
                               labelling.widen(index, score), vocabulary, self.logit_scale,
                               milliseconds, refinements)
            for index, (pair, picture, labels, score, refinements) in enumerate(zip(
                arrays, pictures, on_device, scores, labelling.refinements, strict=True))]

    def predict(self, images: Sequence[np.ndarray | Tensor | Image], vocabulary: Vocabulary,
                keep_going: KeepGoing | None = None,
                label_sizes: Sequence[tuple[int, int] | None] = ()) -> list[SegmentationResult]:
        """Label several images, of any sizes, with their windows in joint forwards.

        The result equals labelling them one by one. The stage times are the whole batch's.

        Args:
            images: (H, W, 3) uint8 RGB each, or PIL images.
            vocabulary: the words.
            keep_going: asked before every iteration of PAMR and DenseCRF, with the number of
                iterations that this refinement has run; when it says no, what was reached is used.
                PAMR works on all images of one working size together, DenseCRF on one image after
                another. A GPU is waited for before each question, and only then.
            label_sizes: (H, W) that each image's labels are decided at, which need not have the
                image's proportions; None for the image's own, empty for all.
        """
        vocabulary = vocabulary.to(self.device)  # words encoded while released are on the CPU
        _refuse_foreign(vocabulary, self._model.backbone.dimension)
        watch = self.stopwatch()
        pictures = self.read(images, watch, label_sizes)
        scores = self.score(self.glance(pictures, vocabulary, watch), vocabulary, watch)
        return self.label(pictures, scores, vocabulary, watch, keep_going)

    @torch.inference_mode()
    def warm_up(self, sizes: Sequence[tuple[int, int]], vocabulary: Vocabulary) -> None:
        """Do now what the first images would wait for.

        Kernels are compiled, memory is taken, and on CUDA the image tower is recorded as a graph
        where that makes it faster.

        Args:
            sizes: (H, W) of the images to come, one a camera; they are labelled together.
            vocabulary: as long as the one to come.
        """
        images = [torch.zeros(*size, 3, dtype=torch.uint8) for size in sizes]
        self.predict(images, vocabulary)
        if self.records:
            pictures = self.read(images, self.stopwatch())
            for _, chunks in self._windows([picture.working for picture in pictures]):
                for chunk in chunks:
                    self.scorer.record(chunk)
            self.predict(images, vocabulary)

    @property
    def records(self) -> bool:
        """Whether :meth:`warm_up` makes recordings, each for one layout of windows."""
        return self.device.type == "cuda"

    def _labelling(self, pictures: Sequence[Picture], vocabulary: Vocabulary, watch: Stopwatch,
                   keep_going: KeepGoing | None) -> Labelling:
        return Labelling(self.settings, self.logit_scale, vocabulary, watch, keep_going,
                         len(pictures), Context(vocabulary.embeddings, self.scorer.correlate))

    def _enlarged(self, pictures: Sequence[Picture], scores: Sequence[ScoreMap],
                  watch: Stopwatch) -> list[ScoreMap]:
        if self.upsampler is None or not self._enlarges_scores:
            return list(scores)
        with watch.stage("upsample"):
            return [self._enlarge(picture, score, self.upsampler)
                    for picture, score in zip(pictures, scores, strict=True)]

    def _enlarge(self, picture: Picture, scores: ScoreMap,
                 upsampler: FeatureUpsampler) -> ScoreMap:
        """Bring scores to the patch grid of the whole image, and from there to a finer one."""
        coarse = scores.dense(self._model.backbone.grid(*picture.working.shape[1:]))
        return ScoreMap.of_cells(upsampler(coarse[None], picture.working[None])[0],
                                 tuple(picture.working.shape[1:]))

    def _windows(self, working: Sequence[Tensor]) -> WindowBatches:
        return WindowBatches(working, self.decided, self._model.backbone.patch_size)

    def _size_for(self, image: Tensor) -> tuple[int, int]:
        size, patch = self.working_size(*image.shape[1:]), self._model.backbone.patch_size
        if min(size) < patch:
            raise ValueError(f"image of {image.shape[2]}x{image.shape[1]} pixels is worked on as "
                             f"{size[1]}x{size[0]}, smaller than one patch of {patch}; enlarge it "
                             "or crop its long side")
        return size


def _refuse_foreign(vocabulary: Vocabulary, dimension: int) -> None:
    """Refuse words encoded by a model of another embedding length."""
    found = vocabulary.embeddings.shape[1]
    if found != dimension:
        raise ValueError(f"the vocabulary's embeddings have length {found}, this model's "
                         f"{dimension}; make it with this segmentor's own vocabulary()")


def _refuse_not_finite(scores: Sequence[ScoreMap], precision: str) -> None:
    """Refuse scores that hold NaN: argmax would make labels of them without a word."""
    # One sum an image: NaN and infinity survive it, and cosines cannot overflow float32.
    sums = torch.stack([score.values.sum() for score in scores]) if scores else torch.zeros(0)
    if not bool(sums.isfinite().all()):
        raise ValueError(
            "the scores of an image are not finite: the model's weights hold NaN, or they overflow "
            f"in {precision}; check the weights file, or set precision to 'fp32'")
