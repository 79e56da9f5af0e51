"""Everything that decides how an image becomes labels, in one immutable object."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.common.settings import (
    Settings,
    check_number,
    choice,
    group,
    number,
    switch,
)
from sclip_seg_ros.models.devices import PRECISIONS
from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS, AUTO, automatic_attention
from sclip_seg_ros.segmentation.backbones.proxies.table import ProxySettings
from sclip_seg_ros.segmentation.refinement import REFINEMENTS
from sclip_seg_ros.segmentation.refinement.clusters import ClusterSettings
from sclip_seg_ros.segmentation.refinement.dense_crf.settings import CrfSettings
from sclip_seg_ros.segmentation.refinement.pamr import PamrSettings
from sclip_seg_ros.segmentation.refinement.tlp import TlpSettings
from sclip_seg_ros.segmentation.resclip.settings import ResClipSettings
from sclip_seg_ros.segmentation.text.image_words import ImageWordsSettings
from sclip_seg_ros.segmentation.upsamplers import UPSAMPLERS, upsampler_of
from sclip_seg_ros.segmentation.upsamplers.anyup.upsampler import AnyUpSettings
from sclip_seg_ros.segmentation.upsamplers.loftup.upsampler import LoftUpSettings

INFERENCES = (AUTO, "slide", "whole")
DECISION = "Decision"   # section of the settings that decide labels from scores
LEAST_SIDE = 16         # pixels; of an image that is worked on
LEAST_STRIDE = 8        # pixels; of 1, a picture of 640x480 has some 100 000 windows


@dataclass(frozen=True)
class SegmentorSettings(Settings):
    """How an image becomes labels. Every stage can be switched on and off alone.

    Published settings for the public datasets are ready-made profiles under ``config/profiles``.
    """

    attention: str = choice(
        AUTO, ChainMap[str, Any]({AUTO: None}, ATTENTIONS), "Rule of the last block's "
        "self-attention, or method for the whole tower; auto: what suits the model "
        "(docs/methods.md).",
        section="Features")
    residual: bool = switch(True, "Keep the last block's residual and feed-forward network.",
                            section="Features")
    naclip_sigma: float = number(5.0, 1e-3, 1e3, "Width of NACLIP's neighbourhood.",
                                 unit="patches", section="Features")
    pearl_alpha: float = number(0.08, 0.0, 10.0, "Weight of the keys among themselves in PEARL's "
                                "attention.", section="Features")

    inference: str = choice(AUTO, INFERENCES, "'slide': overlapping windows; 'whole': the image "
                            "in one forward; auto: what suits the model, or slide. With LoftUp, "
                            "which is trained on squares, auto is slide.", section="Features")
    short_side: int = number(0, 0, 4096, "A larger image is shrunk to it before it is labelled. "
                             "0: what suits the model, or 336; 336 with LoftUp.", unit="pixels",
                             section="Features")
    enlarge: bool = switch(
        False, "Enlarge a smaller image to short_side as well, and keep its exact proportions, as "
        "the papers' own code does; otherwise a side that holds no full window is rounded to "
        "whole patches.", section="Features")
    antialias: bool = switch(True, "Low-pass filter when shrinking; the papers' own code does "
                             "without.", section="Features")
    crop: int = number(224, 16, 4096, "Side of a window; rounded down to whole patches, but for "
                       "'enlarge'.", unit="pixels", section="Features")
    stride: int = number(112, LEAST_STRIDE, 4096, "Step between windows, at most crop.",
                         unit="pixels", section="Features")
    window_taper: bool = switch(True, "Where windows overlap, let each count less towards its "
                                "rims; the papers average them.", section="Features")
    window_batch: int = number(32, 1, 4096, "Windows in one forward at most; less needs less "
                               "memory.", section="Features")

    logit_scale: float = number(0.0, 0.0, 1000.0, "Inverse softmax temperature; 0: the model's "
                                "own.", section=DECISION)
    probability_threshold: float = number(
        0.0, 0.0, 1.0, "Pixels whose best class is less probable become background or unlabelled. "
        "Synonyms share a class's probability and lower it: choose the threshold with the words "
        "in use.", section=DECISION)
    area_threshold: float = number(0.0, 0.0, 1.0, "Share of the foreground that a class must cover "
                                   "to be kept.", section=DECISION)
    prune_below: float = number(
        0.0, 0.0, 1.0, "Classes whose highest probability in the image stays below are left out "
        "before scores are refined and decided; 0: none.", section=DECISION)
    decode_resolution: float = number(
        1.0, 0.05, 1.0, "Side of the grid that labels are decided on, as a share of the image's "
        "side; a smaller one is faster and its pixels are repeated. Without effect on the CRF.",
        section=DECISION)

    use_loftup: bool = switch(False, "Enlarge features with LoftUp. Its weights are loaded when it "
                              "is first switched on; until they are there, frames are labelled "
                              "without it.")
    use_anyup: bool = switch(False, "Enlarge the stitched scores with AnyUp, once an image; for "
                             "any model. Not together with LoftUp.")
    use_proxy: bool = switch(False, "ProxyCLIP: a second tower's features decide which places "
                             "attend to each other, in place of attention and residual; LoftUp "
                             "then enlarges those features. Its weights are loaded when it is "
                             "first switched on.")
    use_resclip: bool = switch(False, "ResCLIP: attention of earlier blocks, and a second pass "
                               "with feedback.")
    use_image_words: bool = switch(
        False, "RF-CLIP's text side: words move towards what an image shows, and the image as a "
        "whole counts too; runs the tower once more.")
    use_clusters: bool = switch(False, "CLIPtrase's clusters: patches that correlate share their "
                                "mean scores; runs the tower once more.")
    use_tlp: bool = switch(False, "PEARL's label propagation of the scores, on a small grid.")
    use_pamr: bool = switch(True, "Pixel-adaptive mask refinement of the scores.")
    use_densecrf: bool = switch(False, "Fully connected CRF at the camera's size; slow.")
    loftup: LoftUpSettings = group(LoftUpSettings, "use_loftup")
    anyup: AnyUpSettings = group(AnyUpSettings, "use_anyup")
    proxy: ProxySettings = group(ProxySettings, "use_proxy")
    resclip: ResClipSettings = group(ResClipSettings, "use_resclip")
    image_words: ImageWordsSettings = group(ImageWordsSettings, "use_image_words")
    clusters: ClusterSettings = group(ClusterSettings, "use_clusters")
    tlp: TlpSettings = group(TlpSettings, "use_tlp")
    pamr: PamrSettings = group(PamrSettings, "use_pamr")
    crf: CrfSettings = group(CrfSettings, "use_densecrf")

    precision: str = choice(
        "auto", PRECISIONS, "Arithmetic of the image tower; auto: bf16 or fp16 on CUDA, bf16 on a "
        "CPU with AVX512_BF16 or AMX, else fp32.", fixed=True, section="Model")

    def __post_init__(self) -> None:
        """Refuse values that no stage could work with.

        Raises:
            ValueError: naming the setting, its value and what is allowed.
        """
        super().__post_init__()
        self.check()
        upsampler_of(self)
        if self.use_proxy and self.use_resclip and self.resclip.variant == "paper":
            raise ValueError("use_proxy and use_resclip cannot both be on, because both replace "
                             "the last block's attention; switch one of them off, or set "
                             "resclip.variant to 'documents'")
        if 0 < self.short_side < LEAST_SIDE:
            raise ValueError(f"short_side must be {LEAST_SIDE} to 4096, or 0 for what suits the "
                             f"model, got {self.short_side}")
        check_number("stride", self.stride, LEAST_STRIDE, self.crop, int)

    def for_model(self, model: str, usual: str = "sclip",
                  suits: Mapping[str, Any] | None = None) -> SegmentorSettings:
        """Return the settings with what is left to the model decided.

        Args:
            model: name of the model and its weights, e.g. "ViT-B-16-quickgelu/openai".
            usual: rule of attention that suits the family of its image tower.
            suits: what the model's own configuration states.

        Raises:
            ValueError: it states what is not left to a model, or what no setting can be.
        """
        stated: dict[str, Any] = {"attention": usual, "inference": "slide", "short_side": 336}
        for name, value in (suits or {}).items():
            if name not in stated:
                raise ValueError(f"the configuration of model '{model}' states '{name}', which is "
                                 f"not left to models; {', '.join(stated)} are")
            stated[name] = value
        upsampler = upsampler_of(self)
        if upsampler is not None:
            stated |= UPSAMPLERS[upsampler].suits
        published_resclip = self.use_resclip and self.resclip.variant == "paper"
        stated["attention"] = automatic_attention(model, published_resclip, stated["attention"])
        return self.with_changes({name: value for name, value in stated.items()
                                  if getattr(self, name) == self.own()[name].default})

    @classmethod
    def stages(cls) -> dict[str, str]:
        """Return the switches of the stages, each with the name of its group of settings."""
        return {item.switch: name for name, item in cls.own().items() if item.switch}

    def effective(self) -> SegmentorSettings:
        """Return the settings with those at their default that the others leave without effect.

        Those of stages that are off, and what a stage's group says of itself, among them.
        """
        own = self.own()
        unused = [name for switch, name in self.stages().items() if not getattr(self, switch)]
        read = () if self.attention == AUTO else ATTENTIONS[self.attention].settings
        unused += [name for row in ATTENTIONS.values() for name in row.settings
                   if name not in read]
        if self.inference == "whole":
            unused += ["crop", "stride", "window_taper", "window_batch"]
        if self.use_proxy:
            unused += ["attention", "residual"]
        if self.use_densecrf:  # it works, and decides, at its own resolution
            unused += ["decode_resolution"]
        groups = {name: getattr(self, name).effective() for name in self.stages().values()}
        return self.with_changes(groups | {name: own[name].default for name in unused})

    def scoring(self) -> SegmentorSettings:
        """Return settings with all at their defaults that an image's scores do not depend on.

        Those of what comes after the scores: upsamplers of scores, the refinements, the decision.
        Where refined scores are kept, they stay as they are until there are newer ones.
        """
        own = self.own()
        later = [name for name, item in own.items() if item.section == DECISION]
        later += [name for each in REFINEMENTS.values() for name in (each.switch, each.group)]
        later += [name for kind in UPSAMPLERS.values() if kind.of_scores
                  for name in (kind.switch, kind.group)]
        return self.with_changes({name: own[name].default for name in later
                                  if name in own}).effective()
