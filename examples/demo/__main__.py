"""Start python -m examples.demo [--images FOLDER]: see command.py."""

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":
    sys.exit(run_program("examples.demo.command", "demo"))
