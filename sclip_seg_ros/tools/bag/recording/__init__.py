"""A recording as it lies on disk: its files, topics and messages, also of one that breaks off."""
