"""Stages that sharpen class scores with the image."""
