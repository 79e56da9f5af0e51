"""Changed settings and budgets into the segmentor, between two frames."""

from __future__ import annotations

from sclip_seg_ros.latency.quality import QualityControl
from sclip_seg_ros.ros.ledger import Ledger
from sclip_seg_ros.ros.parameters import NodeOptions
from sclip_seg_ros.ros.parts import BUDGET, STAGES, Part


def adopt_settings(quality: QualityControl, ledger: Ledger) -> bool:
    """Try what is new of settings and budget, stage by stage; return whether anything was.

    A stage that cannot work is refused without the others, and costs the budget nothing.
    """
    # A budget that goes, goes first: no quality level has to fit the new settings then.
    budget_first = not ledger.asked.latency_budget_ms
    parts = (BUDGET, *STAGES) if budget_first else (*STAGES, BUDGET)
    trials = [(part, asked) for part in parts if (asked := ledger.untried(part)) is not None]
    for part, asked in trials:
        try:
            _configure(quality, part, asked)
        except Exception as error:  # e.g. weights out of reach; all stays as it was
            ledger.refuse(part, asked, error)
        else:
            ledger.accept(part, asked)
    return bool(trials)


def _configure(quality: QualityControl, part: Part, asked: NodeOptions) -> None:
    """Change what is in force by one part of what is asked for."""
    budget_ms = asked.latency_budget_ms if part is BUDGET else quality.state.budget_ms
    quality.configure(quality.base.with_changes(**part.settings(asked)), budget_ms)
