"""The node's outputs: topics, quality of service, and what is only made while somebody listens."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sclip_seg_ros.io.overlay import overlay_of
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus
from sclip_seg_ros.msg import Vocabulary as VocabularyMessage
from sclip_seg_ros.ros.images import to_message
from sclip_seg_ros.ros.label_info import LabelInfoPublisher
from sclip_seg_ros.ros.messages import (
    FrameQuality,
    class_confidence_message,
    probabilities_message,
    vocabulary_message,
)
from sclip_seg_ros.ros.parameters import NodeOptions
from sclip_seg_ros.ros.qos import latched
from sclip_seg_ros.segmentation import SegmentationResult, Vocabulary
from sclip_seg_ros.segmentation.stopwatch import Stopwatch

DEPTH = 5  # of the per-frame outputs


class Outputs:
    """Publish a frame's results, every message with the frame's own header."""

    def __init__(self, node: Node, camera: str = "") -> None:
        """Create the publishers, below ``~/<camera>/`` if a camera is named.

        Per-frame outputs are reliable, which reaches best-effort and reliable subscribers alike,
        with depth 5: with 1 a message lost on the way is replaced before it can be repeated.
        ``qos_overrides`` parameters change that. The vocabulary is latched.
        """
        self._node = node
        self._prefix = f"~/{camera}/" if camera else "~/"
        self._label = self._per_frame_publisher(Image, "label")
        self._confidence = self._per_frame_publisher(Image, "confidence")
        self._overlay = self._per_frame_publisher(Image, "overlay")
        self._classes = self._per_frame_publisher(ClassConfidenceArray, "class_confidence")
        self._probabilities = self._per_frame_publisher(Image, "probabilities")
        self._status = self._per_frame_publisher(SegmentationStatus, "status")
        self._vocabulary = node.create_publisher(VocabularyMessage, f"{self._prefix}vocabulary",
                                                 latched())
        self._label_info = LabelInfoPublisher(node, f"{self._prefix}label_info")
        self._announced: dict[str, tuple[object, bool]] = {}  # content, with a frame's header

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in (*self._per_frame, self._vocabulary):
            self._node.destroy_publisher(publisher)
        self._label_info.close()

    @property
    def topics(self) -> list[str]:
        """Resolved names of the per-frame outputs."""
        return [publisher.topic_name for publisher in self._per_frame]

    @property
    def wanted(self) -> bool:
        """Tell whether anybody listens to anything that a frame makes."""
        return any(publisher.get_subscription_count() for publisher in self._per_frame)

    def announce(self, vocabulary: Vocabulary, threshold: float,
                 header: Header | None = None) -> None:
        """Publish a vocabulary, and its label info with the threshold, unless that was done.

        Args:
            vocabulary: in force from now on.
            threshold: the node's probability threshold.
            header: of the first frame labelled with it; None before there is one. A frame's
                header replaces the empty one of an earlier announcement.
        """
        version, with_frame = vocabulary.version, header is not None
        if self._is_news("vocabulary", version, with_frame):
            self._vocabulary.publish(vocabulary_message(vocabulary, header or Header()))
        if self._is_news("label_info", (version, threshold), with_frame):
            self._label_info.publish(vocabulary, header or Header(), threshold)

    def publish(self, result: SegmentationResult, header: Header, options: NodeOptions,
                quality: FrameQuality, watch: Stopwatch) -> None:
        """Announce the vocabulary if it is new, then publish what somebody listens to."""
        with watch.stage("publish"):
            self.announce(result.vocabulary, options.settings.probability_threshold, header)
            _offer(self._label, lambda: to_message(result.labels, "mono8", header))
            _offer(self._confidence, lambda: to_message(result.confidence, "mono8", header))
            _offer(self._classes, lambda: class_confidence_message(result, header, quality))
        if self._overlay.get_subscription_count():
            with watch.stage("overlay"):
                self._overlay.publish(_overlay_message(result, header, options))
        if self._probabilities.get_subscription_count():
            with watch.stage("probabilities"):
                self._probabilities.publish(probabilities_message(result, header))

    def publish_status(self, status: SegmentationStatus) -> None:
        """Publish what the node did with a frame."""
        self._status.publish(status)

    def _per_frame_publisher(self, kind: type, topic: str) -> Publisher:
        qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        return self._node.create_publisher(
            kind, self._prefix + topic, qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies())

    def _is_news(self, topic: str, content: object, with_frame: bool) -> bool:
        if self._announced.get(topic) in ((content, True), (content, with_frame)):
            return False
        self._announced[topic] = (content, with_frame)
        return True

    @property
    def _per_frame(self) -> tuple[Publisher, ...]:
        return (self._label, self._confidence, self._overlay, self._classes, self._probabilities,
                self._status)


def _overlay_message(result: SegmentationResult, header: Header, options: NodeOptions) -> Image:
    picture = overlay_of(result.on_device.image, result.on_device.labels, result.vocabulary,
                         result.coverage, options.overlay_alpha, options.overlay_legend)
    return to_message(picture, "rgb8", header)


def _offer(publisher: Publisher, make: Callable[[], object]) -> None:
    """Make and publish a message if somebody listens."""
    if publisher.get_subscription_count():
        publisher.publish(make())
