"""What the fully connected CRF can be told."""

from __future__ import annotations

from dataclasses import dataclass

from sclip_seg_ros.common.settings import Settings, choice, number
from sclip_seg_ros.segmentation.refinement.refinement import MOST_ITERATIONS

CRF_BACKENDS = ("auto", "lattice", "pydensecrf", "bilateral")
CRF_LEAST_WIDTH = 0.5   # pixels or grey levels; the cells of a lattice much finer than an image's
                        # pixels cannot be numbered. Of 7680x4320 pixels they still can at 0.5.


@dataclass(frozen=True)
class CrfSettings(Settings):
    """Fully connected CRF (Kraehenbuehl and Koltun, NIPS 2011)."""

    backend: str = choice("auto", CRF_BACKENDS, "What computes the CRF; auto: the best at hand.")
    iterations: int = number(10, 0, MOST_ITERATIONS, "Iterations.")
    gaussian_sxy: float = number(3.0, CRF_LEAST_WIDTH, 1e4, "Smoothness: radius.", unit="pixels")
    gaussian_compat: float = number(3.0, 0.0, 1e4, "Smoothness: weight.")
    bilateral_sxy: float = number(80.0, CRF_LEAST_WIDTH, 1e4, "Appearance: radius.",
                                  unit="pixels")
    bilateral_srgb: float = number(13.0, CRF_LEAST_WIDTH, 1e4, "Appearance: difference of "
                                   "colours.", unit="grey levels")
    bilateral_compat: float = number(10.0, 0.0, 1e4, "Appearance: weight.")
    resolution: float = number(1.0, 0.05, 1.0, "Side of the copy it works on, as a share of the "
                               "image's side; a smaller one is faster.")
