"""Publish a rendered room as a depth camera does: colour, registered depth, calibration."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sclip_research.scenes import Camera, RenderedScene
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from examples.room.scenery import Room, focal_matrix, to_world
from sclip_seg_ros.ros.images import to_message

FRAME = "camera_optical"
COLOUR, DEPTH = "/camera/color/image_raw", "/camera/depth/image_raw"
_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


class RoomCamera:
    """A colour camera with depth, both at one place of its path for each frame."""

    def __init__(self, node: Node, room: Room) -> None:
        """Advertise image, depth and their camera_info."""
        self._node = node
        self._room = room
        self._places: dict[int, int] = {}  # of the path, by stamp
        self._publishers = {
            topic: node.create_publisher(kind, topic, _QOS) for topic, kind in (
                (COLOUR, Image), (DEPTH, Image),
                (f"{COLOUR.rpartition('/')[0]}/camera_info", CameraInfo),
                (f"{DEPTH.rpartition('/')[0]}/camera_info", CameraInfo))}

    @property
    def connected(self) -> bool:
        """Whether somebody listens to everything that is published."""
        return all(publisher.get_subscription_count() for publisher in self._publishers.values())

    def publish(self, index: int) -> int:
        """Publish what the camera sees at a place of its path; return the stamp."""
        now = self._node.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id=FRAME)
        self._places[now.nanoseconds] = index % len(self._room.cameras)
        shot = self._room.shot(index)
        height, width = shot.depth.shape
        matrix = focal_matrix(self._room.cameras[self._places[now.nanoseconds]], (height, width))
        info = CameraInfo(header=header, height=height, width=width, k=matrix,
                          distortion_model="plumb_bob", r=list(np.eye(3).ravel()),
                          p=[*matrix[:3], 0.0, *matrix[3:6], 0.0, *matrix[6:], 0.0])
        depth = (shot.depth * 1000).round().astype(np.uint16)
        for topic, publisher in self._publishers.items():
            publisher.publish(info if topic.endswith("info") else
                              to_message(depth, "16UC1", header) if topic == DEPTH else
                              to_message(shot.image, "rgb8", header))
        return now.nanoseconds

    def shot_at(self, stamp: int) -> RenderedScene:
        """Return what the camera saw at a stamp."""
        return self._room.shot(self._places[stamp])

    def camera_at(self, stamp: int) -> Camera:
        """Return where the camera was at a stamp."""
        return self._room.cameras[self._places[stamp]]

    def place(self, points: np.ndarray, stamp: int) -> np.ndarray:
        """Bring points (N, 3) of the optical frame to the room, by where the camera was then."""
        return to_world(points, self.camera_at(stamp))
