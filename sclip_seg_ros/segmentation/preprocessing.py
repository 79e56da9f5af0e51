"""From a camera's pixels to what the image tower wants."""

from __future__ import annotations

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.common.device_cache import device_cache
from sclip_seg_ros.segmentation.settings.settings import SegmentorSettings

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_LONG_SIDE = 2048  # pixels, as in the papers' protocol (scale=(2048, short side))
_DEEP_MODES = ("I", "F")  # PIL's 16 and 32 bit greys, which convert() would clip at 255


def to_tensor(image: np.ndarray | Tensor | Image, device: torch.device) -> Tensor:
    """Bring an RGB image to the device as uint8.

    Args:
        image: (H, W, 3) uint8, NumPy or torch; a NumPy array may be read-only or strided. Or a
            PIL image, which is converted to RGB.

    Returns:
        (3, H, W) uint8 on the device.

    Raises:
        ValueError: no array, another rank, channel count or dtype, or an empty image.
    """
    if isinstance(image, Image):
        if image.mode.startswith(_DEEP_MODES):
            raise ValueError(f"image has PIL mode {image.mode}; bring its values to 0..255 and "
                             "convert it to RGB")
        image = np.array(image.convert("RGB"))
    if not isinstance(image, (np.ndarray, Tensor)):
        raise ValueError(f"image is of type {type(image).__name__}; give a NumPy array or a "
                         "tensor (height, width, 3), or a PIL image")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image has shape {tuple(image.shape)}; give an RGB image (height, "
                         "width, 3)")
    kind = str(image.dtype).removeprefix("torch.")
    if kind != "uint8":
        raise ValueError(f"image has dtype {kind}; give uint8 values 0..255")
    if 0 in image.shape:
        raise ValueError(f"image of {image.shape[1]}x{image.shape[0]} pixels is empty; give at "
                         "least one pixel")
    if isinstance(image, np.ndarray):
        # Writable, because torch cannot express a read-only view such as a message's buffer.
        image = torch.from_numpy(np.require(image, requirements=["C", "W"]))
    return image.to(device).permute(2, 0, 1)


def working_size(height: int, width: int, short_side: int,
                 enlarge: bool = False) -> tuple[int, int]:
    """Return the size an image is worked on: short side at most ``short_side``, long side 2048.

    A smaller image keeps its size, unless ``enlarge`` brings it up to one of the two limits, as
    the papers' ``Resize(scale=(2048, short side), keep_ratio=True)`` does.
    """
    scale = min(short_side / min(height, width), MAX_LONG_SIDE / max(height, width))
    if not enlarge:
        scale = min(scale, 1.0)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def tower_size(height: int, width: int, settings: SegmentorSettings,
               patch: int) -> tuple[int, int]:
    """Return the size an image is worked on with given settings, by a tower of given patches.

    It is :func:`working_size`, but a side that holds no full window is rounded to whole patches:
    the tower drops a remainder, and its cells would be stretched over pixels that it never saw.
    A side smaller than one patch stays, to be refused. With ``enlarge``, the papers' own protocol,
    nothing is rounded: their code leaves the remainder out as well.
    """
    size = working_size(height, width, settings.short_side, settings.enlarge)
    if settings.enlarge:
        return size
    whole = settings.inference == "whole"
    rows, columns = ((side + patch // 2) // patch * patch
                     if side >= patch and (whole or side < settings.crop) else side
                     for side in size)
    return rows, columns


def tower_crop(settings: SegmentorSettings, patch: int) -> int:
    """Return the side of a window in pixels, rounded down to whole patches as in tower_size."""
    return settings.crop if settings.enlarge else settings.crop // patch * patch


def resize(image: Tensor, size: tuple[int, int], antialias: bool = True) -> Tensor:
    """Resize (3, H, W) uint8 to (3, h, w) float32 in 0..1, bilinear.

    On a CPU the antialiased result is rounded to whole grey levels, as any image library does:
    that takes a tenth of the time.
    """
    pixels = image[None]
    if tuple(image.shape[1:]) != size:
        if image.device.type != "cpu" or not antialias:
            pixels = pixels.float()
        pixels = interpolate(pixels, size=size, mode="bilinear", align_corners=False,
                             antialias=antialias)
    return pixels[0].float() / 255


def resize_pixels(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (3, H, W) uint8 to (3, h, w) uint8, bilinear and antialiased."""
    if tuple(image.shape[1:]) == size:
        return image
    pixels = image[None] if image.device.type == "cpu" else image[None].float()
    pixels = interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
    return pixels[0] if pixels.dtype == torch.uint8 else \
        pixels[0].round().clamp(0, 255).to(torch.uint8)


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Subtract the mean and divide by the deviation of each channel: (..., 3, H, W)."""
    shift, scale = _statistics(tuple(mean), tuple(std), pixels.device)
    return (pixels - shift) / scale


@device_cache(maxsize=16)
def _statistics(mean: tuple[float, ...], std: tuple[float, ...],
                device: torch.device) -> tuple[Tensor, Tensor]:
    """Return them as (3, 1, 1) tensors that wait on the device; do not write into them."""
    return tuple(torch.tensor(values, device=device).view(3, 1, 1) for values in (mean, std))
