"""Start python -m benchmarks [--full]: see command.py."""

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":
    sys.exit(run_program("benchmarks.command", "benchmarks"))
