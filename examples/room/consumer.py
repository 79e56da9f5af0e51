"""A consumer that does what Nav2's semantic layer does: mask, confidence and cloud into a grid."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sclip_seg_ros.msg import ClassConfidenceArray
from sensor_msgs.msg import Image, PointCloud2, PointField

from examples.room.grid import SemanticGrid
from sclip_seg_ros.geometry.stamps import stamp_of

TOLERANCE = 0.02   # seconds between labels and cloud, at most
WAITING = 100      # stamps that something is still missing for, at most
# As the layer subscribes to masks.
SENSOR = QoSProfile(depth=50, reliability=qos_profile_sensor_data.reliability)
RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
_KINDS = {PointField.FLOAT32: "<f4", PointField.UINT8: "u1"}


@dataclass
class Taken:
    """What the consumer made of one image.

    Attributes:
        names: by id, that its labels were read with.
        known: share of its pixels with one of these.
        parts: the messages, by topic.
    """

    names: dict[int, str]
    known: float
    parts: dict[str, Any] = field(default_factory=dict)


def read_points(cloud: PointCloud2) -> np.ndarray:
    """Return a cloud's points (H, W), a structured array by the fields that it states itself."""
    kind = np.dtype({"names": [entry.name for entry in cloud.fields],
                     "formats": [_KINDS[entry.datatype] for entry in cloud.fields],
                     "offsets": [entry.offset for entry in cloud.fields],
                     "itemsize": cloud.point_step})
    return np.frombuffer(cloud.data, kind).reshape(cloud.height, cloud.width)


class GridConsumer:
    """Join label, confidence and class names by exact stamps, and the cloud by the nearest.

    The cloud has to be organised and of the labels' size (``points.invalid: keep``). Names come
    from ~/class_confidence of the same stamp: so none is ever taken for another's while words
    change.
    """

    def __init__(self, node: Node, grid: SemanticGrid,
                 place: Callable[[np.ndarray, int], np.ndarray]) -> None:
        """Subscribe.

        Args:
            node: to subscribe with.
            grid: that points vote on.
            place: brings points (N, 3) of the cloud's frame to the grid's, z up, by the cloud's
                stamp in nanoseconds; on a robot that is tf2's work.
        """
        self.taken: OrderedDict[int, Taken] = OrderedDict()  # by the labels' stamps
        self.refused: list[str] = []
        self._grid = grid
        self._place = place
        self._waiting: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._clouds: OrderedDict[int, PointCloud2] = OrderedDict()
        for topic, kind, qos in (("label", Image, SENSOR), ("confidence", Image, SENSOR),
                                 ("class_confidence", ClassConfidenceArray, RELIABLE)):
            node.create_subscription(kind, f"/sclip_seg/{topic}",
                                     lambda message, topic=topic: self._take(topic, message), qos)
        # The layer subscribes with best effort to this one too; of clouds of 7 MB few would arrive.
        node.create_subscription(PointCloud2, "/sclip_seg/points", self._take_cloud, RELIABLE)

    def knows(self, stamps: Collection[int]) -> bool:
        """Tell whether of some images one has voted with most of its pixels.

        The first image of a node, which answers before it knows anything, has none.
        """
        return any(self.taken[stamp].known >= 0.9 for stamp in stamps if stamp in self.taken)

    def _take(self, topic: str, message: Any) -> None:
        self._waiting.setdefault(stamp_of(message.header), {})[topic] = message
        self._join()

    def _take_cloud(self, cloud: PointCloud2) -> None:
        self._clouds[stamp_of(cloud.header)] = cloud
        self._join()

    def _join(self) -> None:
        for stamp, parts in list(self._waiting.items()):
            nearest = min(self._clouds, key=lambda other, to=stamp: abs(other - to), default=None)
            if len(parts) == 3 and nearest is not None and abs(nearest - stamp) <= TOLERANCE * 1e9:
                del self._waiting[stamp]
                self._vote(stamp, {**parts, "points": self._clouds[nearest]}, nearest)
        for kept in (self._waiting, self._clouds):
            while len(kept) > WAITING:
                kept.popitem(last=False)

    def _vote(self, stamp: int, parts: dict[str, Any], cloud_stamp: int) -> None:
        label, confidence, cloud = (parts[name] for name in ("label", "confidence", "points"))
        if (cloud.height, cloud.width) != (label.height, label.width):
            self.refused.append(f"a cloud of {cloud.width}x{cloud.height} for labels of "
                                f"{label.width}x{label.height}")
            return
        points = read_points(cloud).ravel()
        known = np.isfinite(points["z"])
        positions = np.stack([points[name] for name in "xyz"], -1)[known]
        names = {entry.class_id: entry.class_name for entry in parts["class_confidence"].classes}
        self._grid.add(self._place(positions, cloud_stamp),
                       np.frombuffer(label.data, np.uint8)[known],
                       np.frombuffer(confidence.data, np.uint8)[known] / 255, names)
        labels = np.frombuffer(label.data, np.uint8)
        self.taken[stamp] = Taken(names, float(np.isin(labels, list(names)).mean()), parts)
