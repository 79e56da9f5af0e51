"""Segment image and video files.

    python -m sclip_seg_ros.tools.segment --image photos --vocabulary floor wall "person|pedestrian"
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":
    sys.exit(run_program("sclip_seg_ros.tools.segment.command", "sclip-segment"))
