"""Segment recordings.

    python -m sclip_seg_ros.tools.bag --bag recording --vocabulary floor wall "person|pedestrian"
"""

from __future__ import annotations

import sys

from sclip_seg_ros.tools.bag.command import main

if __name__ == "__main__":
    sys.exit(main())
