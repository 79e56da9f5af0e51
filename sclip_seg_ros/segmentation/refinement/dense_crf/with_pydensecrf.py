"""Fully connected CRF by the authors' own permutohedral filter, through pydensecrf (CPU)."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CrfSettings


def load() -> ModuleType:
    """Import pydensecrf's native module.

    Raises:
        ImportError: it is not installed, or was built for another numpy.
    """
    try:
        from pydensecrf import densecrf
    except (ImportError, ValueError) as error:  # ValueError: numpy's report of an ABI mismatch
        raise ImportError(f"CRF backend 'pydensecrf' cannot be imported ({error}); run "
                          "'pip install pydensecrf2', or install this package with its extra "
                          "'.[crf]'") from error
    return densecrf


def mean_field(image: Tensor, probabilities: Tensor, settings: CrfSettings,
               keep_going: Callable[[], bool]) -> Tensor:
    """Run Q <- softmax(-U + w_g K_g Q + w_b K_b Q) with U = -log p and Potts compatibility.

    Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
    Potentials", NIPS 2011, algorithm 1; kernels normalised symmetrically, as in their code.

    Args:
        image: (H, W, 3) uint8 RGB.
        probabilities: (C, H, W) float32, above zero.
        settings: kernels and iterations.
        keep_going: asked before each iteration.

    Returns:
        (C, H, W) float32 on the probabilities' device.

    Raises:
        ImportError: pydensecrf is missing.
    """
    classes, height, width = probabilities.shape
    field = load().DenseCRF2D(width, height, classes)
    energy = -probabilities.detach().cpu().log().reshape(classes, -1)
    field.setUnaryEnergy(np.ascontiguousarray(energy.numpy()))
    field.addPairwiseGaussian(sxy=settings.gaussian_sxy, compat=settings.gaussian_compat)
    # The wrapper asks for a writable C-contiguous buffer, which a camera's image need not be.
    pixels = np.require(image.cpu().numpy(), requirements=("C", "W"))
    field.addPairwiseBilateral(sxy=settings.bilateral_sxy, srgb=settings.bilateral_srgb,
                               rgbim=pixels, compat=settings.bilateral_compat)
    # Step by step, because the library keeps Python's interpreter lock during a call: other
    # threads, such as a node's callbacks, get their turn between iterations.
    marginals, *scratch = field.startInference()
    for _ in range(settings.iterations):
        if not keep_going():
            break
        field.stepInference(marginals, *scratch)
    refined = torch.from_numpy(np.array(marginals, dtype=np.float32))
    return refined.view_as(probabilities).to(probabilities.device)
