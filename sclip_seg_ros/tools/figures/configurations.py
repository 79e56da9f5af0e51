"""The rows of the ablation: which stages run in each, and what the design documents expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sclip_seg_ros.models import WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings
from sclip_seg_ros.segmentation.pipeline import Pipeline

PLAIN = "plain"
NO_LOFTUP = "no LoftUp for this model"
NO_ANYUP = "no AnyUp at hand"
_OFF = {**dict.fromkeys(SegmentorSettings.stages(), False), "loftup.allow_fallback": False}
_LOFTUP = {"use_loftup": True}
_ANYUP = {"use_anyup": True}
_RESCLIP = {"use_resclip": True}
_PAMR = {"use_pamr": True}
_CRF = {"use_densecrf": True}


@dataclass(frozen=True)
class Configuration:
    """One row of the ablation.

    Attributes:
        key: short name.
        title: for people.
        changes: to the plain settings, as `SegmentorSettings.with_changes` takes them.
        expected: what the design documents expect, by column; empty where they say nothing. Gains
            are percentage points over the plain method; speed and memory are shares of its own.
    """

    key: str
    title: str
    changes: Mapping[str, Any]
    expected: Mapping[str, str] = field(default_factory=dict)


CONFIGURATIONS = (
    Configuration(PLAIN, "plain", {}, {"miou_gain": "0", "speed": "1.0x", "memory": "1.0x"}),
    Configuration("loftup", "LoftUp", _LOFTUP,
                  {"miou_gain": "+2 to +4", "speed": "0.95x", "memory": "1.1x"}),
    Configuration("anyup", "AnyUp", _ANYUP),
    Configuration("rcs", "ResCLIP, RCS only", {**_RESCLIP, "resclip.sfr": False},
                  {"miou_gain": "+2 to +5"}),
    Configuration("resclip", "ResCLIP (RCS + SFR)", _RESCLIP, {"miou_gain": "+8 to +13"}),
    Configuration("resclip-documents", "ResCLIP as the documents draw it",
                  {**_RESCLIP, "resclip.variant": "documents"}, {"miou_gain": "+8 to +13"}),
    Configuration("image-words", "RF-CLIP's text side", {"use_image_words": True}),
    Configuration("clusters", "CLIPtrase's clusters", {"use_clusters": True}),
    Configuration("tlp", "PEARL's label propagation", {"use_tlp": True}),
    Configuration("pamr", "PAMR", _PAMR),
    Configuration("densecrf", "DenseCRF", _CRF,
                  {"miou_gain": "+1 to +2", "boundary_f1_gain": "+3 to +5"}),
    Configuration("anyup+pamr", "AnyUp + PAMR", {**_ANYUP, **_PAMR}),
    Configuration("resclip+pamr+densecrf", "ResCLIP + PAMR + DenseCRF",
                  {**_RESCLIP, **_PAMR, **_CRF}),
    Configuration("loftup+resclip", "LoftUp + ResCLIP", {**_LOFTUP, **_RESCLIP},
                  {"miou_gain": "+8 to +13", "speed": "0.85x", "memory": "1.2x"}),
    Configuration("phase1", "Phase 1: LoftUp + ResCLIP + DenseCRF",
                  {**_LOFTUP, **_RESCLIP, **_CRF},
                  {"miou_gain": "+11 to +19", "speed": "0.80x", "memory": "1.2x"}),
    Configuration("all", "LoftUp + ResCLIP + PAMR + DenseCRF",
                  {**_LOFTUP, **_RESCLIP, **_PAMR, **_CRF}),
)


@dataclass(frozen=True)
class Row:
    """A configuration with this model's settings.

    Attributes:
        configuration: what the row is.
        pipeline: that labels so; None where the configuration cannot run.
        reason: why it cannot run, in a few words, a colon, and more of them; empty where it can.
    """

    configuration: Configuration
    pipeline: Pipeline | None
    reason: str = ""

    @property
    def able(self) -> Pipeline:
        """The pipeline of a row that can run.

        Raises:
            ValueError: it cannot; with the reason.
        """
        if self.pipeline is None:
            raise ValueError(f"'{self.configuration.key}' cannot run: {self.reason}")
        return self.pipeline

    @property
    def settings(self) -> SegmentorSettings | None:
        """What the configuration runs with; None where it cannot."""
        return self.pipeline.decided if self.pipeline else None


def prepare_rows(segmentor: SCLIPSegmentor, base: SegmentorSettings) -> list[Row]:
    """Try every configuration on a model, so that one that cannot run costs its own row alone.

    No stage is replaced by a simpler one: `loftup.allow_fallback` is off in every row.

    Args:
        segmentor: the model; its settings are left plain.
        base: all settings that are not a stage's switch.
    """
    plain = base.with_changes(_OFF)
    loftup = _prepare(segmentor, plain.with_changes(_LOFTUP))
    rows = []
    for configuration in CONFIGURATIONS:
        settings = plain.with_changes(configuration.changes)
        # Without LoftUp its rows are not tried one by one: each would ask the network again.
        if settings.use_loftup and loftup[0] is None:
            rows.append(Row(configuration, *loftup))
        elif settings.use_anyup and not segmentor.upsamplers.at_hand(settings):
            rows.append(Row(configuration, None, f"{NO_ANYUP}: its weights do not come with this "
                            "project; fetch them with sclip fetch --upsampler anyup, or name their "
                            "file with --set anyup.source=FILE"))
        else:
            rows.append(Row(configuration, *_prepare(segmentor, settings)))
    segmentor.settings = plain
    return rows


def _prepare(segmentor: SCLIPSegmentor,
             settings: SegmentorSettings) -> tuple[Pipeline | None, str]:
    """Prepare settings on a model, or say why it cannot run with them."""
    try:
        return segmentor.prepare(settings), ""
    except WeightsError as error:  # the model itself is loaded: only an upsampler's can be missing
        return None, f"{NO_ANYUP if settings.use_anyup else NO_LOFTUP}: {error}"
    except ValueError as error:
        return None, f"cannot run: {error}"
