"""What a semantic cloud costs: processor time of one thread, from depth to the message.

    python -m benchmarks.cloud
"""

from __future__ import annotations

import sys

from sclip_seg_ros.common.entry import run_program

if __name__ == "__main__":  # before libraries that take seconds to import
    sys.exit(run_program("benchmarks.cloud", "cloud"))

import argparse
import statistics
import time
from dataclasses import replace

import cv2
import numpy as np
import torch
from sclip_research.scenes import render, sample_scene
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from examples.room.scenery import focal_matrix
from sclip_seg_ros.common.text import markdown_table
from sclip_seg_ros.geometry.cloud import Thinning
from sclip_seg_ros.geometry.sensors import positions_in
from sclip_seg_ros.ros.cameras.clouds import cloud_message
from sclip_seg_ros.ros.images import to_message
from sclip_seg_ros.ros.parameters.point_options import PointOptions
from sclip_seg_ros.segmentation import SCLIPSegmentor
from sclip_seg_ros.tools.program import Program, documented, pixels

ROUNDS = 100
WORDS = ("floor", "wall", "table", "chair", "box", "ball")
HOLES = 0.1  # share of pixels without depth, as stereo cameras have


def depth_message(metres: np.ndarray, encoding: str, header: Header) -> Image:
    """Return a depth image (H, W), metres, as a message with holes."""
    metres = np.where(np.random.default_rng(0).random(metres.shape) < HOLES, 0, metres)
    return to_message((metres * 1000).round().astype(np.uint16) if encoding == "16UC1"
                      else metres.astype(np.float32), encoding, header)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--size", type=pixels, default=(640, 480), metavar="WxH",
                        help="(default 640x480)")


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    width, height = arguments.size
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    scene = sample_scene(np.random.default_rng(2))
    rendered = render(scene, height, width)
    segmentor = SCLIPSegmentor(short_side=112)
    result = segmentor.predict_dense(rendered.image, WORDS)
    header = Header(frame_id="camera")
    info = CameraInfo(height=height, width=width, k=focal_matrix(scene.camera, (height, width)))
    plain = PointOptions()
    rows = []
    for title, encoding, options in (
            ("16UC1, every valid point", "16UC1", plain),
            ("32FC1, every valid point", "32FC1", plain),
            ("organised, NaN where invalid", "16UC1",
             replace(plain, thinning=Thinning(organised=True))),
            ("without two classes", "16UC1", replace(plain, classes=("-floor", "-wall"))),
            ("colours of the classes", "16UC1", replace(plain, class_colours=True)),
            ("every second row and column", "16UC1", replace(plain, thinning=Thinning(stride=2))),
            ("a point for 5 cm", "16UC1", replace(plain, thinning=Thinning(voxel=0.05)))):
        depth = depth_message(rendered.depth, encoding, header)
        times = []
        for _ in range(ROUNDS):
            begin = time.thread_time()
            message = cloud_message(positions_in(depth, info, header, (height, width)), result,
                                    options, header)
            times.append((time.thread_time() - begin) * 1e3)
        rows.append((title, f"{message.width * message.height}", f"{statistics.median(times):.1f}",
                     f"{np.percentile(times, 95):.1f}"))
    print(f"{width}x{height}, one thread\n")
    print("\n".join(markdown_table(("cloud", "points", "ms, median", "95 of 100"), rows)))


main = Program(*documented(__doc__), add_arguments, run)
