"""Which towers can be a proxy: DINO's and DINOv2's, as timm builds and publishes them."""

from __future__ import annotations

from dataclasses import dataclass

from sclip_seg_ros.common.settings import Settings, choice, number, text
from sclip_seg_ros.models.devices import PRECISIONS


@dataclass(frozen=True)
class ProxyKind:
    """A row of the table of proxies.

    Attributes:
        architecture: in timm.
        repository: of timm's weights in the hub.
        width: length of its features.
        registers: DINOv2 with registers, which stretches its positions smoothly.
    """

    architecture: str
    repository: str
    width: int
    registers: bool = False


_WIDTHS = {"small": 384, "base": 768, "large": 1024}


def _dino(size: str, patch: int) -> ProxyKind:
    name = f"vit_{size}_patch{patch}_224"
    return ProxyKind(name, f"timm/{name}.dino", _WIDTHS[size])


def _dinov2(size: str, registers: bool = False) -> ProxyKind:
    name = f"vit_{size}_patch14_{'reg4_' if registers else ''}dinov2"
    return ProxyKind(name, f"timm/{name}.lvd142m", _WIDTHS[size], registers)


PROXIES: dict[str, ProxyKind] = {  # by the names that their authors gave them
    "dinov2_vits14": _dinov2("small"),
    "dinov2_vitb14": _dinov2("base"),
    "dinov2_vitl14": _dinov2("large"),
    "dinov2_vits14_reg": _dinov2("small", True),
    "dinov2_vitb14_reg": _dinov2("base", True),
    "dinov2_vitl14_reg": _dinov2("large", True),
    "dino_vits16": _dino("small", 16),
    "dino_vits8": _dino("small", 8),
    "dino_vitb16": _dino("base", 16),
    "dino_vitb8": _dino("base", 8),
}


@dataclass(frozen=True)
class ProxySettings(Settings):
    """Attention by another tower's features, as ProxyCLIP's (Lan et al., ECCV 2024)."""

    model: str = choice("dinov2_vitb14", PROXIES, "Tower by whose features places are compared.",
                        fixed=True)
    source: str = text(
        "hub", "Its weights: 'hub' for timm's copies, the path of a file, or literally 'random'; "
        "'hub@<commit>' pins a download, '...#sha256=<checksum>' any file.",
        hint="'hub' or the path of a file", fixed=True)
    precision: str = choice("auto", PRECISIONS, "Arithmetic of that tower; auto: the model's.",
                            fixed=True)
    beta: float = number(1.2, 0.0, 10.0, "Share of the mean likeness below which places do not "
                         "attend to each other.")
    gamma: float = number(3.0, 1e-3, 1e3, "Sharpness of the attention.")
