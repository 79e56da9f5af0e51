"""Nav2 and others learn the vocabulary from vision_msgs/LabelInfo, with the labels' own stamps."""

from __future__ import annotations

import pytest
from ros_harness import FRAME_ID, LATCHED, Probe, domain_for, picture, running_node, stamp_of
from sensor_msgs.msg import Image

vision_msgs = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")

DOMAIN = domain_for(__file__)


def test_label_info_follows_the_vocabulary(tmp_path):
    parameters = {"classes": ["floor", "wall|fence"], "short_side": 112}
    with running_node(DOMAIN, tmp_path / "log.txt", parameters) as node:
        with Probe(DOMAIN) as probe:
            follow_a_change(probe)
        assert "label_info is not published" not in node.log


def follow_a_change(probe: Probe) -> None:
    def table() -> dict[int, str]:
        return {entry.class_id: entry.class_name for entry in infos[-1].class_map} if infos else {}

    with probe.listening(vision_msgs.LabelInfo, "/sclip_seg/label_info", LATCHED) as infos, \
            probe.listening(Image, "/sclip_seg/label") as labels:
        probe.wait(lambda: infos, "the first announcement")
        assert table() == {0: "floor", 1: "wall"}
        assert (stamp_of(infos[-1]), infos[-1].threshold) == (0, 0.5)
        probe.feed_until(lambda: len(infos) > 1 and labels, "a frame's announcement", picture)
        assert stamp_of(infos[-1]) == stamp_of(labels[0])

        assert probe.set_parameters(atomically=True, classes=["cup", "box", "rug"],
                                    probability_threshold=0.25).successful
        probe.feed_until(lambda: len(table()) == 3, "the new table", picture)
        assert table() == {0: "cup", 1: "box", 2: "rug"}
        assert infos[-1].threshold == 0.25
        assert infos[-1].header.frame_id == FRAME_ID
        assert probe.set_parameters(probability_threshold=0.75).successful
        probe.feed_until(lambda: infos[-1].threshold == 0.75, "the new threshold", picture)
        probe.wait(lambda: stamp_of(infos[-1]) in map(stamp_of, labels), "the label of that stamp")
