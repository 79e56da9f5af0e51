"""The studio beside a running node: its results are shown, its parameters set."""
