"""Film a rendered room with a depth camera, label it, and make a costmap of the labels.

    python -m examples.room --seed 1 --picture out/room/nav2.png
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from examples.child_processes import ChildProcesses, ProcessError
from examples.room.camera import COLOUR, DEPTH, RoomCamera
from examples.room.consumer import RELIABLE, GridConsumer, read_points
from examples.room.grid import CELL, SemanticGrid
from examples.room.picture import draw
from examples.room.scenery import Room
from sclip_seg_ros.geometry.stamps import stamp_of
from sclip_seg_ros.tools.program import Program, documented, pixels, positive

START_SECONDS = 300  # loading the model and discovery, at most, also on a busy small computer
FRAME_SECONDS = 60   # until a frame has voted, at most
AGAIN_SECONDS = 2.0  # between two frames from the same place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's flags."""
    parser.add_argument("--seed", type=int, default=1, help="of the room (default: %(default)s)")
    parser.add_argument("--frames", type=positive, default=6, help="places of the camera's path")
    parser.add_argument("--size", type=pixels, default=(640, 480), metavar="WxH",
                        help="(default 640x480)")
    parser.add_argument("--picture", type=Path, help="write camera, labels, cloud and costmap here")
    parser.add_argument("--output", type=Path, default=Path("out/room"), help="folder of the log")


def run(arguments: argparse.Namespace) -> None:
    """Let a node label a room, vote, and tell how well the costmap fits the true floor plan.

    Raises:
        ProcessError: the node failed, or no frame came out.
    """
    width, height = arguments.size
    room = Room(arguments.seed, arguments.frames, (height, width))
    arguments.output.mkdir(parents=True, exist_ok=True)
    words = room.phrases
    parameters = {"classes": words, "class_ids": list(range(1, len(words) + 1)),
                  "unlabelled_id": 0, "depth_topics": [DEPTH], "points.invalid": "keep",
                  "points.colours": "classes", "use_densecrf": True}
    rclpy.init()
    node = rclpy.create_node("room")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        with ChildProcesses(arguments.output) as processes:
            settings = [part for name, value in parameters.items()
                        for part in ("-p", f"{name}:={json.dumps(value)}")]
            processes.start("node", "sclip_seg_ros.ros.node", "--ros-args", "-r",
                            f"image_raw:={COLOUR}", *settings)
            grid, camera = SemanticGrid(room.cost), RoomCamera(node, room)
            consumer = GridConsumer(node, grid, camera.place)
            overlays: dict[int, Image] = {}
            node.create_subscription(Image, "/sclip_seg/overlay", lambda message: overlays.update(
                {stamp_of(message.header): message}), RELIABLE)
            processes.wait_for("node", "ready", START_SECONDS)
            _wait(executor, lambda: camera.connected, START_SECONDS, "the node's subscriptions")
            for index in range(len(room.cameras)):
                _show(executor, camera, consumer, index)
            if arguments.picture:
                _wait(executor, lambda: consumer.knows(overlays), FRAME_SECONDS, "an overlay")
                _write(arguments.picture, room, camera, consumer, grid, overlays)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
    cells, found = _map(room, grid)
    truth = room.occupied(cells, CELL)
    print(f"room {arguments.seed}: {len(cells)} cells of {CELL * 100:g} cm observed, "
          f"{truth.mean():.0%} of them occupied; {(found == truth).mean():.3f} agree with the true "
          f"floor plan; of the occupied {(found & truth).sum() / truth.sum():.2f} are found, of "
          f"the free {(~found & ~truth).sum() / (~truth).sum():.2f}")


def _map(room: Room, grid: SemanticGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return the observed cells, and whether they belong to an obstacle."""
    cells = grid.observed
    obstacles = [name for name in grid.names if not room.is_free(name)]
    return cells, grid.belongs(cells, obstacles)


def _show(executor: SingleThreadedExecutor, camera: RoomCamera, consumer: GridConsumer,
          index: int) -> None:
    """Have the camera look from a place of its path until a frame of it has voted."""
    stamps: set[int] = set()
    end = time.monotonic() + FRAME_SECONDS
    while not consumer.knows(stamps):
        if time.monotonic() > end:
            raise ProcessError(f"no frame was labelled with its cloud: {consumer.refused or ''}")
        stamps.add(camera.publish(index))
        again = time.monotonic() + AGAIN_SECONDS
        while time.monotonic() < again and not consumer.knows(stamps):
            executor.spin_once(timeout_sec=0.1)


def _wait(executor: SingleThreadedExecutor, condition, seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ProcessError(f"{what} did not come within {seconds:g} s")
        executor.spin_once(timeout_sec=0.1)


def _write(path: Path, room: Room, camera: RoomCamera, consumer: GridConsumer,
           grid: SemanticGrid, overlays: dict[int, Image]) -> None:
    """Draw the newest moment that everything is known of."""
    stamp = max(stamp for stamp in set(overlays) & set(consumer.taken) if consumer.knows([stamp]))
    shot, cloud = camera.shot_at(stamp), read_points(consumer.taken[stamp].parts["points"])
    known = np.isfinite(cloud["z"])
    points = camera.place(np.stack([cloud[name] for name in "xyz"], -1)[known], stamp)
    rgb = cloud["rgb"].copy().view(np.uint32)[known]
    colours = np.stack([rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255], -1).astype(np.uint8)
    overlay = np.frombuffer(overlays[stamp].data, np.uint8).reshape(shot.image.shape)
    picture = draw(shot.image, overlay, points, colours, *_map(room, grid),
                   camera.camera_at(stamp), room.scene.focus_distance)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])


main = Program(*documented(__doc__), add_arguments, run)
