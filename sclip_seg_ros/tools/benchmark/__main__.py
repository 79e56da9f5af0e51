"""Measure a segmentor on a data set, and write down what the figures come from.

    python -m sclip_seg_ros.tools.benchmark --dataset voc21 --data-root VOCdevkit/VOC2012
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":
    sys.exit(run_program("sclip_seg_ros.tools.benchmark.command", "sclip-benchmark"))
