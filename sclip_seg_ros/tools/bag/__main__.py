"""Segment recordings.

    python -m sclip_seg_ros.tools.bag --bag recording --vocabulary floor wall "person|pedestrian"
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":
    sys.exit(run_program("sclip_seg_ros.tools.bag.command", "sclip-bag"))
