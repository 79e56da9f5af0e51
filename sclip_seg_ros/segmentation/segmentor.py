"""A model and its words: RGB images and class names in, labels and confidence out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from sclip_seg_ros.common.device_cache import forget_tensors
from sclip_seg_ros.common.forks import survive_fork
from sclip_seg_ros.models import EMBEDDED, fast_precision, load_clip, resolve_device
from sclip_seg_ros.models.devices import DTYPES
from sclip_seg_ros.models.identity import Origin
from sclip_seg_ros.segmentation.backbones.attention import last_block_attention
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, Place
from sclip_seg_ros.segmentation.backbones.cuda_graphs import give_back_device_memory
from sclip_seg_ros.segmentation.backbones.families import backbone_of
from sclip_seg_ros.segmentation.backbones.families.clip_vit import absorb_quick_gelu
from sclip_seg_ros.segmentation.pipeline import Model, Pipeline
from sclip_seg_ros.segmentation.pipeline.proxy_store import ProxyStore
from sclip_seg_ros.segmentation.pipeline.upsampler_store import UpsamplerStore
from sclip_seg_ros.segmentation.refinement import refinements_of
from sclip_seg_ros.segmentation.refinement.anytime import KeepGoing
from sclip_seg_ros.segmentation.resclip.correlation import recorded_blocks
from sclip_seg_ros.segmentation.result import SegmentationResult
from sclip_seg_ros.segmentation.scores.windows import tower_size
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.encoder import TextEncoder
from sclip_seg_ros.segmentation.text.palette import Colour
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary
from sclip_seg_ros.segmentation.upsamplers import upsampler_of

_SHORTHANDS = {"loftup_adaptive": "loftup.adaptive", "loftup_upsample_factor": "loftup.factor",
               "resclip_variant": "resclip.variant"}  # the design documents' keywords


class SCLIPSegmentor:
    """Label every pixel of an image with the best fitting of any words.

    One image goes through: shrink, cut into windows, CLIP's image tower with SCLIP's attention,
    similarity with the words, stitch, optional refinement, labels at the image's own size. That is
    a :class:`Pipeline`'s work; this class holds the model, its words, and the pipeline of the
    present settings.

    Attributes:
        text: encodes words.
        upsamplers: the upsampler's weights in memory.
        proxies: the proxy's weights in memory.
        pipeline: labels images by the present settings.
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
            WeightsError: weights out of reach, or not fitting, or a tower without ViT blocks.
            ValueError: an unknown setting, a value out of range, or an unusable device.
        """
        survive_fork()
        base = settings or SegmentorSettings()
        short = {_SHORTHANDS[key]: changes.pop(key) for key in _SHORTHANDS if key in changes}
        base = base.with_changes(short, **changes)
        # With its number: in a thread that has chosen another GPU, "cuda" would be that one.
        device = torch.empty(0, device=resolve_device(device)).device
        clip = load_clip(model_name, pretrained, device, cache_dir,
                         accept=lambda model: backbone_of(model.visual))
        precision = _resolve_precision(base.precision, device)
        visual = clip.model.visual
        absorb_quick_gelu(visual)
        backbone = backbone_of(visual.to(DTYPES[precision]), clip.name)
        self._model = Model(clip, backbone, device, precision)
        self.text = TextEncoder(clip)
        origin = clip.origin
        self.upsamplers = UpsamplerStore(clip.name, backbone.dimension, device, cache_dir,
                                         origin.upsamplers if origin else {})
        self.proxies = ProxyStore(device, DTYPES[precision], cache_dir,
                                  origin.proxies if origin else {})
        self._preparing = threading.Lock()
        self.pipeline = self.prepare(base)

    @property
    def name(self) -> str:
        """Model and weights, e.g. ``"embedded"`` or ``"ViT-B-16-quickgelu/openai"``."""
        return self._model.clip.name

    @property
    def device(self) -> torch.device:
        """The torch device, with its number."""
        return self._model.device

    @property
    def precision(self) -> str:
        """Arithmetic of the image tower, "fp32", "bf16" or "fp16"."""
        return self._model.precision

    @property
    def backbone(self) -> DenseBackbone:
        """The image tower."""
        return self._model.backbone

    @property
    def clock(self) -> Callable[[], float] | None:
        """Seconds by which stages are timed on a CPU; None for the time of day's pace."""
        return self._model.clock

    @clock.setter
    def clock(self, clock: Callable[[], float] | None) -> None:
        self._model.clock = clock

    @property
    def origin(self) -> Origin | None:
        """Where the model's weights come from: file, checksum, commit; None for random ones."""
        return self._model.clip.origin

    @property
    def settings(self) -> SegmentorSettings:
        """How images become labels; may be replaced between two images."""
        return self.pipeline.settings

    @settings.setter
    def settings(self, settings: SegmentorSettings) -> None:
        self.pipeline = self.prepare(settings)
        if upsampler_of(settings) is None:
            self.upsamplers.forget_fallback()

    def decide(self, settings: SegmentorSettings) -> SegmentorSettings:
        """Return settings with what they leave to the model decided, as its pipelines do."""
        return self._model.decide(settings)

    def prepare(self, settings: SegmentorSettings) -> Pipeline:
        """Check settings, load what they need, and return the pipeline that labels by them.

        The present settings stay as they are. Pipelines share the model's weights. May be called
        from several threads.

        Raises:
            WeightsError: the upsampler's weights out of reach, or not fitting.
            ValueError: settings that cannot work with the loaded model.
        """
        if _resolve_precision(settings.precision, self.device) != self.precision:
            raise ValueError(f"precision='{settings.precision}' cannot change while the model is "
                             f"loaded in {self.precision}; make a new segmentor")
        decided = self.decide(settings)
        _refuse_less_than_a_patch(decided, self.backbone.patch_size)
        refuse_unusable_stages(decided, self.backbone.depth, self.backbone.prefix)
        with self._preparing:  # else one may be given what the other has just loaded
            return Pipeline(self._model, settings, self.upsamplers.provide(settings),
                            self.proxies.provide(settings))

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
        self._model.clip.model.to(device)
        self.backbone.place = Place()  # the graphs recorded of the old one go
        self.upsamplers.move(device)
        self.proxies.move(device)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Stages replaced by a simpler one, e.g. ``"loftup -> bilinear"``."""
        return self.pipeline.fallbacks

    @property
    def logit_scale(self) -> float:
        """Inverse softmax temperature in use: the setting's, or the model's own."""
        return self.pipeline.logit_scale

    def vocabulary(self, classes: Sequence[str], background: str = "", version: int = 1,
                   templates: Sequence[str] | None = None,
                   palette: Mapping[str, Colour] | None = None,
                   negatives: Sequence[str] = ()) -> Vocabulary:
        """Bind class names to text embeddings; see :meth:`TextEncoder.vocabulary`."""
        return self.text.vocabulary(classes, background, version, templates, palette, negatives)

    def working_size(self, height: int, width: int,
                     settings: SegmentorSettings | None = None) -> tuple[int, int]:
        """Return the (H, W) an image is worked on, with given settings or those in force."""
        return tower_size(height, width, self.decide(settings or self.settings),
                          self.backbone.patch_size)

    def warm_up(self, sizes: Sequence[tuple[int, int]], vocabulary: Vocabulary) -> None:
        """Do now what the first images would wait for; see :meth:`Pipeline.warm_up`."""
        self.pipeline.warm_up(sizes, vocabulary)

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

    def predict_batch(self, images: Sequence[np.ndarray | Tensor | Image],
                      class_names: Sequence[str] | Vocabulary,
                      keep_going: KeepGoing | None = None) -> list[SegmentationResult]:
        """Label several images, of any sizes, with their windows in joint forwards.

        See :meth:`Pipeline.predict`. Class names may be a ready vocabulary.
        """
        vocabulary = class_names if isinstance(class_names, Vocabulary) \
            else self.vocabulary(class_names)
        return self.pipeline.predict(images, vocabulary, keep_going)


def _resolve_precision(precision: str, device: torch.device) -> str:
    """Choose the tower's arithmetic: as asked, or what the device is fastest at."""
    return fast_precision(device) if precision == "auto" else precision


def _refuse_less_than_a_patch(settings: SegmentorSettings, patch: int) -> None:
    """Refuse sizes that hold not one patch of so many pixels."""
    for name in ("short_side", "crop"):
        if getattr(settings, name) < patch:
            raise ValueError(f"{name}={getattr(settings, name)} is smaller than one patch of "
                             f"{patch}; give that or more")


def refuse_unusable_stages(settings: SegmentorSettings, depth: int, prefix: int = 1) -> None:
    """Refuse at once a stage that would fail with every image.

    Args:
        settings: that switch stages on.
        depth: number of the tower's blocks.
        prefix: number of its tokens before the patches.
    """
    for refinement in refinements_of(settings):
        refinement.refuse(getattr(settings, refinement.group), depth, prefix)
    if settings.use_resclip and settings.resclip.variant == "paper":
        last_block_attention(settings.attention)
        if settings.resclip.rcs:
            recorded_blocks(depth, settings.resclip.blocks)
