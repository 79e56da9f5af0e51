"""Figures of programs: how scores are counted, what they are of, and where they come from."""
