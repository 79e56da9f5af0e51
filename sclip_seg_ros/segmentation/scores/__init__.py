"""Windows to scores, and scores to labels."""
