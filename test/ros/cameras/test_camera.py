"""A camera tells the topic that it really listens to, whatever is remapped."""

from __future__ import annotations

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from ros_harness import domain_for

from sclip_seg_ros.ros.cameras.camera import Camera
from sclip_seg_ros.ros.parameters.camera_topics import CameraTopic


@pytest.mark.parametrize("compressed, remappings, topic", [
    (False, [], "/robot/image_raw"),
    (False, ["image_raw:=/camera/image"], "/camera/image"),
    (True, [], "/robot/image_raw/compressed"),
    (True, ["image_raw:=/camera/image"], "/camera/image/compressed"),
    (True, ["image_raw/compressed:=/camera/jpeg"], "/camera/jpeg"),
    (True, ["image_raw:=/camera/image", "/camera/image/compressed:=/camera/jpeg"], "/camera/jpeg"),
], ids=["raw", "remapped", "compressed", "base remapped", "transport remapped", "both"])
def test_the_topic_told_is_the_topic_subscribed_to(compressed, remappings, topic):
    context = Context()
    rclpy.init(context=context, domain_id=domain_for(__file__))
    arguments = [part for rule in remappings for part in ("-r", rule)]
    node = Node("sclip_seg", context=context, namespace="/robot",
                cli_args=["--ros-args", *arguments])
    try:
        camera = Camera(node, CameraTopic("", "image_raw", compressed))
        assert camera.topic == topic
        camera.subscribe(lambda message: None, "auto")
        kind = "CompressedImage" if compressed else "Image"
        assert (topic, [f"sensor_msgs/msg/{kind}"]) in node.get_subscriber_names_and_types_by_node(
            "sclip_seg", "/robot")
        camera.close()
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
