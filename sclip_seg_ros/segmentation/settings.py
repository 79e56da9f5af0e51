"""Everything that decides how an image becomes labels, in one immutable object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

ATTENTIONS = ("sclip", "vanilla", "clearclip", "naclip")
INFERENCES = ("slide", "whole")
CONTRACTS = ("auto", "value", "attended")
RESCLIP_VARIANTS = ("paper", "documents")
CRF_BACKENDS = ("auto", "lattice", "pydensecrf", "bilateral")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
# More can only be a mistake, and would hold a camera's frames up for minutes.
MOST_ITERATIONS = 100   # of PAMR and of the CRF; the papers run 10
MOST_DILATIONS = 16
LEAST_STRIDE = 8        # pixels; of 1, a picture of 640x480 has some 100 000 windows
CRF_LEAST_WIDTH = 0.5   # pixels or grey levels; the cells of a lattice much finer than an image's
                        # pixels cannot be numbered. Of 7680x4320 pixels they still can at 0.5.


@dataclass(frozen=True)
class LoftUpSettings:
    """LoftUp upsampling (Huang et al., ICCV 2025)."""

    adaptive: bool = True             # factor from the grid's size instead of `factor`
    factor: float = 2.0               # output side / patch-grid side, used when not adaptive
    contract: str = "auto"            # features it is fed: "value", "attended", or as trained
    source: str = "auto"              # "auto", "embedded", "hub", "torch-hub", "bilinear", a path
    allow_fallback: bool = False      # bilinear instead, with a warning, when it cannot be loaded


@dataclass(frozen=True)
class ResClipSettings:
    """ResCLIP (Yang et al., CVPR 2025), as published or as the design documents describe it."""

    variant: str = "paper"            # "paper" or "documents"
    rcs: bool = True                  # residual cross-correlation self-attention
    sfr: bool = True                  # semantic feedback refinement
    rcs_temperature: float = 2.0      # tau_r
    rcs_weight: float = 0.4           # lambda_r
    sfr_temperature: float = 1.8      # tau_s
    sfr_weight: float = 0.7           # lambda_s
    sfr_threshold: float = 0.25       # first-pass probability below which a pixel gets label 0
    sfr_logit_scale: float = 40.0     # logit scale of the first pass
    documents_weight: float = 0.3     # variant "documents": weight of the attended features
    documents_temperature: float = 0.07
    documents_blend: float = 0.6      # variant "documents": share of the finer scale


@dataclass(frozen=True)
class PamrSettings:
    """Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020)."""

    steps: int = 10
    dilations: tuple[int, ...] = (8, 16)

    def __post_init__(self) -> None:
        """Take a list for a tuple, so that settings can be compared and used as keys."""
        if isinstance(self.dilations, list):
            object.__setattr__(self, "dilations", tuple(self.dilations))


@dataclass(frozen=True)
class CrfSettings:
    """Fully connected CRF (Kraehenbuehl and Koltun, NIPS 2011)."""

    backend: str = "auto"             # "lattice", "pydensecrf", "bilateral"; "auto": the lattice
    iterations: int = 10
    gaussian_sxy: float = 3.0         # pixels
    gaussian_compat: float = 3.0
    bilateral_sxy: float = 80.0       # pixels
    bilateral_srgb: float = 13.0      # grey levels
    bilateral_compat: float = 10.0
    resolution: float = 1.0           # side of the copy it works on / side of the image


@dataclass(frozen=True)
class SegmentorSettings:
    """How an image becomes labels. Every stage can be switched on and off alone.

    Published settings for the public datasets are ready-made profiles under ``config/profiles``.
    """

    attention: str = "sclip"          # last block's rule: sclip, vanilla, clearclip, naclip
    residual: bool = True             # keep the last block's residual and feed-forward network
    naclip_sigma: float = 5.0         # patches

    inference: str = "slide"          # "slide": windows; "whole": one forward
    short_side: int = 336             # pixels; a larger image is shrunk to it
    enlarge: bool = False             # a smaller one too, unrounded, as the papers' own code does
    antialias: bool = True            # when shrinking; the papers' own code does without
    crop: int = 224                   # window side, pixels
    stride: int = 112                 # window step, pixels
    window_batch: int = 32            # windows in one forward at most

    logit_scale: float = 0.0          # softmax temperature^-1; 0 = the model's own
    probability_threshold: float = 0.0  # below: background or unlabelled; synonyms lower it
    area_threshold: float = 0.0       # share of the foreground a class must cover to be kept
    decode_resolution: float = 1.0    # side of the grid labels are decided on / image's, no CRF

    use_loftup: bool = False
    use_resclip: bool = False
    use_pamr: bool = False
    use_densecrf: bool = False
    loftup: LoftUpSettings = field(default_factory=LoftUpSettings)
    resclip: ResClipSettings = field(default_factory=ResClipSettings)
    pamr: PamrSettings = field(default_factory=PamrSettings)
    crf: CrfSettings = field(default_factory=CrfSettings)

    precision: str = "auto"           # of the tower; auto: half where the device is fast at it

    def __post_init__(self) -> None:
        """Refuse values that no stage could work with.

        Raises:
            ValueError: naming the setting, its value and what is allowed.
        """
        for name in ("residual", "enlarge", "antialias", "use_loftup", "use_resclip", "use_pamr",
                     "use_densecrf"):
            _switch(name, getattr(self, name))
        _one_of("attention", self.attention, ATTENTIONS)
        _one_of("inference", self.inference, INFERENCES)
        _one_of("precision", self.precision, PRECISIONS)
        _whole("short_side", self.short_side, 16, 4096)
        _whole("crop", self.crop, 16, 4096)
        _whole("stride", self.stride, LEAST_STRIDE, self.crop)
        _whole("window_batch", self.window_batch, 1, 4096)
        _within("logit_scale", self.logit_scale, 0.0, 1000.0)
        _within("probability_threshold", self.probability_threshold, 0.0, 1.0)
        _within("area_threshold", self.area_threshold, 0.0, 1.0)
        _within("decode_resolution", self.decode_resolution, 0.05, 1.0)
        _within("naclip_sigma", self.naclip_sigma, 1e-3, 1e3)
        for name in _GROUPS:
            _group(name, getattr(self, name))
        _check_loftup(self.loftup)
        _check_resclip(self.resclip)
        _check_pamr(self.pamr)
        _check_crf(self.crf)

    def with_changes(self, changes: Mapping[str, Any] | None = None, /,
                     **more: Any) -> SegmentorSettings:
        """Return a copy with some settings changed.

        A ``loftup.factor`` turns the adaptive one off, unless that is asked for as well.

        Args:
            changes: values by name; nested ones as in ladders, ``{"loftup.factor": 3.0}``.
            more: the same as keywords, ``loftup__factor=3.0``.

        Raises:
            ValueError: an unknown setting, or one given twice.
        """
        changes = by_name([*(changes or {}).items(), *more.items()])
        if "loftup__factor" in changes:  # who names a factor wants that, not the grid's
            changes.setdefault("loftup__adaptive", False)
        own = {key: value for key, value in changes.items() if "__" not in key}
        for key, value in changes.items():
            if "__" in key:
                group, _, name = key.partition("__")
                if group not in _GROUPS:
                    raise ValueError(f"setting '{group}.{name}' does not exist; groups of settings "
                                     f"are {', '.join(_GROUPS)}")
                names = [item.name for item in fields(_GROUPS[group])]
                if name not in names:
                    raise ValueError(f"setting '{group}.{name}' does not exist; {group} has "
                                     f"{', '.join(names)}")
                base = own.get(group, getattr(self, group))
                own[group] = replace(_group(group, base), **{name: value})
        names = [item.name for item in fields(self)]
        unknown = set(own) - set(names)
        if unknown:
            raise ValueError(f"setting '{sorted(unknown)[0]}' does not exist; choose one of "
                             f"{', '.join(names)}")
        return replace(self, **own)


def by_name(given: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return values by the names of :meth:`SegmentorSettings.with_changes`, however spelt.

    Raises:
        ValueError: a setting given twice.
    """
    changes: dict[str, Any] = {}
    for key, value in given:
        name = key.replace(".", "__")
        if name in changes:
            raise ValueError(f"setting '{dotted(name)}' is given twice; keep one of them")
        changes[name] = value
    return changes


