"""From a camera's pixels to what the image tower wants."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_LONG_SIDE = 2048  # pixels, as in the papers' protocol (scale=(2048, short side))


def to_tensor(image: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Bring an RGB image to the device as uint8.

    Args:
        image: (H, W, 3) uint8, NumPy or torch.

    Returns:
        (3, H, W) uint8 on the device.

    Raises:
        ValueError: another rank, channel count or dtype, or an empty image.
    """
    tensor = image
    if isinstance(image, np.ndarray):
        tensor = torch.from_numpy(np.ascontiguousarray(image))
    if not isinstance(tensor, Tensor) or tensor.ndim != 3 or tensor.shape[2] != 3:
        shape = tuple(getattr(tensor, "shape", ()))
        raise ValueError(f"image has shape {shape}; give an RGB image (height, width, 3)")
    if tensor.dtype != torch.uint8:
        raise ValueError(f"image has dtype {tensor.dtype}; give uint8 values 0..255")
    if not tensor.numel():
        raise ValueError(f"image of {tensor.shape[1]}x{tensor.shape[0]} pixels is empty")
    return tensor.to(device).permute(2, 0, 1)


def working_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return the size an image is shrunk to: short side at most ``short_side``, never enlarged.

    The long side is kept to 2048 pixels as well.
    """
    scale = min(1.0, short_side / min(height, width), MAX_LONG_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(image: Tensor, size: tuple[int, int], antialias: bool = True) -> Tensor:
    """Resize (3, H, W) uint8 to (3, h, w) float32 in 0..1, bilinear."""
    pixels = image[None].float() / 255
    if tuple(image.shape[1:]) != size:
        pixels = interpolate(pixels, size=size, mode="bilinear", align_corners=False,
                             antialias=antialias)
    return pixels[0]


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Subtract the mean and divide by the deviation of each channel: (..., 3, H, W)."""
    shift = torch.tensor(mean, device=pixels.device).view(3, 1, 1)
    scale = torch.tensor(std, device=pixels.device).view(3, 1, 1)
    return (pixels - shift) / scale
