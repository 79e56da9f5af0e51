"""From an RGB image and a vocabulary to labels: torch in, torch out; no ROS, no files."""
