"""Segment recordings (rosbag2, mcap or sqlite3) without ROS; through the rosbags library."""
