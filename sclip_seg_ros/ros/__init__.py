"""The ROS 2 shell around the segmentor; the only place that knows rclpy."""
