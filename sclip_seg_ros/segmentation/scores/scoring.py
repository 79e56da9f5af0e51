"""From windows to cosine scores: the image tower, upsampling, similarity with the words."""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sclip_seg_ros.common.stopwatch import Stopwatch
from sclip_seg_ros.models import ClipModel
from sclip_seg_ros.models.weights import WeightsError
from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS
from sclip_seg_ros.segmentation.backbones.attention.cliptrase import patch_correlation
from sclip_seg_ros.segmentation.backbones.backbone import DenseBackbone, Penultimate, feature_map
from sclip_seg_ros.segmentation.backbones.cuda_graphs import Replayed
from sclip_seg_ros.segmentation.backbones.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    normalise,
)
from sclip_seg_ros.segmentation.backbones.proxies.attention import proxy_tokens
from sclip_seg_ros.segmentation.backbones.proxies.towers import Proxy
from sclip_seg_ros.segmentation.backbones.tower import (
    LastBlock,
    shared_plain,
    shared_tower,
    shared_values,
)
from sclip_seg_ros.segmentation.resclip.documents import (
    feature_correlation,
    similarity_pyramid,
)
from sclip_seg_ros.segmentation.resclip.tokens import resclip_tokens
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.image_words import moved_words, with_image, word_clusters
from sclip_seg_ros.segmentation.upsamplers import FeatureUpsampler
from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract

_log = logging.getLogger(__name__)


