"""See what the stages do to one image.

    python -m sclip_seg_ros.tools.gallery --image room.png --vocabulary floor wall door
"""

from __future__ import annotations

import sys

from sclip_seg_ros.tools.gallery.command import main

if __name__ == "__main__":
    sys.exit(main())
