"""Changed settings and budgets into the segmentor, between two frames."""

from __future__ import annotations

from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.frames.weights_loader import WeightsLoader
from sclip_seg_ros.ros.parameters.groups import BUDGET, STAGES, Part
from sclip_seg_ros.ros.parameters.options import NodeOptions
from sclip_seg_ros.ros.parameters.pending_changes import Ledger
from sclip_seg_ros.segmentation import SegmentorSettings


def adopt_settings(quality: QualityControl, ledger: Ledger, loader: WeightsLoader) -> bool:
    """Try what is new of settings and budget, stage by stage; return whether anything was tried.

    A stage that cannot work is refused without the others, and costs the budget nothing. One
    whose weights are still being loaded waits for them, and nothing else does.
    """
    # A budget that goes, goes first: no quality level has to fit the new settings then.
    budget_first = not ledger.asked.latency_budget_ms
    parts = (BUDGET, *STAGES) if budget_first else (*STAGES, BUDGET)
    pending = [(part, asked) for part in parts if (asked := ledger.untried(part)) is not None]
    if not pending:
        loader.forget()
    tried = False
    for part, asked in pending:
        base, budget_ms = _with_part(quality, part, asked)
        try:
            if not loader.provide(quality.lacking(base, budget_ms)):
                continue
            quality.configure(base, budget_ms)
        except Exception as error:  # e.g. weights out of reach; all stays as it was
            ledger.refuse(part, asked, error)
        else:
            ledger.accept(part, asked)
        tried = True
    return tried


def _with_part(quality: QualityControl, part: Part,
               asked: NodeOptions) -> tuple[SegmentorSettings, float]:
    """Return the settings and budget in force, changed by one part of what is asked for."""
    if part is BUDGET:
        return quality.base, asked.latency_budget_ms
    return quality.base.with_changes(**part.settings(asked)), quality.state.budget_ms
