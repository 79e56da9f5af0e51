"""The embedded model: its image tower, its weights and what was measured of them."""
