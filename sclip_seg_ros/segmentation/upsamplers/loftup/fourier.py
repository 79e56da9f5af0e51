"""Fourier features of coordinates and colours, LoftUp's input, always in float32.

The highest frequency is exp(10) = 22026 cycles per 2 pi, so that rounding a colour to half
precision turns its sine into noise. Nothing in this module follows autocast or half weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LOG_FREQUENCIES = (-2.0, 10.0)
_SMALLEST_RANGE = 1e-4


class MinMaxScaler(nn.Module):
    """Scale every channel of every image to [-0.5, 0.5].

    The authors' code takes the range over the whole batch, which makes an image's result depend on
    its neighbours; taken per image, a batch equals its images one by one.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, C, H, W) float32; a channel without contrast becomes -0.5."""
        image = image.float()
        low = image.amin(dim=(2, 3), keepdim=True)
        span = image.amax(dim=(2, 3), keepdim=True) - low
        return (image - low) / span.clamp_min(_SMALLEST_RANGE) - 0.5


class FourierFeatures(nn.Module):
    """Sines and cosines of pixel coordinates and, if wanted, of colours, with learned phases.

    Huang et al., LoftUp, ICCV 2025. Channels: all sines (frequency-major, then y, x, r, g, b), all
    cosines, and the colours themselves.
    """

    def __init__(self, frequencies: int, colour: bool) -> None:
        """Prepare for images with three colour channels, or for coordinates alone."""
        super().__init__()
        self.frequencies = frequencies
        self.colour = colour
        self.axes = 5 if colour else 2
        self.biases = nn.Parameter(torch.zeros(2, self.axes, frequencies))

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return 2 * self.axes * self.frequencies + (3 if self.colour else 0)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, channels, H, W) float32 for (B, 3, H, W), whatever autocast says.

        Without colour only the batch, size and device of ``image`` matter.
        """
        with torch.autocast(image.device.type, enabled=False):
            height, width = image.shape[-2:]
            signals = coordinates(height, width, image.device).expand(len(image), -1, -1, -1)
            if self.colour:
                signals = torch.cat([signals, image.float()], dim=1)
            angles = signals.unsqueeze(1) * self._frequencies(image.device)
            sine_phase, cosine_phase = self._phases()
            waves = [torch.sin(angles + sine_phase).flatten(1, 2),
                     torch.cos(angles + cosine_phase).flatten(1, 2)]
            return torch.cat(waves + ([image.float()] if self.colour else []), dim=1)

    def _frequencies(self, device: torch.device) -> Tensor:
        exponents = torch.linspace(*_LOG_FREQUENCIES, self.frequencies, device=device)
        return exponents.exp().reshape(1, -1, 1, 1, 1)

    def _phases(self) -> Tensor:
        # The stored (axes, frequencies) is read as (frequencies, axes) without a transpose: the
        # published weights were trained that way.
        return self.biases.float().reshape(2, 1, self.frequencies, self.axes, 1, 1)


def coordinates(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return y and x of every pixel, from -1 at the first to 1 at the last: (1, 2, H, W)."""
    rows = torch.linspace(-1.0, 1.0, height, device=device)
    columns = torch.linspace(-1.0, 1.0, width, device=device)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij")).unsqueeze(0)
