"""The rows of the ablation: which stages run in each, and what the design documents expect."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sclip_seg_ros.models import WeightsError
from sclip_seg_ros.segmentation import SCLIPSegmentor, SegmentorSettings

PLAIN = "plain"
NO_LOFTUP = "no LoftUp for this model"
_OFF = {"use_loftup": False, "use_resclip": False, "use_pamr": False, "use_densecrf": False,
        "loftup__allow_fallback": False}
_LOFTUP = {"use_loftup": True}
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
    Configuration("rcs", "ResCLIP, RCS only", {**_RESCLIP, "resclip__sfr": False},
                  {"miou_gain": "+2 to +5"}),
    Configuration("resclip", "ResCLIP (RCS + SFR)", _RESCLIP, {"miou_gain": "+8 to +13"}),
    Configuration("resclip-documents", "ResCLIP as the documents draw it",
                  {**_RESCLIP, "resclip__variant": "documents"}, {"miou_gain": "+8 to +13"}),
    Configuration("pamr", "PAMR", _PAMR),
    Configuration("densecrf", "DenseCRF", _CRF,
                  {"miou_gain": "+1 to +2", "boundary_f1_gain": "+3 to +5"}),
    Configuration("resclip+pamr+densecrf", "all but LoftUp", {**_RESCLIP, **_PAMR, **_CRF}),
    Configuration("loftup+resclip", "LoftUp + ResCLIP", {**_LOFTUP, **_RESCLIP},
                  {"miou_gain": "+8 to +13", "speed": "0.85x", "memory": "1.2x"}),
    Configuration("phase1", "Phase 1: LoftUp + ResCLIP + DenseCRF",
                  {**_LOFTUP, **_RESCLIP, **_CRF},
                  {"miou_gain": "+11 to +19", "speed": "0.80x", "memory": "1.2x"}),
    Configuration("all", "all stages", {**_LOFTUP, **_RESCLIP, **_PAMR, **_CRF}),
)


@dataclass(frozen=True)
class Prepared:
    """A configuration with this model's settings.

    Attributes:
        configuration: the row.
        settings: to run it with; None where it cannot run.
        reason: why it cannot run, in a few words, a colon, and more of them; empty where it can.
    """

    configuration: Configuration
    settings: SegmentorSettings | None
    reason: str = ""


def prepare_configurations(segmentor: SCLIPSegmentor, base: SegmentorSettings) -> list[Prepared]:
    """Try every row on a model, so that one that cannot run costs its own row alone.

    Weights that do not exist for the model are missing by design. No stage is replaced by a
    simpler one: `loftup.allow_fallback` is off in every row.

    Args:
        segmentor: the model; its settings are left plain.
        base: all settings that are no stage's switch.
    """
    plain = base.with_changes(**_OFF)
    no_loftup = _refusal(segmentor, plain.with_changes(**_LOFTUP))  # asks the network once
    rows = []
    for configuration in CONFIGURATIONS:
        settings = plain.with_changes(**configuration.changes)
        reason = no_loftup if settings.use_loftup else ""
        reason = reason or _refusal(segmentor, settings)
        rows.append(Prepared(configuration, None if reason else settings, reason))
    segmentor.settings = plain
    return rows


@contextmanager
def said_once(*names: str) -> Iterator[None]:
    """Let loggers say each thing only once, while settings change with every image."""
    loggers = [logging.getLogger(name) for name in names]
    known: set[str] = set()

    def news(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return message not in known and not known.add(message)

    for logger in loggers:
        logger.addFilter(news)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(news)


def _refusal(segmentor: SCLIPSegmentor, settings: SegmentorSettings) -> str:
    """Return why a model cannot run with settings; empty where it can."""
    try:
        segmentor.settings = settings
    except WeightsError as error:  # the model itself is loaded: only LoftUp's can be missing
        return f"{NO_LOFTUP}: {error}"
    except ValueError as error:
        return f"cannot run: {error}"
    return ""
