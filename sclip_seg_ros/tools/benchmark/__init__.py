"""Measure a segmentor on a data set so that the figure can be traced and repeated."""
