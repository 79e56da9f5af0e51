"""The node's outputs: topics, quality of service, and what is only made while somebody listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from sclip_seg_ros.common.stopwatch import Stopwatch
from sclip_seg_ros.geometry.sensors import image_size
from sclip_seg_ros.io.overlay import overlay_of
from sclip_seg_ros.msg import ClassConfidenceArray, SegmentationStatus
from sclip_seg_ros.msg import Vocabulary as VocabularyMessage
from sclip_seg_ros.ros.cameras.frame_log import FrameLog
from sclip_seg_ros.ros.cameras.label_info import LabelInfoPublisher
from sclip_seg_ros.ros.cameras.messages import (
    FrameQuality,
    class_confidence_message,
    probabilities_message,
    vocabulary_message,
)
from sclip_seg_ros.ros.cameras.points import SemanticPoints
from sclip_seg_ros.ros.cameras.qos import latched
from sclip_seg_ros.ros.images import resized_info, to_message
from sclip_seg_ros.ros.parameters.options import NodeOptions
from sclip_seg_ros.segmentation import SegmentationResult, Vocabulary

DEPTH = 5  # of the per-frame outputs


@dataclass(frozen=True)
class LabelledFrame:
    """What an output is made of.

    Attributes:
        result: labels, confidence and all that was found out about the frame.
        header: the frame's own, which every message carries.
        options: in force.
        quality: at which the frame was computed.
        size: (H, W) of the camera's image.
        camera_info: newest of the camera; None where it has none.
    """

    result: SegmentationResult
    header: Header
    options: NodeOptions
    quality: FrameQuality
    size: tuple[int, int]
    camera_info: CameraInfo | None = None


@dataclass(frozen=True)
class Output:
    """A topic with a message a frame: a row of :data:`OUTPUTS`.

    Attributes:
        topic: below ``~/``, or ``~/<camera>/``.
        kind: class of the message.
        make: returns the message, None for none; called only while somebody listens.
        stage: by which its time is told.
    """

    topic: str
    kind: type
    make: Callable[[LabelledFrame], object]
    stage: str = "publish"


def _label(frame: LabelledFrame) -> Image:
    result = frame.result
    return to_message(result.vocabulary.ids.publish(result.labels), "mono8", frame.header)


def _confidence(frame: LabelledFrame) -> Image:
    return to_message(frame.result.confidence, "mono8", frame.header)


def _camera_info(frame: LabelledFrame) -> CameraInfo | None:
    if frame.camera_info is None:
        return None
    return resized_info(frame.camera_info, frame.size, frame.result.labels.shape, frame.header)


def _classes(frame: LabelledFrame) -> ClassConfidenceArray:
    return class_confidence_message(frame.result, frame.header, frame.quality)


def _overlay(frame: LabelledFrame) -> Image:
    result, options = frame.result, frame.options
    picture = overlay_of(result.on_device.image, result.on_device.labels, result.vocabulary,
                         result.coverage, options.overlay_alpha, options.overlay_legend)
    return to_message(picture, "rgb8", frame.header)


def _probabilities(frame: LabelledFrame) -> Image:
    return probabilities_message(frame.result, frame.header)


OUTPUTS = [  # in the order they are published
    Output("label", Image, _label),
    Output("confidence", Image, _confidence),
    Output("camera_info", CameraInfo, _camera_info),
    Output("class_confidence", ClassConfidenceArray, _classes),
    Output("overlay", Image, _overlay, "overlay"),
    Output("probabilities", Image, _probabilities, "probabilities"),
]


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
        self._results = [(output, self._per_frame_publisher(output.kind, output.topic))
                         for output in OUTPUTS]
        self._status = self._per_frame_publisher(SegmentationStatus, "status")
        self._vocabulary = node.create_publisher(VocabularyMessage, f"{self._prefix}vocabulary",
                                                 latched())
        self._label_info = LabelInfoPublisher(node, f"{self._prefix}label_info")
        self.camera_info: CameraInfo | None = None  # the newest of the camera
        self._points: Publisher | None = None
        self.points: SemanticPoints | None = None  # of a camera with depth
        self._misfits: set[tuple] = set()  # sizes of camera_info and image already told of
        self._announced: dict[str, tuple[object, bool]] = {}  # content, with a frame's header

    def add_points(self, depth_topic: str, log: FrameLog) -> SemanticPoints:
        """Create the semantic cloud, for a camera with depth.

        Args:
            depth_topic: of a depth image, or an organised cloud.
            log: of the camera.
        """
        self._points = self._per_frame_publisher(PointCloud2, "points")
        self.points = SemanticPoints(self._node, depth_topic, self._points, log)
        return self.points

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
                quality: FrameQuality, watch: Stopwatch, size: tuple[int, int]) -> None:
        """Announce the vocabulary if it is new, then publish what somebody listens to."""
        frame = LabelledFrame(result, header, options, quality, size, self.camera_info)
        with watch.stage("publish"):
            self.announce(result.vocabulary, options.settings.probability_threshold, header)
        for output, publisher in self._results:
            if publisher.get_subscription_count():
                with watch.stage(output.stage):
                    message = output.make(frame)
                    if message is not None:
                        publisher.publish(message)
        if self.points is not None:
            self.points.labelled(result, header, options.points)
        self._tell_of_misfit(size)

    def _tell_of_misfit(self, size: tuple[int, int]) -> None:
        """Warn once of a camera_info that is of images of another size."""
        if self.camera_info is None or (found := image_size(self.camera_info)) == tuple(size):
            return
        if (found, size) not in self._misfits:
            self._misfits.add((found, size))
            self._node.get_logger().warning(
                f"the camera's camera_info is of images of {found[1]}x{found[0]}, but they have "
                f"{size[1]}x{size[0]}; {self._prefix}camera_info stays silent until the camera "
                "driver publishes the one of its images")

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
        points = () if self._points is None else (self._points,)
        return (*(publisher for _, publisher in self._results), *points, self._status)
