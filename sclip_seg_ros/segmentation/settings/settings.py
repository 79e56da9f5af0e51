"""Everything that decides how an image becomes labels, in one immutable object."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sclip_seg_ros.segmentation.backbones.attention import ATTENTIONS, AUTO, automatic_attention
from sclip_seg_ros.segmentation.backbones.proxies.table import PROXIES
from sclip_seg_ros.segmentation.settings.declaration import (
    Settings,
    by_name,
    check_number,
    choice,
    group,
    number,
    numbers,
    switch,
    text,
)

INFERENCES = (AUTO, "slide", "whole")
CONTRACTS = ("auto", "value", "attended", "plain")
RESCLIP_VARIANTS = ("paper", "documents")
RESCLIP_BLOCKS = ("auto", "5-8")
CRF_BACKENDS = ("auto", "lattice", "pydensecrf", "bilateral")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DECISION = "Decision"   # section of the settings that decide labels from scores
# More can only be a mistake, and would hold a camera's frames up for minutes.
MOST_ITERATIONS = 100   # of PAMR and of the CRF; the papers run 10
MOST_DILATIONS = 16
LEAST_SIDE = 16         # pixels; of an image that is worked on
LEAST_STRIDE = 8        # pixels; of 1, a picture of 640x480 has some 100 000 windows
CRF_LEAST_WIDTH = 0.5   # pixels or grey levels; the cells of a lattice much finer than an image's
                        # pixels cannot be numbered. Of 7680x4320 pixels they still can at 0.5.


@dataclass(frozen=True)
class LoftUpSettings(Settings):
    """LoftUp upsampling (Huang et al., ICCV 2025)."""

    adaptive: bool = switch(True, "Choose LoftUp's factor from the grid's size.")
    factor: float = number(2.0, 1.0, 16.0, "Enlargement where it is not adaptive.")
    contract: str = choice("auto", CONTRACTS, "Features that LoftUp is fed: 'value', 'attended', "
                           "'plain', or as it was trained.")
    source: str = text(
        "auto", "LoftUp's weights: 'embedded', 'hub', 'torch-hub', 'hub:siglip2' and the like, the "
        "path of a checkpoint, 'bilinear' for interpolation without any, or 'auto' for the model's "
        "own. "
        "'hub@<commit>' pins a download, '...#sha256=<checksum>' any file.",
        hint="'auto', 'embedded', 'hub', 'torch-hub', 'bilinear' or the path of a checkpoint",
        fixed=True)
    allow_fallback: bool = switch(False, "Enlarge bilinearly, with a warning and a mark in the "
                                  "status, where LoftUp cannot be loaded.", shared=True)


@dataclass(frozen=True)
class AnyUpSettings(Settings):
    """AnyUp upsampling of scores (Wimmer et al., 2025)."""

    factor: float = number(4.0, 1.0, 16.0, "Enlargement of the scores.")
    source: str = text(
        "release", "AnyUp's weights: 'release' for its authors' file for many backbones, or the "
        "path of a file; '...#sha256=<checksum>' pins it.",
        hint="'release' or the path of a file", fixed=True)


@dataclass(frozen=True)
class ProxySettings(Settings):
    """Attention by another tower's features, as ProxyCLIP's (Lan et al., ECCV 2024)."""

    model: str = choice("dinov2_vitb14", PROXIES, "Tower by whose features places are compared.",
                        fixed=True)
    source: str = text(
        "hub", "Its weights: 'hub' for timm's copies, the path of a file, or literally 'random'; "
        "'hub@<commit>' pins a download, '...#sha256=<checksum>' any file.",
        hint="'hub' or the path of a file", fixed=True)
    precision: str = choice("auto", PRECISIONS, "Arithmetic of that tower; auto: the model's.",
                            fixed=True)
    beta: float = number(1.2, 0.0, 10.0, "Share of the mean likeness below which places do not "
                         "attend to each other.")
    gamma: float = number(3.0, 1e-3, 1e3, "Sharpness of the attention.")


@dataclass(frozen=True)
class ResClipSettings(Settings):
    """ResCLIP (Yang et al., CVPR 2025), as published or as the design documents describe it."""

    variant: str = choice("paper", RESCLIP_VARIANTS, "As published, or as the project's design "
                          "documents describe it (docs/reproducing.md).")
    rcs: bool = switch(True, "Residual cross-correlation self-attention.")
    sfr: bool = switch(True, "Semantic feedback refinement.")
    blocks: str = choice("auto", RESCLIP_BLOCKS, "Blocks, counted from 0, whose attention the "
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


@dataclass(frozen=True)
class ImageWordsSettings(Settings):
    """RF-CLIP's text side (AAAI 2026); its authors tune the three for each data set."""

    image_share: float = number(0.1, 0.0, 1.0, "Share of the word's likeness to the whole image "
                                "in its score.")
    patch_share: float = number(0.03, 0.0, 1.0, "Share of the best patches in a word that moves.")
    distance: float = number(0.1, 0.0, 2.0, "Cosine distance within which words form a cluster, "
                             "of which one moves.")


