"""The tower of a proxy: a DINO or DINOv2 of timm."""

from __future__ import annotations

import timm
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sclip_seg_ros.segmentation.backbones.cuda_graphs import Replayed
from sclip_seg_ros.segmentation.backbones.families.timm_vit import TimmViT
from sclip_seg_ros.segmentation.backbones.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    normalise,
)
from sclip_seg_ros.segmentation.backbones.proxies.table import PROXIES


class ProxyTower(TimmViT):
    """A DINO or DINOv2, whose positions are fitted to a grid as their own code does."""

    def __init__(self, network: nn.Module, name: str, registers: bool = False) -> None:
        """Wrap timm's model; see :data:`table.PROXIES` for the names."""
        super().__init__(network, name)
        self.guard, self.antialias = not registers, registers


class Proxy:
    """Images in, features out; by these places are compared.

    Attributes:
        name: key in :data:`table.PROXIES`.
        origin: where its weights come from, with their SHA-256.
        tower: as CUDA graphs where :meth:`record` made some.
        network: with weights that go where the model goes.
    """

    def __init__(self, name: str, network: nn.Module, origin: str = "") -> None:
        """Hold timm's model with its weights."""
        self.name, self.network, self.origin = name, network, origin
        self._backbone = ProxyTower(network, name, PROXIES[name].registers)
        self.tower = Replayed(self._tokens, lambda: self._backbone.place)

    @property
    def width(self) -> int:
        """Length of a feature."""
        return self._backbone.width

    def moved(self) -> None:
        """Let go of what was recorded: the weights are at another place in memory."""
        self._backbone.place = type(self._backbone.place)()

    def __call__(self, windows: Tensor) -> Tensor:
        """Return the features (N, C, h, w) of windows (N, 3, H, W) RGB in 0..1, not normalised."""
        images = self._fitted(windows)
        grid = self._backbone.grid(*images.shape[-2:])
        return self.tower(images).transpose(1, 2).unflatten(2, grid)

    def record(self, windows: Tensor) -> None:
        """Record the tower as a CUDA graph for windows of this shape, if that makes it faster."""
        self.tower.record(self._fitted(windows))

    def _fitted(self, windows: Tensor) -> Tensor:
        """Normalise windows, stretched to whole patches so that no rim is left unseen."""
        patch = self._backbone.patch_size
        size = tuple(max(1, round(side / patch)) * patch for side in windows.shape[-2:])
        if size != tuple(windows.shape[-2:]):
            windows = interpolate(windows, size=size, mode="bilinear", align_corners=False)
        return normalise(windows, IMAGENET_MEAN, IMAGENET_STD)

    def _tokens(self, images: Tensor) -> Tensor:
        return self._backbone.plain_tokens(self._backbone.penultimate(images))


def build_network(name: str) -> nn.Module:
    """Create the model of a proxy; its weights are random."""
    return timm.create_model(PROXIES[name].architecture, pretrained=False, num_classes=0)


def proxy_names_of_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights in DINO's and DINOv2's own files timm's names; leave others as they are.

    Their position of the class token is added to it where there are registers: timm keeps none.
    """
    found = {name.removeprefix("module.").removeprefix("backbone."): value
             for name, value in state.items()}
    found.pop("mask_token", None)
    if "register_tokens" in found:
        found["reg_token"] = found.pop("register_tokens")
        found["cls_token"] = found["cls_token"] + found["pos_embed"][:, :1]
        found["pos_embed"] = found["pos_embed"][:, 1:]
    return found
