"""From windows to cosine scores: the image tower, upsampling, similarity with the words."""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sclip_seg_ros.models import ClipModel
from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation.backbone import DenseBackbone, Penultimate, feature_map
from sclip_seg_ros.segmentation.contracts import FeatureContract
from sclip_seg_ros.segmentation.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise
from sclip_seg_ros.segmentation.resclip import resclip_tokens
from sclip_seg_ros.segmentation.resclip_documents import (
    feature_correlation,
    similarity_pyramid,
)
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.stopwatch import Stopwatch
from sclip_seg_ros.segmentation.tower import LastBlock, shared_tower
from sclip_seg_ros.segmentation.upsampling import Upsampler
from sclip_seg_ros.segmentation.vocabulary import Vocabulary

_log = logging.getLogger(__name__)


class WindowScorer:
    """Compare every place of a window with every word.

    Attributes:
        tower: normalised images to patch tokens, as CUDA graphs where :meth:`record` made some;
            shared with other settings.
        departures: in what the features that LoftUp is fed differ from those it was trained on.
    """

    def __init__(self, backbone: DenseBackbone, clip: ClipModel, settings: SegmentorSettings,
                 upsampler: Upsampler | None) -> None:
        """Join a tower with its settings; ``upsampler`` is None where LoftUp is off."""
        self.backbone = backbone
        self.upsampler = upsampler
        self._clip = clip
        self._settings = settings
        self._documents = settings.use_resclip and settings.resclip.variant == "documents"
        self._published = settings.use_resclip and settings.resclip.variant == "paper"
        self._takes_values = self._wants_values()
        self._statistics = self._image_statistics()
        self.departures = self._check_contract()
        self.tower = shared_tower(backbone, LastBlock.of(settings, self._takes_values))

    def record(self, windows: Tensor) -> None:
        """Record the tower as a CUDA graph for windows (N, 3, h, w), if that makes it faster.

        ResCLIP's published form is left out: its work depends on what it sees.
        """
        if not self._published:
            self.tower.record(normalise(windows, *self._statistics))

    def __call__(self, windows: Tensor, vocabulary: Vocabulary, watch: Stopwatch) -> Tensor:
        """Score windows against a vocabulary's words.

        Args:
            windows: (N, 3, h, w) RGB in 0..1.
            vocabulary: Q words.
            watch: takes the stage times.

        Returns:
            (N, Q, h', w') float32 cosine similarities on the patch grid, or on the upsampler's.
        """
        words = vocabulary.embeddings
        with watch.stage("encode"):
            features = self.features(windows, words)
        resclip = self._settings.resclip
        if self.upsampler is not None:
            with watch.stage("upsample"):
                features = self.upsampler(features, windows)
        with watch.stage("similarity"):
            features = normalize(features.float(), dim=1)
            if self._documents and resclip.rcs:
                features = normalize(
                    feature_correlation(features, resclip.documents_weight,
                                        resclip.documents_temperature), dim=1)
            if self._documents and resclip.sfr:
                return similarity_pyramid(features, words, resclip.documents_blend)
            return torch.einsum("ndhw,qd->nqhw", features, words.float())

    def features(self, windows: Tensor, words: Tensor) -> Tensor:
        """Run the tower: windows (N, 3, h, w) in 0..1 to features (N, D, rows, columns).

        These are what the upsampler is fed; not normalised. Words (Q, D) steer ResCLIP alone.
        """
        settings, backbone = self._settings, self.backbone
        images = normalise(windows, *self._statistics)
        if self._published:
            tokens = resclip_tokens(backbone, images, words, settings.resclip, settings.attention,
                                    settings.residual, settings.naclip_sigma)
        else:
            tokens = self.tower(images)
        return feature_map(tokens, backbone.grid(*windows.shape[-2:]))

    def penultimate(self, windows: Tensor) -> Penultimate:
        """Run the tower up to its last block on windows (N, 3, h, w) in 0..1."""
        return self.backbone.penultimate(normalise(windows, *self._statistics))

    def _wants_values(self) -> bool:
        """Tell whether the upsampler wants out_proj(v) instead of attended tokens."""
        if self.upsampler is None or self.upsampler.network is None:
            return False
        if self._published:
            return False  # ResCLIP changes the attention, which bare values do not pass through
        contract = self._settings.loftup.contract
        return (self.upsampler.contract.layer if contract == "auto" else contract) == "value"

    def _check_contract(self) -> tuple[str, ...]:
        """Refuse features that contradict LoftUp's checkpoint; warn of those it does not expect.

        A checkpoint that says nothing is taken as published, and may well have been meant for them.
        """
        if self.upsampler is None or self.upsampler.network is None:
            return ()
        imagenet = self._statistics == (IMAGENET_MEAN, IMAGENET_STD)
        fed = FeatureContract(self._clip.name, "value" if self._takes_values else "attended",
                              "imagenet" if imagenet else "clip")
        contradictions = self.upsampler.contract.departures(fed, self.upsampler.stated)
        if contradictions:
            raise WeightsError(f"LoftUp's checkpoint does not fit: {'; '.join(contradictions)}; "
                               "set loftup.contract to auto, or give a LoftUp for these features")
        departures = self.upsampler.contract.departures(fed)
        if departures:
            _log.warning("LoftUp is fed features it was not trained on: %s", "; ".join(departures))
        return tuple(departures)

    def _image_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the channel statistics that the tower, or the upsampler's contract, wants."""
        if self._takes_values and self.upsampler.contract.normalisation == "imagenet":
            return IMAGENET_MEAN, IMAGENET_STD
        return self._clip.mean, self._clip.std
