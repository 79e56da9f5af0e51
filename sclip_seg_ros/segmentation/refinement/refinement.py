"""What every refinement is: a way to change maps by the edges of the image they belong to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from sclip_seg_ros.segmentation.refinement.anytime import Iterations

# More can only be a mistake, and would hold a camera's frames up for minutes; the papers run 10.
MOST_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class Context:
    """What a refinement may want to know besides images and maps.

    Attributes:
        words: (Q, D) embeddings of the words that scores belong to.
        correlate: from images (B, 3, H, W) RGB in 0..1 to how their patches correlate in the
            tower's block before the last, (B, P + h*w, P + h*w), and the patch grid (h, w).
    """

    words: Tensor
    correlate: Callable[[Tensor], tuple[Tensor, tuple[int, int]]]


class Refinement(ABC):
    """Change maps of scores, or of probabilities, by what the image shows.

    Attributes:
        name: of the stage in times, messages and tables.
        switch: name of the setting that switches it on.
        group: name of its group of settings.
        of_probabilities: whether it refines the classes' probabilities at the camera's size, one
            image after another; otherwise it refines the words' scores on :meth:`grid`, all images
            of one size together. Its cost grows with those pixels, and with the maps.
    """

    name: ClassVar[str]
    switch: ClassVar[str]
    group: ClassVar[str]
    of_probabilities: ClassVar[bool] = False

    def refuse(self, settings: Any, depth: int, prefix: int) -> None:
        """Refuse what cannot run on this machine, or with the tower, before any image comes.

        Args:
            settings: the group's.
            depth: number of the tower's blocks.
            prefix: number of its tokens before the patches.

        Raises:
            ValueError: naming the setting and the remedy.
        """
        return

    def in_context(self, context: Context) -> Refinement:
        """Return the refinement for one batch; itself where images and maps are all it wants."""
        return self

    def grid(self, settings: Any, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (h, w) that scores of an image of a size (H, W) are refined at: its pixels.

        Not asked for probabilities, which are refined at the camera's size.
        """
        return size

    @abstractmethod
    def iterations(self, settings: Any, maps: int) -> int:
        """Return how many iterations run on so many maps where nobody stops them."""

    @abstractmethod
    def __call__(self, images: Tensor, maps: Tensor, settings: Any,
                 keep_going: Iterations) -> Tensor:
        """Refine maps.

        Args:
            images: (B, 3, H, W) RGB, float in 0..1 or, of probabilities, uint8.
            maps: (B, M, h, w) float32; scores are of :meth:`grid`.
            settings: the group's.
            keep_going: asked before each iteration; what has been reached when it says no is
                returned.

        Returns:
            maps of the same shape and dtype.
        """
