"""Where pixels lie in space: pinholes, depth, clouds, stamps that belong together; without ROS."""
