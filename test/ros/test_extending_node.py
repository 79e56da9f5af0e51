"""An output topic, and the parameters of settings, added as docs/extending.md says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from extending_page import import_example
from node_in_process import node_in_process
from ros_harness import domain_for, picture, probe_fixture
from sensor_msgs.msg import Image
from std_msgs.msg import UInt8MultiArray

from sclip_seg_ros.ros.cameras import outputs
from sclip_seg_ros.ros.parameters.declarations import declarations_of
from sclip_seg_ros.ros.parameters.options import descriptor_of
from sclip_seg_ros.ros.segmentation_node import SegmentNode

DOMAIN = domain_for(__file__)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SegmentNode]:
    before = len(outputs.OUTPUTS)
    import_example("An output topic", tmp_path)
    try:
        with node_in_process(DOMAIN, classes=["floor", "wall", "ball"], short_side=64) as node:
            assert node.start()
            yield node
    finally:
        del outputs.OUTPUTS[before:]


probe = probe_fixture(DOMAIN)


def test_an_output_topic_is_a_row(probe) -> None:
    with probe.listening(UInt8MultiArray, "/sclip_seg/in_sight") as lists, \
            probe.listening(Image, "/sclip_seg/label") as labels:
        probe.feed_until(lambda: len(lists) > 1 and len(labels) > 1, "lists and labels", picture)
        seen = {bytes(sorted(set(label.data) - {255})) for label in labels}
        assert bytes(lists[-1].data) in seen, "the classes of an image, by their ids"
    assert "/sclip_seg/in_sight" in [name for name, _ in probe.node.get_topic_names_and_types()]


def test_a_setting_becomes_a_parameter(tmp_path: Path) -> None:
    kind = import_example("A setting", tmp_path).ExtendedSettings
    declared = {entry.name: entry
                for entries in declarations_of(kind).values() for entry in entries}
    descriptor = descriptor_of(declared["blur.radius"])
    assert descriptor.description == "Half the side of the box."
    assert (descriptor.integer_range[0].from_value, descriptor.integer_range[0].to_value) == (0, 50)
    assert "In cells." in descriptor.additional_constraints
    assert declared["use_blur"].default is False
