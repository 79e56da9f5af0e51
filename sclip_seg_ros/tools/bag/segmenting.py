"""From the images of a recording to finished frames."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice

from tqdm import tqdm

from sclip_seg_ros.cluster.pieces import Piece
from sclip_seg_ros.segmentation import SCLIPSegmentor, Vocabulary
from sclip_seg_ros.segmentation.backbones.steady_sizes import SteadySizes
from sclip_seg_ros.temporal import FilmSegmentor, TemporalSettings
from sclip_seg_ros.tools.bag.recording.channel import Message
from sclip_seg_ros.tools.bag.recording.messages import Codec
from sclip_seg_ros.tools.bag.recording.recording import Recording
from sclip_seg_ros.tools.bag.results.topics import Plan
from sclip_seg_ros.tools.console import BAR
from sclip_seg_ros.tools.failures import IMAGE_ERRORS, cause_of
from sclip_seg_ros.tools.pieces.finished_frames import FinishedFrames, Frame
from sclip_seg_ros.tools.pieces.seams import Entrance

CHECKPOINT = 32  # frames after which what is carried from frame to frame is written down


def segment_images(recording: Recording, plan: Plan, finished: FinishedFrames, codec: Codec,
                   segmentor: SCLIPSegmentor, vocabulary: Vocabulary, temporal: TemporalSettings,
                   position: int, label_size: tuple[int, int] | None = None) -> None:
    """Segment the images that are not finished yet, one by one.

    A run that goes on begins at the last checkpoint, so that its frames see the same past as they
    would have without the interruption, and come out the same.

    Args:
        recording: to read.
        plan: which topics.
        finished: gains a frame for every image, also for one that cannot be segmented.
        codec: reads the messages.
        segmentor, vocabulary: with which.
        temporal: how the frames of a topic help one another.
        position: line of the progress bar.
        label_size: (H, W) that labels are decided at; None for that of the images.
    """
    total = recording.count_of(plan.outputs)
    steady: dict[str, SteadySizes] = defaultdict(SteadySizes)  # by topic
    films = {channel.topic: FilmSegmentor(segmentor, vocabulary, temporal, label_size)
             for channel in plan.outputs}
    begin = finished.count
    if temporal.enabled:
        begin, states = finished.checkpoint()
        for topic, state in states.items():
            films[topic].resume(state)
    with tqdm(total=total, initial=finished.count, desc=recording.path.name, unit=" frame",
              bar_format=BAR, position=position, disable=None) as bar:
        messages = islice(recording.messages(plan.outputs), begin, None)
        for number, message in enumerate(messages, begin):
            topic = message.channel.topic
            frame = _segment(message, codec, segmentor, vocabulary, films[topic], steady[topic],
                             plan.outputs[message.channel].points is not None)
            if number < finished.count:  # was finished before the interruption
                continue
            finished.append(frame)
            if temporal.enabled and finished.count % CHECKPOINT == 0:
                finished.keep({topic: film.state() for topic, film in films.items()})
            bar.update()


def segment_piece(recording: Recording, plan: Plan, piece: Piece, store: FinishedFrames,
                  codec: Codec, segmentor: SCLIPSegmentor, vocabulary: Vocabulary,
                  temporal: TemporalSettings, label_size: tuple[int, int] | None = None) -> None:
    """Segment the images of one piece, whose unit is the nanosecond; see :func:`segment_images`.

    The store gains its frames, and notes of what was known at both ends of it.
    """
    steady: dict[str, SteadySizes] = defaultdict(SteadySizes)
    films = {channel.topic: FilmSegmentor(segmentor, vocabulary, temporal, label_size)
             for channel in plan.outputs}
    entrance = Entrance()
    # A recording that cannot be read from the middle is one piece.
    window = () if piece.number == 0 and piece.end is None else (piece.run_in, piece.end)
    for message in recording.messages(plan.outputs, *window):
        topic = message.channel.topic
        kept = message.stamp >= piece.begin or not window
        if kept:
            entrance.enter(topic, films[topic])
        frame = _segment(message, codec, segmentor, vocabulary, films[topic], steady[topic],
                         plan.outputs[message.channel].points is not None)
        if kept:
            store.append(frame)
        else:
            entrance.saw(topic, frame.labels)
    store.keep(entrance.leave(films))


def _segment(message: Message, codec: Codec, segmentor: SCLIPSegmentor, vocabulary: Vocabulary,
             film: FilmSegmentor, steady: SteadySizes, keep_confidence: bool) -> Frame:
    topic = message.channel.topic
    try:
        pixels, _ = codec.read_image(message)
        if segmentor.pipeline.records and steady.news([pixels.shape[:2]]):
            segmentor.pipeline.warm_up([pixels.shape[:2]], vocabulary)
        result = film(pixels, message.stamp / 1e9)
    except IMAGE_ERRORS as error:
        return Frame(topic, message.stamp, cause_of(error))
    return Frame(topic, message.stamp, "", result.labels, result.coverage, result.mean_confidence,
                 result.confidence if keep_confidence else None)
