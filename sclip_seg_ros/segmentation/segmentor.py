"""The whole pipeline: an RGB image and a vocabulary in, labels and confidence out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from sclip_seg_ros.models import EMBEDDED, fast_precision, load_clip, resolve_device
from sclip_seg_ros.models.quick_gelu import absorb_quick_gelu
from sclip_seg_ros.segmentation import decoding_triton
from sclip_seg_ros.segmentation.backbone import DenseBackbone, Place
from sclip_seg_ros.segmentation.checks import (
    refuse_foreign,
    refuse_less_than_a_patch,
    refuse_not_finite,
    refuse_unusable_stages,
)
from sclip_seg_ros.segmentation.device_cache import forget_tensors
from sclip_seg_ros.segmentation.labelling import Labelling
from sclip_seg_ros.segmentation.palette import Colour
from sclip_seg_ros.segmentation.preprocessing import resize, to_tensor, tower_size
from sclip_seg_ros.segmentation.refinement.anytime import KeepGoing
from sclip_seg_ros.segmentation.replay import give_back_device_memory
from sclip_seg_ros.segmentation.result import DeviceView, SegmentationResult, summarise
from sclip_seg_ros.segmentation.score_map import ScoreMap
from sclip_seg_ros.segmentation.scoring import WindowScorer
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.stopwatch import Stopwatch
from sclip_seg_ros.segmentation.text import TextEncoder
from sclip_seg_ros.segmentation.upsampling import Upsampler, make_upsampler
from sclip_seg_ros.segmentation.vocabulary import Vocabulary
from sclip_seg_ros.segmentation.window_batches import WindowBatches

_SHORTHANDS = {"loftup_adaptive": "loftup__adaptive", "loftup_upsample_factor": "loftup__factor",
               "resclip_variant": "resclip__variant"}
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Prepared:
    """Settings, checked and ready to be used."""

    settings: SegmentorSettings
    scorer: WindowScorer


class SCLIPSegmentor:
    """Label every pixel of an image with the best fitting of any words.

    One image goes through: shrink, cut into windows, CLIP's image tower with SCLIP's attention,
    similarity with the words, stitch, optional refinement, labels at the image's own size.

    Attributes:
        device: torch device.
        precision: arithmetic of the image tower, "fp32", "bf16" or "fp16".
        clock: seconds by which stages are timed on a CPU; None for the time of day's pace.
    """

    def __init__(self, model_name: str = EMBEDDED, pretrained: str = "",
                 device: str | torch.device = "cpu", settings: SegmentorSettings | None = None,
                 cache_dir: str | None = None, **changes: Any) -> None:
        """Load the model.

        Args:
            model_name: ``"embedded"`` or any open_clip ViT, e.g. ``"ViT-B/16"``.
            pretrained: open_clip tag, path of a weights file, or ``"random"``.
            device: torch device, or "auto" for CUDA where there is one.
            settings: how images become labels.
            cache_dir: folder for downloaded weights.
            changes: single settings by name, e.g. ``use_loftup=True``, ``short_side=448``,
                ``pamr__steps=20``, see :meth:`SegmentorSettings.with_changes`; also
                ``loftup_adaptive`` and ``loftup_upsample_factor``.

        Raises:
            WeightsError: weights out of reach, or not fitting.
            ValueError: an unknown setting, a value out of range, an unusable device, or a tower
                without ViT blocks.
        """
        base = settings or SegmentorSettings()
        short = {_SHORTHANDS[key]: changes.pop(key) for key in _SHORTHANDS if key in changes}
        base = base.with_changes(short, **changes)
        self.clock: Callable[[], float] | None = None
        # With its number: in a thread that has chosen another GPU, "cuda" would be that one.
        self.device = torch.empty(0, device=resolve_device(device)).device
        self._clip = load_clip(model_name, pretrained, self.device, cache_dir)
        self._cache_dir = cache_dir
        self.precision = _resolve_precision(base.precision, self.device)
        visual = self._clip.model.visual
        absorb_quick_gelu(visual)
        self.backbone = DenseBackbone(visual.to(_DTYPES[self.precision]))
        self.text = TextEncoder(self._clip)
        self._upsampler: Upsampler | None = None
        self.settings = base

    @property
    def name(self) -> str:
        """Model and weights, e.g. ``"embedded"`` or ``"ViT-B-16-quickgelu/openai"``."""
        return self._clip.name

    @property
    def settings(self) -> SegmentorSettings:
        """How images become labels; may be replaced between two images."""
        return self._settings

    @settings.setter
    def settings(self, settings: SegmentorSettings) -> None:
        self.use(self.prepare(settings))
        if not settings.use_loftup:
            self.forget_fallback()

    def prepare(self, settings: SegmentorSettings) -> Prepared:
        """Check settings and load what they need, so that :meth:`use` costs nothing.

        Raises:
            WeightsError: LoftUp's weights out of reach, or not fitting.
            ValueError: settings that cannot work with the loaded model.
        """
        if _resolve_precision(settings.precision, self.device) != self.precision:
            raise ValueError(f"precision='{settings.precision}' cannot change while the model is "
                             f"loaded in {self.precision}; make a new segmentor")
        refuse_less_than_a_patch(settings, self.backbone.patch_size)
        refuse_unusable_stages(settings, self.backbone.depth)
        return Prepared(settings, WindowScorer(self.backbone, self._clip, settings,
                                               self._upsampler_for(settings)))

    def lacks_weights(self, settings: SegmentorSettings) -> bool:
        """Tell whether :meth:`prepare` would have to load LoftUp's weights."""
        return settings.use_loftup and (
            self._upsampler is None or self._upsampler.settings.source != settings.loftup.source)

    def load_weights(self, settings: SegmentorSettings) -> Upsampler:
        """Load the weights that settings lack into main memory; for any thread.

        Raises:
            WeightsError: they are out of reach, or do not fit.
        """
        return make_upsampler(settings.loftup, self.backbone.dimension, "cpu", self._cache_dir,
                              self.name)

    def keep(self, upsampler: Upsampler) -> None:
        """Take over loaded weights, between two images, so that :meth:`prepare` finds them."""
        if upsampler.network is not None:
            upsampler.network.to(self.device)
        self._upsampler = upsampler

    def forget_fallback(self) -> None:
        """Have LoftUp's weights looked for again when it is switched on, if they were missing."""
        if self._upsampler is not None and self._upsampler.fallback:
            self._upsampler = None

    def use(self, prepared: Prepared) -> None:
        """Take over settings that this segmentor has prepared."""
        self._settings, self._scorer = prepared.settings, prepared.scorer

    def release(self) -> None:
        """Keep the weights in main memory and give the device's memory back, all but CUDA's own.

        That is its context and what cuBLAS works in; results are the caller's to let go of.
        Until :meth:`restore` no image can be labelled; words can be encoded, on the CPU.
        """
        self._move(torch.device("cpu"))
        forget_tensors()
        if self.device.type == "cuda":
            give_back_device_memory()

    def restore(self) -> None:
        """Bring released weights back to the device."""
        self._move(self.device)

    def _move(self, device: torch.device) -> None:
        self._clip.model.to(device)
        self.backbone.place = Place()  # the graphs recorded of the old one go
        # Of weights that were kept but refused since, the others are still in use.
        for upsampler in (self._upsampler, self._scorer.upsampler):
            if upsampler is not None and upsampler.network is not None:
                upsampler.network.to(device)

    @property
    def records(self) -> bool:
        """Whether :meth:`warm_up` makes recordings, each for one layout of windows."""
        return self.device.type == "cuda"

    @property
    def upsampler_fallback(self) -> str | None:
        """Why bilinear interpolation stands in for LoftUp; None where it does not."""
        upsampler = self._scorer.upsampler
        return upsampler.fallback if upsampler is not None else None

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Stages replaced by a simpler one, e.g. ``"loftup -> bilinear"``."""
        found = []
        if self.upsampler_fallback:
            found.append("loftup -> bilinear")
        if self.device.type == "cuda" and decoding_triton.fallback():
            found.append("decoding kernel -> torch")
        if self._scorer.tower.failure:
            found.append("CUDA graph -> single kernels")
        return tuple(found)

    @property
    def departures(self) -> tuple[str, ...]:
        """In what the features that LoftUp is fed differ from those it was trained on."""
        return self._scorer.departures

    @property
    def logit_scale(self) -> float:
        """Inverse softmax temperature in use: the setting's, or the model's own."""
        return self._settings.logit_scale or self._clip.logit_scale

    def vocabulary(self, classes: Sequence[str], background: str = "", version: int = 1,
                   templates: Sequence[str] | None = None,
                   palette: Mapping[str, Colour] | None = None) -> Vocabulary:
        """Bind class names to text embeddings; see :meth:`TextEncoder.vocabulary`."""
        return self.text.vocabulary(classes, background, version, templates, palette)

    def working_size(self, height: int, width: int,
                     settings: SegmentorSettings | None = None) -> tuple[int, int]:
        """Return the (H, W) an image is worked on, with given settings or those in force."""
        return tower_size(height, width, settings or self._settings, self.backbone.patch_size)

    @torch.inference_mode()
    def warm_up(self, sizes: Sequence[tuple[int, int]], vocabulary: Vocabulary) -> None:
        """Do now what the first images would wait for, with the settings in force.

        Kernels are compiled, memory is taken, and on CUDA the image tower is recorded as a graph
        where that makes it faster.

        Args:
            sizes: (H, W) of the images to come, one a camera; they are labelled together.
            vocabulary: as long as the one to come.
        """
        images = [torch.zeros(*size, 3, dtype=torch.uint8) for size in sizes]
        self.predict_batch(images, vocabulary)
        if self.records:
            working = [self._shrink(to_tensor(image, self.device)) for image in images]
            for _, chunks in WindowBatches(working, self._settings, self.backbone.patch_size):
                for chunk in chunks:
                    self._scorer.record(chunk)
            self.predict_batch(images, vocabulary)

    def segment(self, image: np.ndarray | Tensor | Image,
                class_names: Sequence[str] | Vocabulary) -> np.ndarray:
        """Label an RGB image.

        Args:
            image: (H, W, 3) uint8 RGB, or a PIL image.
            class_names: words, synonyms separated by ``|``, or a ready vocabulary.

        Returns:
            (H, W) uint8 ids that index the class names; 255 = unlabelled.

        Raises:
            ValueError: an image or class names that cannot be used, or scores that are no
                numbers, from broken weights or an overflow.
        """
        return self.predict_dense(image, class_names).labels

    def predict_dense(self, image: np.ndarray | Tensor | Image,
                      class_names: Sequence[str] | Vocabulary,
                      keep_going: KeepGoing | None = None) -> SegmentationResult:
        """Label an RGB image and return confidence, scores and stage times too.

        See :meth:`predict_batch` for ``keep_going``.
        """
        return self.predict_batch([image], class_names, keep_going)[0]

    @torch.inference_mode()
    def predict_batch(self, images: Sequence[np.ndarray | Tensor | Image],
                      class_names: Sequence[str] | Vocabulary,
                      keep_going: KeepGoing | None = None) -> list[SegmentationResult]:
        """Label several images, of any sizes, with their windows in joint forwards.

        The result equals labelling them one by one. The stage times are the whole batch's.

        Args:
            images: (H, W, 3) uint8 RGB each, or PIL images.
            class_names: words, or a ready vocabulary.
            keep_going: asked before every iteration of PAMR and DenseCRF, with the number of
                iterations that this refinement has run; when it says no, what was reached is used.
                PAMR works on all images of one working size together, DenseCRF on one image after
                another. A GPU is waited for before each question, and only then.
        """
        vocabulary = class_names if isinstance(class_names, Vocabulary) \
            else self.vocabulary(class_names)
        refuse_foreign(vocabulary, self.backbone.dimension)
        vocabulary = vocabulary.to(self.device)  # words encoded while released are on the CPU
        watch = Stopwatch(self.device, self.clock)
        with watch.stage("preprocess"):
            originals = [to_tensor(image, self.device) for image in images]
            working = [self._shrink(image) for image in originals]
        scores = self._score(working, vocabulary, watch)
        refuse_not_finite(scores, self.precision)
        labelling = Labelling(self._settings, self.logit_scale, vocabulary, watch, keep_going,
                              len(images))
        scores = labelling.refine(working, scores)
        decided = [labelling.decide(index, image, score)
                   for index, (image, score) in enumerate(zip(originals, scores, strict=True))]
        with watch.stage("decode"):  # a GPU's work is waited for here, and only here
            arrays = [(labels.cpu().numpy(), confidence.cpu().numpy())
                      for labels, confidence in decided]
        milliseconds = watch.milliseconds()
        return [
            SegmentationResult(*pair, *summarise(*pair, len(vocabulary)),
                               DeviceView(image.permute(1, 2, 0), labels), score, vocabulary,
                               self.logit_scale, milliseconds, refinements)
            for pair, image, (labels, _), score, refinements in zip(
                arrays, originals, decided, scores, labelling.refinements, strict=True)]

    def _upsampler_for(self, settings: SegmentorSettings) -> Upsampler | None:
        """Return the upsampler, with its weights loaded where they are not."""
        if not settings.use_loftup:
            return None
        if self.lacks_weights(settings):
            self.keep(self.load_weights(settings))
        return self._upsampler.with_settings(settings.loftup)

    def _shrink(self, image: Tensor) -> Tensor:
        size = self.working_size(*image.shape[1:])
        if min(size) < self.backbone.patch_size:
            raise ValueError(f"image of {image.shape[2]}x{image.shape[1]} pixels is worked on as "
                             f"{size[1]}x{size[0]}, smaller than one patch of "
                             f"{self.backbone.patch_size}; enlarge it or crop its long side")
        return resize(image, size, self._settings.antialias)

    def _score(self, working: Sequence[Tensor], vocabulary: Vocabulary,
               watch: Stopwatch) -> list[ScoreMap]:
        """Return the cosine scores of each image."""
        scores: dict[int, ScoreMap] = {}
        batches = WindowBatches(working, self._settings, self.backbone.patch_size)
        for indices, chunks in batches:
            parts = [self._scorer(chunk, vocabulary, watch) for chunk in chunks]
            with watch.stage("stitch"):
                scores.update(batches.stitch(indices, torch.cat(parts)))
        return [scores[index] for index in range(len(working))]


def _resolve_precision(precision: str, device: torch.device) -> str:
    """Choose the tower's arithmetic: as asked, or what the device is fastest at."""
    return fast_precision(device) if precision == "auto" else precision
