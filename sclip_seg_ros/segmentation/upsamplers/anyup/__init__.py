"""AnyUp: the network, and its weights at work on class scores."""
