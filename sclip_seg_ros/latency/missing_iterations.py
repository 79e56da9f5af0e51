"""What the iterations that a deadline cut off would have taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sclip_seg_ros.segmentation.refinement.anytime import Iterations


def missing_ms(refinements: Iterable[Mapping[str, Iterations]], iteration_ms: float,
               usual_ms: Callable[[str], float]) -> dict[str, float]:
    """Price the iterations of a batch that were planned and did not run.

    A refinement that ran long enough to tell is priced by its own iterations; one that never
    started, or ended in the iteration that its preparation belongs to, by its share of what the
    stage usually takes.

    Args:
        refinements: by stage, of each image. One that several images share counts once.
        iteration_ms: an iteration of the refinement that was cut short.
        usual_ms: returns what a stage takes in full for such a batch; 0 where that is unknown,
            and ``iteration_ms`` has to serve.

    Returns:
        Milliseconds by stage.
    """
    stages: dict[str, set[Iterations]] = {}
    for image in refinements:
        for stage, progress in image.items():
            stages.setdefault(stage, set()).add(progress)
    prices = {}
    for stage, runs in stages.items():
        share_ms = usual_ms(stage) / max(sum(progress.planned for progress in runs), 1)
        prices[stage] = sum(
            progress.missing * (share_ms if share_ms and progress.ran < 2 else iteration_ms)
            for progress in runs)
    return prices
