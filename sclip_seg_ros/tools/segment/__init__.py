"""Segment image and video files: labels, confidence, overlays and statistics into a folder."""
