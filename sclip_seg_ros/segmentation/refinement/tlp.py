"""Text-aware label propagation: scores spread to cells of like grey and like words.

The refinement of PEARL (CVPR 2026). Scores are averaged over the cells of a small grid, and tied to
their neighbours by edges that are strong where the grey value changes little and both cells agree
on the words. Sure cells keep their scores, the others take them over: (W + L) F = W Z, with Z the
scores, W the cells' confidence and L the graph's Laplacian, by a fixed number of
conjugate-gradient steps, which is also how far scores travel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from sclip_seg_ros.common.settings import Settings, number
from sclip_seg_ros.segmentation.refinement.anytime import Iterations
from sclip_seg_ros.segmentation.refinement.refinement import MOST_ITERATIONS, Context, Refinement

WORD_TEMPERATURE, OWN_WORD = 0.5, 10.0   # of the words' likeness; what a word's own gets on top
LEAST_CONFIDENCE = 0.05
CONTRAST = 5.0                           # how much a change of grey weakens an edge
GREY = (0.299, 0.587, 0.114)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)  # published for CLIP's normalised images


@dataclass(frozen=True)
class TlpSettings(Settings):
    """Text-aware label propagation (PEARL, CVPR 2026)."""

    steps: int = number(25, 0, MOST_ITERATIONS, "Conjugate-gradient steps: how far scores spread.")
    cells: int = number(80, 1, 1024, "Cells on each side of the grid; for streets PEARL takes 224.")


class Tlp(Refinement):
    """PEARL's label propagation, of the words' scores."""

    name, switch, group = "tlp", "use_tlp", "tlp"

    def __init__(self, words: Tensor | None = None) -> None:
        """Refine scores of words (Q, D); None before they are known, see :meth:`in_context`."""
        self._words = words

    def in_context(self, context: Context) -> Tlp:
        """Return one for the words of the scores."""
        return Tlp(context.words)

    def iterations(self, settings: TlpSettings, maps: int) -> int:
        """Return the number of conjugate-gradient steps."""
        return settings.steps

    def __call__(self, images: Tensor, maps: Tensor, settings: TlpSettings,
                 keep_going: Iterations) -> Tensor:
        """Propagate scores (B, Q, h, w) along images (B, 3, H, W) in 0..1."""
        assert self._words is not None, "in_context() comes before the first image"
        scale = torch.tensor(DEVIATION, device=images.device).view(3, 1, 1)
        system = LabelSystem.of(images / scale, maps, self._words, settings.cells)
        propagated = propagate(system, settings.steps, keep_going)
        return interpolate(propagated, size=maps.shape[-2:], mode="bilinear").to(maps.dtype)


@dataclass(frozen=True, eq=False)
class LabelSystem:
    """The linear system of one batch; images do not touch one another.

    Attributes:
        scores: (B, Q, h, w) float32 on the grid, Z.
        confidence: (B, 1, h, w), W.
        right: (B, 1, h, w - 1) strength of the edge to the right.
        down: (B, 1, h - 1, w) of that downwards.
    """

    scores: Tensor
    confidence: Tensor
    right: Tensor
    down: Tensor

    @classmethod
    def of(cls, images: Tensor, scores: Tensor, words: Tensor, cells: int) -> LabelSystem:
        """Build the system.

        Args:
            images: (B, 3, H, W), channels divided by CLIP's deviations; what they are counted
                from does not matter.
            scores: (B, Q, H, W) cosines.
            words: (Q, D) embeddings of length 1.
            cells: wanted on each side. A cell is a whole number of pixels, halves rounded to even;
                rows and columns that fill none are left out, as in the published code.
        """
        kernel = [max(1, round(side / cells)) for side in scores.shape[-2:]]
        pooled, pictures = (avg_pool2d(x.float(), kernel, kernel) for x in (scores, images))
        own = own_share(words)[:, None, None]
        probabilities = pooled.softmax(1)
        agreement = (own * probabilities.square()).sum(1, keepdim=True)
        surest = probabilities.amax(1, keepdim=True).clamp_min(LEAST_CONFIDENCE)
        grey = (pictures * pictures.new_tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True)
        right, down = (_edges(grey, probabilities, own, axis) for axis in (3, 2))
        return cls(pooled, surest.square() * (1.0 + agreement), right, down)

    def apply(self, values: Tensor) -> Tensor:
        """Return (W + L) values, (B, Q, h, w)."""
        product = self.confidence * values
        across = self.right * values.diff(dim=3)
        along = self.down * values.diff(dim=2)
        product[..., 1:] += across
        product[..., :-1] -= across
        product[..., 1:, :] += along
        product[..., :-1, :] -= along
        return product


def own_share(words: Tensor) -> Tensor:
    """Return how much of its likeness to all words each word has to itself, (Q,).

    The published code reads nothing but this diagonal of the words' matrix.
    """
    words = words.float()
    likeness = torch.softmax(words @ words.T / WORD_TEMPERATURE, dim=-1)
    likeness += OWN_WORD * torch.eye(len(words), device=words.device)
    return likeness.diagonal() / likeness.sum(-1)


def propagate(system: LabelSystem, steps: int, keep_going: Iterations) -> Tensor:
    """Take conjugate-gradient steps from the scores themselves, until one is refused.

    All words and cells of an image share one step size.

    Returns:
        (B, Q, h, w).
    """
    values = system.scores
    residual = system.confidence * values - system.apply(values)
    direction, squared = residual, _dot(residual, residual)
    for _ in range(steps):
        if not keep_going():
            break
        image = system.apply(direction)
        step = squared / _dot(direction, image).clamp_min(torch.finfo(torch.float32).tiny)
        values = values + step * direction
        residual = residual - step * image
        former, squared = squared, _dot(residual, residual)
        direction = residual \
            + squared / former.clamp_min(torch.finfo(torch.float32).tiny) * direction
    return values


def _edges(grey: Tensor, probabilities: Tensor, own: Tensor, axis: int) -> Tensor:
    """Return the strength, 0 to 1, of the edges to the next cell along an axis."""
    count = grey.shape[axis] - 1
    change = grey.diff(dim=axis).abs()
    mean = change.mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
    here, there = (probabilities.narrow(axis, start, count) for start in (0, 1))
    shared = (own * here * there).sum(1, keepdim=True).clamp(0.0, 1.0)
    return (torch.exp(-CONTRAST * change / mean) * (1.0 + shared)).clamp(max=1.0)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=(1, 2, 3), keepdim=True)
