"""sclip-bag whose workers stop behind the first two pieces; for a test that needs a run's middle.

Called as sclip-bag is. It looks at the cluster's head more often than users need.
"""

from __future__ import annotations

import sys
import time
from functools import partial

from sclip_seg_ros.cluster import ray_pool
from sclip_seg_ros.cluster.work import Task
from sclip_seg_ros.common.entry import run_program
from sclip_seg_ros.tools.bag import pieces
from sclip_seg_ros.tools.pieces.pieces import open_engine


class Gated(pieces.BagWorker):
    """Keeps all but the first two pieces waiting, longer than any test does."""

    def do(self, task: Task) -> tuple[int, str, object]:
        """Do one of those two, or wait."""
        if task.piece is None or task.piece.number > 1:
            time.sleep(600.0)
        return super().do(task)


if __name__ == "__main__":
    ray_pool._LOOK, ray_pool._SILENCE = 1.0, 3.0
    pieces.open_engine = lambda arguments, _: open_engine(arguments, partial(Gated, arguments))
    sys.exit(run_program("sclip_seg_ros.tools.bag.command", "sclip-bag"))
