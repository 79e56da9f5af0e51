"""From a camera's pixels to what the image tower wants."""

from __future__ import annotations

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import interpolate

from sclip_seg_ros.common.device_cache import device_cache

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
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
