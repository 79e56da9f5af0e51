"""See what the stages do to one image.

    python -m sclip_seg_ros.tools.gallery --image room.png --vocabulary floor wall door
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":
    sys.exit(run_program("sclip_seg_ros.tools.gallery.command", "sclip-gallery"))
