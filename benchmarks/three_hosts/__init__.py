"""Camera, segmenter and consumer on three hosts made of network namespaces."""
