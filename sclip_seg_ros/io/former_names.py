"""Names that the node's parameters had before their groups were written with a dot.

Files in use have them; they are understood at start until 0.1.0 is out.
"""

from __future__ import annotations

_GROUPS = {
    "loftup": "adaptive factor contract source allow_fallback",
    "anyup": "factor source",
    "proxy": "model source precision beta gamma",
    "resclip": "variant rcs sfr blocks rcs_temperature rcs_weight sfr_temperature sfr_weight "
               "sfr_threshold sfr_logit_scale documents_weight documents_temperature "
               "documents_blend",
    "image_words": "image_share patch_share distance",
    "clusters": "radius least",
    "tlp": "steps cells",
    "pamr": "steps dilations resolution",
    "crf": "backend iterations gaussian_sxy gaussian_compat bilateral_sxy bilateral_srgb "
           "bilateral_compat resolution",
}
# Present names by former ones: crf_iterations is crf.iterations.
FORMERLY = {f"{group}_{name}": f"{group}.{name}"
            for group, names in _GROUPS.items() for name in names.split()}