class WindowScorer:
    """Compare every place of a window with every word.

    Attributes:
        tower: normalised images to patch tokens, or to values where there is a proxy, as CUDA
            graphs where :meth:`record` made some; shared with other settings.
        departures: in what the features that the upsampler is fed differ from those it was trained
            on.
    """

    def __init__(self, backbone: DenseBackbone, clip: ClipModel, settings: SegmentorSettings,
                 upsampler: FeatureUpsampler | None, proxy: Proxy | None = None) -> None:
        """Join a tower with its settings; ``upsampler`` and ``proxy`` are None where none is on."""
        self.backbone = backbone
        self.upsampler = upsampler
        self._proxy = proxy
        self._clip = clip
        self._clusters: tuple[Tensor | None, Tensor] = None, torch.empty(0)
        self._settings = settings
        self._documents = settings.use_resclip and settings.resclip.variant == "documents"
        self._published = settings.use_resclip and settings.resclip.variant == "paper"
        self._layer = self._wanted_layer()
        self._takes_values = self._layer == "value"
        self._statistics = self._image_statistics()
        self.departures = self._check_contract()
        self.tower = self._tower()

    def record(self, windows: Tensor) -> None:
        """Record the tower as a CUDA graph for windows (N, 3, h, w), if that makes it faster.

        ResCLIP's published form is left out: its work depends on what it sees.
        """
        if not self._published:
            self.tower.record(normalise(windows, *self._statistics))
        if self._proxy is not None:
            self._proxy.record(windows)

    def dense(self, windows: Tensor, words: Tensor, watch: Stopwatch) -> Tensor:
        """Return the features of windows that words are compared with.

        Args:
            windows: (N, 3, h, w) RGB in 0..1.
            words: (Q, D) embeddings, which steer ResCLIP's feedback alone.
            watch: takes the stage times.

        Returns:
            (N, D, h', w') float32 of length 1 along D, on the patch grid or the upsampler's.
        """
        if self._proxy is not None:
            features = self._proxied(windows, self._proxy, watch)
        else:
            with watch.stage("encode"):
                features = self.features(windows, words)
            if self.upsampler is not None:
                with watch.stage("upsample"):
                    features = self._enlarged(features, windows, self.upsampler)
        resclip = self._settings.resclip
        with watch.stage("similarity"):
            features = normalize(features.float(), dim=1)
            if self._documents and resclip.rcs:
                features = normalize(
                    feature_correlation(features, resclip.documents_weight,
                                        resclip.documents_temperature), dim=1)
        return features

    def overview(self, image: Tensor, watch: Stopwatch) -> Tensor:
        """Return the embedding (D,) of length 1 of an image (3, h, w) RGB in 0..1 as a whole."""
        with watch.stage("encode"):
            images = normalise(image[None], self._clip.mean, self._clip.std)
            own = ATTENTIONS[self._settings.attention].embedding
            embedding = own(self.backbone, images) if own else self.backbone.image_embedding(
                self.backbone.penultimate(images))
            return normalize(embedding[0].float(), dim=0)

    def compare(self, features: Tensor, words: Tensor, watch: Stopwatch,
                overviews: Tensor | None = None) -> Tensor:
        """Return the cosines (N, Q, h', w') float32 of features with words (Q, D).

        Args:
            features: as :meth:`dense` returns them; other words than those given there will do.
            words: embeddings of length 1.
            watch: takes the stage times.
            overviews: (N, D) of :meth:`overview` of the image of each window, if wanted.
        """
        with watch.stage("similarity"):
            if overviews is None:
                return self._compare(features, words.float())
            settings = self._settings.image_words
            moved = moved_words(words, self._clusters_of(words), features, overviews,
                                settings.patch_share)
            return with_image(self._compare(features, moved), words, overviews,
                              settings.image_share)

    def _compare(self, features: Tensor, words: Tensor) -> Tensor:
        """Compare features (N, D, h, w) with words (Q, D), or (N, Q, D) of each window's own."""
        if self._documents and self._settings.resclip.sfr:
            return similarity_pyramid(features, words, self._settings.resclip.documents_blend)
        if words.dim() == 2:
            return torch.einsum("ndhw,qd->nqhw", features, words)
        return torch.einsum("ndhw,nqd->nqhw", features, words)

    def _clusters_of(self, words: Tensor) -> Tensor:
        """Return the words' clusters; those of the newest words are kept."""
        known, clusters = self._clusters
        if known is not words:
            clusters = word_clusters(words, self._settings.image_words.distance)
            self._clusters = words, clusters
        return clusters

    def features(self, windows: Tensor, words: Tensor) -> Tensor:
        """Run the tower: windows (N, 3, h, w) in 0..1 to features (N, D, rows, columns).

        These are what the upsampler is fed; not normalised. Words (Q, D) steer ResCLIP alone.
        """
        settings, backbone = self._settings, self.backbone
        images = normalise(windows, *self._statistics)
        if self._published:
            tokens = resclip_tokens(backbone, images, words, settings.resclip, settings.attention,
                                    settings.residual, dict(last_block(settings).options))
        else:
            tokens = self.tower(images)
        return feature_map(tokens, backbone.grid(*windows.shape[-2:]))

    def _enlarged(self, features: Tensor, windows: Tensor, upsampler: FeatureUpsampler) -> Tensor:
        """Upsample features, and bring those that are not there yet to the space of the texts."""
        if self._layer != "plain":
            return upsampler(features, windows)
        larger = upsampler.enlarge(features, windows)
        tokens = self.backbone.to_text(larger.flatten(2).transpose(1, 2))
        return feature_map(tokens, tuple(larger.shape[-2:]))

    def _tower(self) -> Replayed:
        if self._proxy is not None:
            return shared_values(self.backbone)
        if self._layer == "plain":
            return shared_plain(self.backbone)
        return shared_tower(self.backbone, last_block(self._settings, self._takes_values))

    def _proxied(self, windows: Tensor, proxy: Proxy, watch: Stopwatch) -> Tensor:
        """Return the features of windows, on the proxy's grid or on its enlarged one."""
        with watch.stage("encode"):
            values = self.tower(normalise(windows, *self._statistics))
        with watch.stage("proxy"):
            looks = proxy(windows)
        if self.upsampler is not None:
            with watch.stage("upsample"):
                looks = self.upsampler(looks, windows)
        with watch.stage("proxy"):
            settings = self._settings.proxy
            tokens = proxy_tokens(self.backbone, values, self.backbone.grid(*windows.shape[-2:]),
                                  looks, settings.beta, settings.gamma)
            return feature_map(tokens, tuple(looks.shape[-2:]))

    def correlate(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return how patches correlate, of images (N, 3, h, w) in 0..1, and the patch grid."""
        return patch_correlation(self.backbone, normalise(images, self._clip.mean, self._clip.std))

    def penultimate(self, windows: Tensor) -> Penultimate:
        """Run the tower up to its last block on windows (N, 3, h, w) in 0..1."""
        return self.backbone.penultimate(normalise(windows, *self._statistics))

    def _wanted_layer(self) -> str:
        """Return what the tower is to give, see :class:`FeatureContract`."""
        if self.upsampler is None or self._published or self._proxy is not None:
            return "attended"  # ResCLIP changes the attention, which others do not pass through
        return self.upsampler.layer or "attended"

    def _check_contract(self) -> tuple[str, ...]:
        """Refuse features that contradict a checkpoint; warn of those it does not expect.

        A checkpoint that says nothing is taken as published, and may well have been meant for them.
        """
        if self.upsampler is None or self.upsampler.contract is None:
            return ()
        title, group = self.upsampler.title, self.upsampler.name
        imagenet = self._statistics == (IMAGENET_MEAN, IMAGENET_STD)
        fed = FeatureContract(self._clip.name, self._layer, "imagenet" if imagenet else "clip")
        if self._proxy is not None:
            fed = FeatureContract(self._proxy.name, "plain", "imagenet")
        contradictions = self.upsampler.contract.departures(fed, self.upsampler.stated)
        if contradictions:
            raise WeightsError(f"{title}'s checkpoint does not fit: {'; '.join(contradictions)}; "
                               f"set {group}.contract to auto, or give a {title} for these "
                               "features")
        departures = self.upsampler.contract.departures(fed)
        if departures:
            _log.warning("%s is fed features it was not trained on: %s; sclip-check-upsampler "
                         "tells whether it helps", title, "; ".join(departures))
        return tuple(departures)

    def _image_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the channel statistics that the tower, or the upsampler's contract, wants."""
        contract = self.upsampler.contract if self.upsampler else None
        if contract and self._layer != "attended" and contract.normalisation == "imagenet":
            return IMAGENET_MEAN, IMAGENET_STD
        return self._clip.mean, self._clip.std


def last_block(settings: SegmentorSettings, values: bool = False) -> LastBlock:
    """Return how settings have the last block run, or with ``values`` its values alone.

    All that mean the same are equal.
    """
    if values:
        return LastBlock(True)
    row = ATTENTIONS[settings.attention]
    options = tuple((name, getattr(settings, name)) for name in row.settings)
    return LastBlock(False, settings.attention, settings.residual or row.tokens is not None,
                     options)
