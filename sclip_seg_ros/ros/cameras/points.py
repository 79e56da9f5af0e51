"""The semantic point cloud of a camera with depth: ~/points, made while somebody listens."""

from __future__ import annotations

import re
import threading
import time
from typing import NamedTuple

from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from sclip_seg_ros.geometry.sensors import positions_in
from sclip_seg_ros.geometry.stamps import Match, StampMatcher, stamp_of
from sclip_seg_ros.io.camera_names import info_topic
from sclip_seg_ros.ros.cameras.clouds import cloud_message
from sclip_seg_ros.ros.cameras.frame_log import FrameLog
from sclip_seg_ros.ros.cameras.subscription import CameraSubscription, type_name
from sclip_seg_ros.ros.log import describe
from sclip_seg_ros.ros.parameters.point_options import PointOptions
from sclip_seg_ros.ros.threads.worker import Worker
from sclip_seg_ros.segmentation import SegmentationResult

PATIENCE_SECONDS = 5.0    # without a cloud before it is told why
OTHER_CLOCK_SECONDS = 60  # between stamps, which are then of different clocks
_KINDS = {type_name(kind): kind for kind in (Image, PointCloud2)}
_QUEUE = 5                # messages of depth that may wait for the executor


class Labelled(NamedTuple):
    """A labelled image, as far as a cloud needs it."""

    result: SegmentationResult
    header: Header
    options: PointOptions


