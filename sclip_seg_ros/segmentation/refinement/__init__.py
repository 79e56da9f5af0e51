"""Refinements: what changes scores or probabilities by the edges of the image.

The registry names them all; whoever wants to run, measure or describe them asks it.
"""

from sclip_seg_ros.common.settings import Settings
from sclip_seg_ros.segmentation.refinement.clusters import Clusters
from sclip_seg_ros.segmentation.refinement.dense_crf.dense_crf import DenseCrf
from sclip_seg_ros.segmentation.refinement.pamr import Pamr
from sclip_seg_ros.segmentation.refinement.refinement import Context, Refinement
from sclip_seg_ros.segmentation.refinement.tlp import Tlp

REFINEMENTS: dict[str, Refinement] = {  # in the order they run
    refinement.name: refinement for refinement in (Clusters(), Tlp(), Pamr(), DenseCrf())}


def refinements_of(settings: Settings) -> list[Refinement]:
    """Return the refinements that settings switch on, in the order they run."""
    return [refinement for refinement in REFINEMENTS.values()
            if getattr(settings, refinement.switch, False)]


__all__ = ["REFINEMENTS", "Context", "Refinement", "refinements_of"]
