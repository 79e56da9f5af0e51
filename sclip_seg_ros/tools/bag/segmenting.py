"""From the images of a recording to finished frames."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice

from tqdm import tqdm

from sclip_seg_ros.latency.steady_sizes import SteadySizes
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.tools.bag.channel import Message
from sclip_seg_ros.tools.bag.finished import FinishedFrames, Frame
from sclip_seg_ros.tools.bag.messages import Codec
from sclip_seg_ros.tools.bag.recording import Recording
from sclip_seg_ros.tools.bag.topics import Plan
from sclip_seg_ros.tools.console import BAR, IMAGE_ERRORS, cause_of


def segment_images(recording: Recording, plan: Plan, finished: FinishedFrames, codec: Codec,
                   segmentor: SCLIPSegmentor, vocabulary: Vocabulary, position: int) -> None:
    """Segment the images that are not finished yet, one by one.

    Args:
        recording: to read.
        plan: which topics.
        finished: gains a frame for every image, also for one that cannot be segmented.
        codec: reads the messages.
        segmentor, vocabulary: with which.
        position: line of the progress bar.
    """
    counts = [recording.counts.get(channel) for channel in plan.outputs]
    total = sum(counts) if all(counts) else None
    steady: dict[str, SteadySizes] = defaultdict(SteadySizes)  # by topic
    with tqdm(total=total, initial=finished.count, desc=recording.path.name, unit=" frame",
              bar_format=BAR, position=position, disable=None) as bar:
        messages = recording.messages(plan.outputs)
        for message in islice(messages, finished.count, None):
            finished.append(_segment(message, codec, segmentor, vocabulary,
                                     steady[message.channel.topic]))
            bar.update()


def _segment(message: Message, codec: Codec, segmentor: SCLIPSegmentor,
             vocabulary: Vocabulary, steady: SteadySizes) -> Frame:
    topic = message.channel.topic
    try:
        pixels, _ = codec.read_image(message)
        if segmentor.records and steady.news([pixels.shape[:2]]):
            segmentor.warm_up([pixels.shape[:2]], vocabulary)
        result = segmentor.predict_dense(pixels, vocabulary)
    except IMAGE_ERRORS as error:
        return Frame(topic, message.stamp, cause_of(error))
    return Frame(topic, message.stamp, "", result.labels, result.coverage, result.mean_confidence)
