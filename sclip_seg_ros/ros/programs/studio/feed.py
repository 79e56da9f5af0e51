"""What one camera of a node sees and what the node makes of it, while somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from sclip_seg_ros.io.camera_names import COMPRESSED, camera_names
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus, Vocabulary
from sclip_seg_ros.ros.cameras.qos import latched
from sclip_seg_ros.ros.cameras.subscription import CameraSubscription, type_name
from sclip_seg_ros.ros.images import ImageError
from sclip_seg_ros.ros.programs.studio.joining import Joiner
from sclip_seg_ros.studio.labelled import Labelled

_KINDS = {type_name(kind): kind for kind in (Image, CompressedImage)}
_OUTPUTS = (("label", Image), ("confidence", Image), ("class_confidence", ClassConfidenceArray),
            ("probabilities", Image), ("status", SegmentationStatus))


@dataclass(frozen=True)
class LiveCamera:
    """A camera of a running node, as a source of the page.

    Attributes:
        name: for people.
        part: of the outputs' topics, empty for the only camera.
        topic: of its images.
        kind_of_image: sensor_msgs Image or CompressedImage.
    """

    name: str
    part: str
    topic: str
    kind_of_image: type
    kind: str = "camera"
    rate: float = 0.0
    moving: bool = False
    count: int = 1

    def name_of(self, index: int) -> str:
        """Return nothing: its frames have stamps."""
        return ""


class Feed:
    """Subscriptions to one camera and its outputs; all methods belong to the executor's thread."""

    def __init__(self, node: Node, name: str, camera: LiveCamera,
                 show: Callable[[Labelled], None], complain: Callable[[str], None]) -> None:
        """Subscribe.

        Args:
            node: to subscribe with.
            name: of the segmentation node, with its leading slash.
            camera: of it.
            show: called with every frame all of whose messages came.
            complain: called with a sentence where a picture cannot be read.
        """
        self.camera = camera
        self._node, self._show, self._complain = node, show, complain
        self._joiner = Joiner(camera.name)
        prefix = "/".join(filter(None, (name, camera.part)))
        newest = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._camera = CameraSubscription(node, camera.kind_of_image, camera.topic,
                                          lambda message: self._take("camera", message), "auto")
        self._subscriptions = [
            node.create_subscription(kind, f"{prefix}/{topic}", self._taker(topic), newest)
            for topic, kind in _OUTPUTS]
        self._subscriptions.append(node.create_subscription(
            Vocabulary, f"{prefix}/vocabulary", self._joiner.learn, latched()))

    def follow(self) -> None:
        """Keep to what the camera's publishers offer."""
        self._camera.follow(self._node.get_publishers_info_by_topic(self._camera.topic))

    def close(self) -> None:
        """Unsubscribe."""
        self._camera.close()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _taker(self, part: str) -> Callable[[Any], None]:
        return lambda message: self._take(part, message)

    def _take(self, part: str, message: Any) -> None:
        try:
            labelled = self._joiner.take(part, message)
        except ImageError as error:
            self._complain(f"the camera's image cannot be read ({error})")
            return
        if labelled is not None:
            self._show(labelled)


def cameras_of(node: Node, name: str, depths: Sequence[str] = ()) -> list[LiveCamera]:
    """Find the cameras that a segmentation node labels now, by what it subscribes to.

    Args:
        node: to ask the graph with.
        name: of the segmentation node, with its leading slash.
        depths: topics that it takes depth from, which are images too.
    """
    namespace, _, own = name.rpartition("/")
    try:
        subscribed = node.get_subscriber_names_and_types_by_node(own, namespace or "/")
        published = node.get_publisher_names_and_types_by_node(own, namespace or "/")
    except RuntimeError:  # there is no such node at the moment
        return []
    images = {topic: _KINDS[kind] for topic, kinds in subscribed for kind in kinds
              if kind in _KINDS and not any(depth and topic.endswith(depth) for depth in depths)}
    parts = sorted(topic.removeprefix(f"{name}/").removesuffix("label").strip("/")
                   for topic, _ in published
                   if topic.startswith(f"{name}/") and topic.endswith("/label"))
    bases = {topic.removesuffix(COMPRESSED): topic for topic in sorted(images)}
    try:
        named = dict(zip(camera_names(list(bases)), bases.values(), strict=True))
    except ValueError:
        named = {}
    if parts == [""]:
        named = {"": next(iter(bases.values()))} if bases else {}
    return [LiveCamera(part or named[part], part, named[part], images[named[part]])
            for part in parts if part in named]
