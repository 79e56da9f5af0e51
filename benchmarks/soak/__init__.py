"""Endurance: the real node under full load and constant change, watched from outside."""
