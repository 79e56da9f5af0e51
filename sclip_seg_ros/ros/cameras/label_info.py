"""The vocabulary as vision_msgs/LabelInfo, which Nav2's semantic layer and others read."""

from __future__ import annotations

from rclpy.node import Node
from std_msgs.msg import Header

from sclip_seg_ros.ros.cameras.qos import latched
from sclip_seg_ros.segmentation import Vocabulary

DEFAULT_THRESHOLD = 0.5  # least confidence for consumers, where the node itself drops nothing


class LabelInfoPublisher:
    """Publish ``~/label_info`` where vision_msgs is installed, or say once that it is not."""

    def __init__(self, node: Node, topic: str) -> None:
        """Create the latched publisher."""
        self._node = node
        self._publisher = None
        try:
            from vision_msgs.msg import LabelInfo, VisionClass
        except ImportError as error:
            node.get_logger().info(f"{topic} is not published ({error}); install vision_msgs "
                                   "for consumers that need it")
            return
        self._info, self._class = LabelInfo, VisionClass
        self._publisher = node.create_publisher(LabelInfo, topic, latched())

    def publish(self, vocabulary: Vocabulary, header: Header, threshold: float) -> None:
        """Announce a vocabulary.

        Args:
            vocabulary: its ids and names.
            header: of the first frame labelled with it.
            threshold: probability below which pixels have no label; of 0, which says nothing,
                DEFAULT_THRESHOLD is made.
        """
        if self._publisher is None:
            return
        classes = [self._class(class_id=value, class_name=name)
                   for value, name in zip(vocabulary.class_ids, vocabulary.names, strict=True)]
        self._publisher.publish(self._info(header=header, class_map=classes,
                                           threshold=threshold or DEFAULT_THRESHOLD))

    def close(self) -> None:
        """Destroy the publisher."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
