"""The node serves Nav2's semantic segmentation layer, by the contract that its sources state.

The consumer here subscribes as that layer does: mask and confidence as sensor data with depth 50,
matched by exactly equal stamps, classes taken by name from a latched LabelInfo.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pytest
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from ros_harness import (
    FRAME_ID,
    LATCHED,
    Probe,
    domain_for,
    node_fixture,
    picture,
    pixels_of,
    probe_fixture,
    stamp_of,
)
from sclip_seg_ros.msg import Vocabulary
from sensor_msgs.msg import Image

DOMAIN = domain_for(__file__)
CLASSES = ["floor|ground", "wall", "ball", "box"]
COSTS = {"floor": 0, "wall": 254, "box": 200, "person": 254}  # a robot's own, by name
SIZE = (150, 110)
MASKS = QoSProfile(depth=50, history=HistoryPolicy.KEEP_LAST,
                   reliability=qos_profile_sensor_data.reliability)
LABEL_INFO = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE,
                        durability=DurabilityPolicy.TRANSIENT_LOCAL)


class ExactTime:
    """Hand over messages of several topics that bear the very same stamp, and no others.

    As ``message_filters::TimeSynchronizer`` does with a queue of 1000.
    """

    def __init__(self, count: int, callback: Callable[..., None], queue: int = 1000) -> None:
        self._count, self._callback, self._queue = count, callback, queue
        self._waiting: OrderedDict[int, dict[int, Image]] = OrderedDict()

    def add(self, index: int, message: Image) -> None:
        """Take a message of the topic of that index."""
        stamp = stamp_of(message)
        together = self._waiting.setdefault(stamp, {})
        together[index] = message
        if len(together) == self._count:
            del self._waiting[stamp]
            self._callback(*(together[position] for position in range(self._count)))
        while len(self._waiting) > self._queue:
            self._waiting.popitem(last=False)


class SemanticLayer:
    """What the layer does with a mask, its confidence and a point cloud of the camera's size."""

    def __init__(self, probe: Probe, size: tuple[int, int], node: str = "/sclip_seg") -> None:
        self.tiles: list[tuple[Image, Image]] = []
        self.refused: list[str] = []
        self._cloud = size
        synchroniser = ExactTime(2, self._on_pair)
        for index, topic in enumerate(("label", "confidence")):
            probe.node.create_subscription(
                Image, f"{node}/{topic}",
                lambda message, position=index: synchroniser.add(position, message), MASKS)

    def _on_pair(self, mask: Image, confidence: Image) -> None:
        for message in (mask, confidence):
            if message.width * message.height != self._cloud[0] * self._cloud[1]:
                self.refused.append(f"{message.width}x{message.height}")
                return
            if message.encoding != "mono8":
                self.refused.append(message.encoding)
                return
        self.tiles.append((mask, confidence))


node = node_fixture(DOMAIN, {"classes": CLASSES, "short_side": 64, "threads": 1,
                             "probability_threshold": 0.3})
probe = probe_fixture(DOMAIN)


def costs_of(mask: Image, names: dict[int, str]) -> np.ndarray:
    """Return costs by pixel; -1 where the class has none or the pixel has no class."""
    table = np.full(256, -1, np.int16)
    for index, name in names.items():
        table[index] = COSTS.get(name, -1)
    return table[pixels_of(mask)]


def test_mask_and_confidence_meet_by_exact_stamps_at_the_cameras_size(probe):
    """Pains 8 and 9: the stamp is the image's own, and the mask lies on the image."""
    layer = SemanticLayer(probe, SIZE)
    sent = probe.feed_until(lambda: len(layer.tiles) >= 10, "ten pairs", lambda: picture(*SIZE))
    assert layer.refused == []
    for mask, confidence in layer.tiles:
        assert mask.header == confidence.header
        assert stamp_of(mask) in sent and mask.header.frame_id == FRAME_ID
        labels = pixels_of(mask)
        assert labels.shape == pixels_of(confidence).shape == SIZE[::-1]
        assert set(np.unique(labels)) <= {0, 1, 2, 3, Vocabulary.UNLABELLED}
        sure = pixels_of(confidence)[labels != Vocabulary.UNLABELLED]
        assert not sure.size or sure.min() >= int(0.3 * 255)


def test_a_mask_of_another_size_is_never_sent_to_the_cloud_of_a_camera(probe):
    """The layer would refuse it; the node follows a camera that changes its resolution."""
    layer = SemanticLayer(probe, (96, 64))
    probe.feed_until(lambda: layer.tiles, "a pair of the new size", lambda: picture(96, 64))
    before = len(layer.refused)
    probe.feed(5, lambda: picture(96, 64))
    assert len(layer.refused) == before


def test_classes_are_matched_by_name_through_the_vocabulary(probe):
    """Pain 1: after a change the ids mean what the announcement says, from its stamp on."""
    names: list[tuple[int, dict[int, str]]] = []

    def learn(message: Vocabulary) -> None:
        names.append((stamp_of(message), {entry.id: entry.name for entry in message.classes}))

    probe.node.create_subscription(Vocabulary, "/sclip_seg/vocabulary", learn, LATCHED)
    layer = SemanticLayer(probe, SIZE)
    probe.feed_until(lambda: layer.tiles and names and names[-1][0], "a pair",
                     lambda: picture(*SIZE))
    assert probe.set_parameters(classes=["box", "floor"]).successful
    probe.feed_until(lambda: names[-1][1] == {0: "box", 1: "floor"} and names[-1][0]
                     and stamp_of(layer.tiles[-1][0]) > names[-1][0], "pairs of the new words",
                     lambda: picture(*SIZE))
    begin, new = names[-1]
    for mask, _ in layer.tiles:
        if stamp_of(mask) >= begin:
            assert set(np.unique(costs_of(mask, new))) <= {COSTS["box"], COSTS["floor"], -1}
        else:
            assert set(np.unique(pixels_of(mask))) <= {0, 1, 2, 3, Vocabulary.UNLABELLED}
    assert probe.set_parameters(classes=CLASSES).successful


def test_label_info_is_latched_and_names_the_classes(probe):
    vision_msgs = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    layer = SemanticLayer(probe, SIZE)
    with probe.listening(vision_msgs.LabelInfo, "/sclip_seg/label_info", LABEL_INFO) as infos:
        probe.feed_until(lambda: infos and layer.tiles, "label info", lambda: picture(*SIZE))
        assert {entry.class_id: entry.class_name for entry in infos[-1].class_map} \
            == {0: "floor", 1: "wall", 2: "ball", 3: "box"}
        assert infos[-1].threshold == pytest.approx(0.3)


def test_without_vision_msgs_the_log_says_what_is_missing(node):
    try:
        import vision_msgs.msg  # noqa: F401
    except ImportError:
        assert "label_info is not published" in node.log
        assert "install vision_msgs" in node.log
    else:
        assert "label_info is not published" not in node.log
