"""Start the three hosts: ``sudo scripts/run_in_overlay python -m benchmarks.three_hosts``."""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":
    sys.exit(run_program("benchmarks.three_hosts.command", "three_hosts"))
