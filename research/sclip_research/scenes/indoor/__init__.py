"""Rooms with furniture, people and clutter: a world nearer to what a robot meets indoors."""