@dataclass(frozen=True)
class PamrSettings(Settings):
    """Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020).

    Published are 10 steps with dilations 8 and 16 at full resolution. The defaults take a fifteenth
    of that time and harm less where scores are good already: ``benchmarks/results/pamr.md``.
    """

    steps: int = number(4, 0, MOST_ITERATIONS, "Iterations.")
    dilations: tuple[int, ...] = numbers((3, 12), 1, 1024, MOST_DILATIONS,
                                         "Distances of the neighbours in the working "
                                         "image.", unit="pixels", items="steps")
    resolution: float = number(0.333, 0.05, 1.0, "Side of the copy it works on, as a share of the "
                               "working image's side (short_side); dilations shrink with it.")


@dataclass(frozen=True)
class TlpSettings(Settings):
    """Text-aware label propagation (PEARL, CVPR 2026)."""

    steps: int = number(25, 0, MOST_ITERATIONS, "Conjugate-gradient steps: how far scores spread.")
    cells: int = number(80, 1, 1024, "Cells on each side of the grid; for streets PEARL takes 224.")


@dataclass(frozen=True)
class ClusterSettings(Settings):
    """Clusters of patches that correlate (CLIPtrase, ECCV 2024)."""

    radius: float = number(1.1, 1e-3, 1e3, "Distance of rows of the correlation within which "
                           "patches are neighbours; it grows with the grid: 0.7 for 14 x 14 "
                           "patches, 1.1 for 21 x 21.")
    least: int = number(7, 1, 10_000, "Neighbours that begin a cluster, the patch itself "
                        "included; 3 for 14 x 14 patches.", unit="patches")


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
        if self.use_loftup and self.use_anyup:
            raise ValueError(two_upsamplers("use_loftup", "use_anyup"))
        if self.use_proxy and self.use_resclip and self.resclip.variant == "paper":
            raise ValueError("use_proxy and use_resclip cannot both be on, because both replace "
                             "the last block's attention; switch one of them off, or set "
                             "resclip.variant to 'documents'")
        if 0 < self.short_side < LEAST_SIDE:
            raise ValueError(f"short_side must be {LEAST_SIDE} to 4096, or 0 for what suits the "
                             f"model, got {self.short_side}")
        check_number("stride", self.stride, LEAST_STRIDE, self.crop, int)

    def with_changes(self, changes: Mapping[str, Any] | None = None, /,
                     **more: Any) -> SegmentorSettings:
        """Return a copy with some settings changed, see :meth:`Settings.with_changes`.

        A ``loftup.factor`` turns the adaptive one off, unless that is asked for as well.
        """
        changes = by_name([*(changes or {}).items(), *more.items()])
        if "loftup.factor" in changes:  # who names a factor wants that, not the grid's
            changes.setdefault("loftup.adaptive", False)
        return super().with_changes(changes)

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
        if self.use_loftup:  # it is trained on squares, and gains nothing from whole images
            stated |= {"inference": "slide", "short_side": 336}
        published_resclip = self.use_resclip and self.resclip.variant == "paper"
        stated["attention"] = automatic_attention(model, published_resclip, stated["attention"])
        return self.with_changes({name: value for name, value in stated.items()
                                  if getattr(self, name) == self.own()[name].default})

    @classmethod
    def stages(cls) -> dict[str, str]:
        """Return the switches of the stages, each with the name of its group of settings."""
        return {item.switch: name for name, item in cls.own().items() if item.switch}

    def effective(self) -> SegmentorSettings:
        """Return the settings with those at their default that the others leave without effect."""
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
        changes = {name: own[name].default for name in unused}
        if self.use_loftup and self.loftup.adaptive:
            changes |= {"loftup.factor": self.loftup.own()["factor"].default,
                        "loftup.adaptive": True}
        return self.with_changes(changes)


def two_upsamplers(*switches: str) -> str:
    """Say why upsamplers of these switches cannot be on together, and what to do."""
    return (f"{' and '.join(switches)} cannot both be on, because each makes the grid that the "
            "other would start from; switch one of them off")