def dotted(name: str) -> str:
    """Return a setting's name as files and messages spell it, e.g. ``crf.iterations``."""
    return name.replace("__", ".")


_GROUPS = {"loftup": LoftUpSettings, "resclip": ResClipSettings, "pamr": PamrSettings,
           "crf": CrfSettings}


def _group(name: str, value: Any) -> Any:
    """Return a group of settings, or refuse what is none."""
    if not isinstance(value, _GROUPS[name]):
        raise ValueError(f"{name}={value!r} is no group of settings; give "
                         f"{_GROUPS[name].__name__}(...)")
    return value


def _check_loftup(loftup: LoftUpSettings) -> None:
    if not isinstance(loftup.source, str):
        raise ValueError(f"loftup.source={loftup.source!r} is no text; give 'auto', 'embedded', "
                         "'hub', 'torch-hub', 'bilinear' or the path of a checkpoint")
    for name in ("adaptive", "allow_fallback"):
        _switch(f"loftup.{name}", getattr(loftup, name))
    _one_of("loftup.contract", loftup.contract, CONTRACTS)
    _within("loftup.factor", loftup.factor, 1.0, 16.0)


def _check_resclip(resclip: ResClipSettings) -> None:
    _one_of("resclip.variant", resclip.variant, RESCLIP_VARIANTS)
    for name in ("rcs", "sfr"):
        _switch(f"resclip.{name}", getattr(resclip, name))
    for name in ("rcs_weight", "sfr_weight", "sfr_threshold", "documents_blend"):
        _within(f"resclip.{name}", getattr(resclip, name), 0.0, 1.0)
    for name in ("rcs_temperature", "sfr_temperature", "documents_temperature"):
        _within(f"resclip.{name}", getattr(resclip, name), 1e-3, 1e3)
    _within("resclip.documents_weight", resclip.documents_weight, 0.0, 10.0)
    _within("resclip.sfr_logit_scale", resclip.sfr_logit_scale, 0.0, 1000.0)


