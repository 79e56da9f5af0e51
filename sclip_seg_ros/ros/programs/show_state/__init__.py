"""A running node in one screen."""
