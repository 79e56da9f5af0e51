"""Latency: measured, predicted and kept."""