class SemanticPoints:
    """Join labels with depth that has nearly the same stamp, in a thread of their own.

    Labels never wait for depth: a labelled image is put aside until the depth at or after its stamp
    has come. Depth is subscribed to only while somebody listens to the clouds.
    """

    def __init__(self, node: Node, topic: str, publisher: Publisher, log: FrameLog) -> None:
        """Begin to look for listeners with :meth:`start`.

        Args:
            node: to subscribe with.
            topic: of the depth.
            publisher: of the clouds.
            log: of the camera, for what goes wrong.
        """
        self._node = node
        self._topic = topic
        self._publisher = publisher
        self._log = log
        self._lock = threading.Lock()
        self._matcher: StampMatcher[Labelled, Image | PointCloud2] = StampMatcher(
            PointOptions().tolerance)
        self._depth: CameraSubscription | None = None
        self._calibration: CameraSubscription | None = None
        self._info: CameraInfo | None = None
        self._last_expected: int | None = None
        self._worker: Worker[Match[Labelled, Image | PointCloud2]] | None = None
        self._last_good = time.monotonic()  # or since when there could have been a cloud
        self._last_depth = float("-inf")
        self._gap: int | None = None        # nanoseconds to the depth nearest to the last image
        self._fault = ""                    # why the last pair gave no cloud
        self._told: set[str] = set()
        self._told_classes: object = None

    @property
    def wanted(self) -> bool:
        """Whether somebody listens."""
        return self._publisher.get_subscription_count() > 0

    def start(self) -> None:
        """Start the thread."""
        self._worker = Worker("points", self._work, self._fail)
        self._worker.start()

    def stop(self) -> None:
        """Unsubscribe, and end the thread; a cloud in work is still published."""
        self._unsubscribe()
        if self._worker is not None:
            self._worker.stop(PATIENCE_SECONDS)
            self._worker = None

    def expect(self, header: Header, replaced: bool) -> None:
        """Note that an image has arrived.

        Args:
            header: the image's.
            replaced: whether the one before it will not be labelled.
        """
        if self._depth is None:
            return
        with self._lock:
            if replaced and self._last_expected is not None:
                self._matcher.forget(self._last_expected)
            self._last_expected = stamp_of(header)
            self._matcher.expect(self._last_expected)

    def labelled(self, result: SegmentationResult, header: Header, options: PointOptions) -> None:
        """Take a labelled image; called by the thread that labels, and returns at once."""
        if self._depth is None:
            return
        with self._lock:
            self._matcher.tolerance = options.tolerance
            matches = self._matcher.add_frame(stamp_of(header), Labelled(result, header, options))
        self._hand_over(matches)

    def look(self) -> None:
        """Subscribe while somebody listens; tell why no cloud comes. In the executor's thread."""
        if not self.wanted:
            self._unsubscribe()
            return
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        kinds = {info.topic_type for info in publishers}
        kind = next((_KINDS[name] for name in sorted(kinds) if name in _KINDS), None)
        if self._depth is None and kind is not None:
            self._last_good = time.monotonic()
            self._subscribe(kind)
        if self._depth is not None:
            self._depth.follow(publishers)
        if self._calibration is not None:
            self._calibration.follow(
                self._node.get_publishers_info_by_topic(info_topic(self._topic)))
        if time.monotonic() - self._last_good > PATIENCE_SECONDS:
            self._tell(self._why(kind, kinds))

    def _subscribe(self, kind: type) -> None:
        # As reliable as it is published: of large best-effort messages many are lost on the way.
        self._depth = CameraSubscription(self._node, kind, self._topic, self._on_depth, "auto",
                                         _QUEUE)
        if kind is Image:
            self._calibration = CameraSubscription(
                self._node, CameraInfo, info_topic(self._topic), self._on_info, "auto")

    def _unsubscribe(self) -> None:
        if self._depth is not None:
            self._depth.close()
        if self._calibration is not None:
            self._calibration.close()
        self._depth = self._calibration = None
        self._last_good = time.monotonic()
        self._told.clear()
        with self._lock:
            self._matcher.clear()
            self._gap, self._fault, self._last_expected = None, "", None

    def _on_info(self, info: CameraInfo) -> None:
        self._info = info

    def _on_depth(self, depth: Image | PointCloud2) -> None:
        self._last_depth = time.monotonic()
        with self._lock:
            matches = self._matcher.add_companion(stamp_of(depth.header), depth)
        self._hand_over(matches)

    def _hand_over(self, matches: list[Match[Labelled, Image | PointCloud2]]) -> None:
        for match in matches:
            self._gap = match.gap
            if match.companion is None:
                self._fault = ""  # of an earlier pair
            elif self._worker is not None:
                self._worker.mailbox.put(match)

    def _work(self, matches: list[Match[Labelled, Image | PointCloud2]]) -> None:
        for match in matches:
            result, header, options = match.frame
            depth = match.companion
            if depth is None:
                continue  # such are not handed over
            try:
                positions = positions_in(depth, self._info, header, result.labels.shape)
            except ValueError as error:
                self._fault = str(error)
                # Without a calibration yet, patience; the rest will not mend itself.
                if self._info is not None or isinstance(depth, PointCloud2):
                    self._tell(self._fault)
                continue
            self._publisher.publish(cloud_message(positions, result, options, depth.header))
            self._tell_of_classes(options, result)
            self._last_good, self._fault = time.monotonic(), ""
            self._told.clear()

    def _fail(self, error: Exception) -> None:
        self._tell(describe(error))

    def _why(self, kind: type | None, kinds: set[str]) -> str:
        """Return why no cloud comes, and what to do."""
        topic = self._topic
        if kind is None and kinds:
            return (f"{topic} carries {' and '.join(sorted(kinds))}; give depth_topics a "
                    "sensor_msgs/Image or an organised sensor_msgs/PointCloud2")
        if kind is None:
            return f"nobody publishes {topic}; see that the depth camera runs, or set depth_topics"
        if time.monotonic() - self._last_depth > PATIENCE_SECONDS:
            return (f"nothing has come on {topic} for {PATIENCE_SECONDS:g} s; see that the depth "
                    "camera sends")
        if self._fault:
            return self._fault
        if self._gap is None or self._gap <= self._matcher.tolerance:
            return ""  # the camera's silence is told elsewhere, and a cloud is in work
        if self._gap > OTHER_CLOCK_SECONDS * 1e9:
            return (f"the stamps of {topic} are {self._gap * 1e-9:.0f} s away from the images': "
                    "they are of different clocks; have both drivers use one, with use_sim_time "
                    "everywhere or nowhere")
        return (f"the depth nearest to an image is {self._gap * 1e-6:.0f} ms away from it; raise "
                "points.tolerance_ms, or synchronise the cameras")

    def _tell_of_classes(self, options: PointOptions, result: SegmentationResult) -> None:
        """Warn once of classes to keep or leave out that there are not."""
        key = options.classes, result.vocabulary.version
        if key == self._told_classes:
            return
        self._told_classes = key
        foreign = [name for name in options.names if name not in result.vocabulary.names]
        if foreign:
            self._node.get_logger().warning(
                f"points.classes names {', '.join(map(repr, foreign))}, which the classes do not "
                "have; name classes by their first word")

    def _tell(self, reason: str) -> None:
        """Warn of a reason once, whatever its figures are: those of a gap differ every time."""
        kind = re.sub(r"\d+", "", reason)
        if kind and kind not in self._told:
            self._told.add(kind)
            text = f"no point cloud: {reason}"
            self._log.note(text)
            self._node.get_logger().warning(text)
