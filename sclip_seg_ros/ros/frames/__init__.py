"""A frame from message to message, and what is taken over between two frames."""
