"""The day with a GPU: one command that tests, measures and runs the node on it."""
