"""Ask a running node for the labels of one image, and hold them against the segmentor's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from ros_harness import MODEL, Probe, picture, pixels_of, stamp_of
from sclip_seg_ros.msg import Vocabulary
from sensor_msgs.msg import Image

from sclip_seg_ros.segmentation import SCLIPSegmentor

SHORT_SIDE = 64  # what these tests start their nodes with


def expect_right_labels(probe: Probe, classes: Sequence[str], node: str = "/sclip_seg",
                        seed: int = 7) -> None:
    """Publish good frames; their labels must come, and be those that the core gives them alone.

    The first may still meet parameters that have just been changed back; the second must not.
    Meanwhile each frame of the node is labelled alone.
    """
    before = probe.get_parameter("temporal.enabled", node)
    assert probe.set_parameters(node=node, **{"temporal.enabled": False}).successful
    image = picture(160, 120, seed)
    with probe.listening(Image, f"{node}/label") as labels:
        for _ in range(2):
            begin = probe.node.get_clock().now().nanoseconds
            probe.feed_until(lambda since=begin: labels and stamp_of(labels[-1]) > since,
                             "the labels of a good frame", lambda: image)
        expected = _segmentor().segment(pixels_of(image), list(classes))
        np.testing.assert_array_equal(pixels_of(labels[-1]), expected)
    assert probe.set_parameters(node=node, **{"temporal.enabled": before}).successful


def names_in_force(messages: list[Vocabulary]) -> list[str]:
    """Return the class names of the newest vocabulary."""
    return [entry.name for entry in messages[-1].classes] if messages else []


@cache
def _segmentor() -> SCLIPSegmentor:
    return SCLIPSegmentor(MODEL, device="auto", short_side=SHORT_SIDE)
