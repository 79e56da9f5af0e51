"""A segmentor works in a process that was forked from one in which it worked."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import multiprocessing, sys
import numpy as np, torch
from sclip_seg_ros.segmentation import SCLIPSegmentor
torch.set_num_threads(2)
image = np.random.default_rng(0).integers(0, 256, (160, 200, 3), np.uint8)
segmentor = SCLIPSegmentor(short_side=112)
words = segmentor.vocabulary(["floor", "wall"])
expected = segmentor.segment(image, words)

def child(used):
    here = segmentor if used else SCLIPSegmentor(short_side=112)
    vocabulary = here.vocabulary(["floor", "wall"] if used else ["ball", "cup"])
    labels = here.segment(image, vocabulary)
    same = (labels == expected).mean() > 0.999
    sys.exit(3 if same or not used else 4)

for used in (True, False):
    process = multiprocessing.get_context("fork").Process(target=child, args=(used,))
    process.start()
    process.join(60)
    print(process.exitcode)
    process.kill()
print(torch.get_num_threads(), (segmentor.segment(image, words) == expected).all())
"""


def test_a_forked_process_labels_with_one_thread_and_says_so():
    """With the segmentor that has worked before the fork, and with one of its own."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM],
                          capture_output=True, text=True, timeout=180)
    assert done.stdout.split() == ["3", "3", "2", "True"], done.stderr
    assert done.stderr.count("multiprocessing.get_context('spawn')") == 2
