"""What ResCLIP can be told."""

from __future__ import annotations

from dataclasses import dataclass

from sclip_seg_ros.common.settings import Settings, choice, number, switch

VARIANTS = ("paper", "documents")
BLOCKS = ("auto", "5-8")


@dataclass(frozen=True)
class ResClipSettings(Settings):
    """ResCLIP (Yang et al., CVPR 2025), as published or as the design documents describe it."""

    variant: str = choice("paper", VARIANTS, "As published, or as the project's design "
                          "documents describe it (docs/reproducing.md).")
    rcs: bool = switch(True, "Residual cross-correlation self-attention.")
    sfr: bool = switch(True, "Semantic feedback refinement.")
    blocks: str = choice("auto", BLOCKS, "Blocks, counted from 0, whose attention the "
                         "cross-correlation takes: 5-8 in towers of any depth, as in the authors' "
                         "code, or those at like places by the tower's depth.")
    rcs_temperature: float = number(2.0, 1e-3, 1e3, "Temperature of the cross-correlation.")
    rcs_weight: float = number(0.4, 0.0, 1.0, "Weight of the cross-correlation.")
    sfr_temperature: float = number(1.8, 1e-3, 1e3, "Temperature of the feedback.")
    sfr_weight: float = number(0.7, 0.0, 1.0, "Weight of the feedback.")
    sfr_threshold: float = number(0.25, 0.0, 1.0, "Probability below which the first pass gives "
                                  "label 0.")
    sfr_logit_scale: float = number(40.0, 0.0, 1000.0, "Inverse softmax temperature of the first "
                                    "pass.")
    documents_weight: float = number(0.3, 0.0, 10.0, "Variant 'documents': weight of the attended "
                                     "features.")
    documents_temperature: float = number(0.07, 1e-3, 1e3, "Variant 'documents': temperature.")
    documents_blend: float = number(0.6, 0.0, 1.0, "Variant 'documents': share of the finer "
                                    "scale.")
