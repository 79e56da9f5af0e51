"""What time brings: steadiness, accuracy and cost of scores carried from frame to frame."""
