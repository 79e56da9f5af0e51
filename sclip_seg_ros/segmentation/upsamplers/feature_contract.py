"""What features an upsampler was trained on, and how far those it is fed depart from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace

from sclip_seg_ros.models.weights import WeightsError

LAYERS = ("value", "attended", "plain")
CONTRACTS = ("auto", *LAYERS)
NORMALISATIONS = ("imagenet", "clip")

_METADATA_PREFIX = "feature_"


@dataclass(frozen=True)
class FeatureContract:
    """The features an upsampler expects.

    The defaults are those of the published ``haiwen/loftup-clip``, read off its training code.

    Attributes:
        backbone: architecture and weights, as :class:`~sclip_seg_ros.models.clip.ClipModel` names
            them.
        layer: ``"value"``: the last block's out_proj(v) alone, without residual or feed-forward
            network; ``"attended"``: the output of the last block as it is run for segmentation;
            ``"plain"``: the tower's tokens as it was trained, before they get to the texts' space.
        normalisation: channel statistics of the image before the tower, ``"imagenet"`` or
            ``"clip"``.
    """

    backbone: str = "ViT-B-16-quickgelu/openai"
    layer: str = "value"
    normalisation: str = "imagenet"

    def __post_init__(self) -> None:
        """Refuse a layer or a normalisation that no tower here can give.

        Raises:
            ValueError: naming the value and what is allowed.
        """
        for name, allowed in (("layer", LAYERS), ("normalisation", NORMALISATIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"feature contract {name}='{getattr(self, name)}' is unknown; "
                                 f"choose one of {', '.join(allowed)}")

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str],
                      published: FeatureContract | None = None) -> FeatureContract:
        """Read the contract from a safetensors file's metadata; what it omits is as published.

        Args:
            metadata: of the file.
            published: contract of what it is taken for; None for CLIP's.

        Raises:
            WeightsError: a value that is not a contract of ours.
        """
        stated = {item.name: metadata[_METADATA_PREFIX + item.name] for item in fields(cls)
                  if _METADATA_PREFIX + item.name in metadata}
        try:
            return replace(published or PUBLISHED, **stated)
        except ValueError as error:
            raise WeightsError(f"the checkpoint's metadata is not understood: {error}") from error

    def departures(self, fed: FeatureContract,
                   names: Collection[str] | None = None) -> list[str]:
        """Say, a phrase each, in what the features that are fed differ from those trained on.

        Args:
            fed: what the upsampler gets.
            names: attributes to compare; all if None.
        """
        return [f"{item.name} is '{getattr(fed, item.name)}' but it was trained with "
                f"'{getattr(self, item.name)}'"
                for item in fields(self) if (names is None or item.name in names)
                and getattr(fed, item.name) != getattr(self, item.name)]


def stated_names(metadata: Mapping[str, str]) -> frozenset[str]:
    """Return the attributes of the contract that a safetensors file's metadata states."""
    return frozenset(item.name for item in fields(FeatureContract)
                     if _METADATA_PREFIX + item.name in metadata)


PUBLISHED = FeatureContract()
