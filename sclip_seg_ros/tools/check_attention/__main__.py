"""Tell which attention rule to take.

    python -m sclip_seg_ros.tools.check_attention --points points.json --model ViT-B/16
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":
    sys.exit(run_program("sclip_seg_ros.tools.check_attention.command", "sclip-check-attention"))
