"""What comes of a recording: planned topics, finished frames, clouds, and a new recording."""
