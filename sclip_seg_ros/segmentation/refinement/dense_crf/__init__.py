"""Fully connected CRF of class probabilities, by several backends."""
