"""What every upsampler of features is, and what a row of their registry says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from sclip_seg_ros.segmentation.upsamplers.feature_contract import FeatureContract


class FeatureUpsampler(ABC):
    """Features and their image in, larger features of length 1 out; or scores in, scores out.

    Attributes:
        name: key of its kind in the registry.
        title: for people.
        settings: its group of settings.
        network: with weights that go where the model goes; None where it has none.
        contract: the features that the network was trained on; None where any will do.
        stated: the parts of the contract that the checkpoint itself states; the rest is assumed.
        origin: where its weights come from, with their SHA-256; empty where it has none.
        fallback: why there is no network though there should be; None where all is as asked.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    settings: Any
    network: nn.Module | None = None
    contract: FeatureContract | None = None
    stated: frozenset[str] = frozenset()
    origin: str = ""
    fallback: str | None = None

    @property
    def layer(self) -> str | None:
        """What it is fed, see :class:`FeatureContract`; None: what words are compared with."""
        return self.contract.layer if self.contract is not None else None

    @abstractmethod
    def size(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Return (rows, columns) of the output for a patch grid."""

    @abstractmethod
    def with_settings(self, settings: Any) -> FeatureUpsampler:
        """Return one with the same network and other settings of its group."""

    @abstractmethod
    def __call__(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Upsample dense features.

        Args:
            features: (B, D, h, w), not normalised.
            guidance: (B, 3, H, W) the images they come from, RGB in 0..1.

        Returns:
            (B, D, H', W') of length 1 along D, in the dtype of ``features``. Scores (B, Q, h, w)
            become (B, Q, H', W') float32.
        """

    def enlarge(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Upsample features that another layer is to read, with the scale they had.

        Only what is fed ``"plain"`` features needs to be able to.
        """
        raise NotImplementedError(f"{self.title} gives features of length 1 alone")


@dataclass(frozen=True)
class UpsamplerKind:
    """A kind of upsamplers: a row of the registry.

    Attributes:
        title: for people.
        switch: name of the setting that switches it on.
        group: name of its group of settings.
        load: makes one of its group's settings, the length D of the model's embeddings, the device
            it runs on, the folder for downloads (None: the hub's own), and the model's name. Raises
            WeightsError where weights are out of reach or do not fit.
        weights: returns what its group's settings say of the weights; where that is equal, loaded
            ones serve again.
        fetch: downloads published weights, given a model's name, a folder (None: the hub's own) and
            whether to ask for the newest, and returns their file; None where none are published.
            Raises WeightsError where they are out of reach.
        at_hand: tells, given its group's settings and that folder, whether loading is worth a try
            where nobody has asked for it by name; by default it is.
        of_scores: whether it enlarges an image's stitched scores instead of windows' features.
        suits: settings that suit it, before those that suit the model.
    """

    title: str
    switch: str
    group: str
    load: Callable[..., FeatureUpsampler]
    weights: Callable[[Any], Hashable]
    fetch: Callable[[str, str | None, bool], Path] | None = None
    at_hand: Callable[[Any, str | None], bool] = lambda settings, cache_dir: True
    of_scores: bool = False
    suits: Mapping[str, Any] = field(default_factory=dict)