def _check_pamr(pamr: PamrSettings) -> None:
    _whole("pamr.steps", pamr.steps, 0, MOST_ITERATIONS)
    if not isinstance(pamr.dilations, Sequence) or isinstance(pamr.dilations, str):
        raise ValueError(f"pamr.dilations={pamr.dilations!r} is no list; give steps in pixels, "
                         "e.g. (8, 16)")
    if not pamr.dilations:
        raise ValueError("pamr.dilations is empty; name at least one step in pixels")
    if len(pamr.dilations) > MOST_DILATIONS:
        raise ValueError(f"pamr.dilations has {len(pamr.dilations)} steps; give at most "
                         f"{MOST_DILATIONS}")
    for step in pamr.dilations:
        _whole("pamr.dilations", step, 1, 1024)


def _check_crf(crf: CrfSettings) -> None:
    _one_of("crf.backend", crf.backend, CRF_BACKENDS)
    _whole("crf.iterations", crf.iterations, 0, MOST_ITERATIONS)
    for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb"):
        _within(f"crf.{name}", getattr(crf, name), CRF_LEAST_WIDTH, 1e4)
    for name in ("gaussian_compat", "bilateral_compat"):
        _within(f"crf.{name}", getattr(crf, name), 0.0, 1e4)
    _within("crf.resolution", crf.resolution, 0.05, 1.0)


def _switch(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is no switch; give true or false")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}='{value}' is unknown; choose one of {', '.join(allowed)}")


def _whole(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name}={value!r} is no whole number; give {low} to {high}")
    _within(name, value, low, high)


def _within(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name}={value!r} is no number; give {low} to {high}")
    if not low <= value <= high:
        raise ValueError(f"{name}={value} is out of range; give {low} to {high}")
