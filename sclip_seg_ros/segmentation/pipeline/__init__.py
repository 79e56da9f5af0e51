"""Settings joined with a model, for good; and the weights that settings name, in memory."""

from sclip_seg_ros.segmentation.pipeline.features import Features, KeptFeatures, Picture
from sclip_seg_ros.segmentation.pipeline.pipeline import Model, Pipeline

__all__ = ["Features", "KeptFeatures", "Model", "Picture", "Pipeline"]
