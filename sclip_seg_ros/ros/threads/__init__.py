"""A thread that works on the newest items."""
