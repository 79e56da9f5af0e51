"""Refinements: what changes scores or probabilities by the edges of the image.

The registry names them all; whoever wants to run, measure or describe them asks it.
"""

from sclip_seg_ros.segmentation.refinement.clusters import Clusters
from sclip_seg_ros.segmentation.refinement.dense_crf import DenseCrf
from sclip_seg_ros.segmentation.refinement.pamr import Pamr
from sclip_seg_ros.segmentation.refinement.refinement import Context, Refinement
from sclip_seg_ros.segmentation.refinement.tlp import Tlp
from sclip_seg_ros.segmentation.settings.settings import DECISION, SegmentorSettings

REFINEMENTS: dict[str, Refinement] = {  # in the order they run
    refinement.name: refinement for refinement in (Clusters(), Tlp(), Pamr(), DenseCrf())}


def refinements_of(settings: SegmentorSettings) -> list[Refinement]:
    """Return the refinements that settings switch on, in the order they run."""
    return [refinement for refinement in REFINEMENTS.values()
            if getattr(settings, refinement.switch, False)]


def scoring_settings(settings: SegmentorSettings) -> SegmentorSettings:
    """Return settings with all at their defaults that an image's scores do not depend on.

    Those of what comes after the scores: AnyUp, the refinements, the decision. Where refined scores
    are kept, they stay as they are until there are newer ones.
    """
    own = settings.own()
    later = ["use_anyup", "anyup"]
    later += [name for name, item in own.items() if item.section == DECISION]
    later += [name for each in REFINEMENTS.values() for name in (each.switch, each.group)
              if name in own]
    return settings.with_changes({name: own[name].default for name in later}).effective()


__all__ = ["REFINEMENTS", "Context", "Refinement", "refinements_of", "scoring_settings"]
