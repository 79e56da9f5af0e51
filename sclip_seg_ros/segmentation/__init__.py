"""From an RGB image and a vocabulary to labels: torch in, torch out; no ROS, no files."""

from sclip_seg_ros.segmentation.result import SegmentationResult
from sclip_seg_ros.segmentation.segmentor import SCLIPSegmentor
from sclip_seg_ros.segmentation.settings import SegmentorSettings
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary

__all__ = ["SCLIPSegmentor", "SegmentationResult", "SegmentorSettings", "Vocabulary"]
