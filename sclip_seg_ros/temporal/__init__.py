"""Time: scores of earlier frames, carried along with what moves, steady the labels of new ones.

Each camera has a :class:`Memory`. It sees every frame, in order, on one thread; scores may be made
of whichever frames there is time for, on any thread, and are handed in when they are ready::

    memory = Memory(TemporalSettings())
    key = (vocabulary.version, ...)              # scores of another key are not comparable

    motion = memory.observe(image, stamp)        # every frame: optical flow, no scores yet
    memory.fuse(scores, key)                     # if this frame has scores of its own, or
    keyframe = memory.keyframe                   # if they will come later: keep it, and then
    memory.fuse(scores, key, keyframe)           #   hand them in, however many frames went on
    evidence = memory.evidence(key)              # None: nothing is known with this key

    refined = ...evidence.scores...              # a ScoreMap: PAMR, DenseCRF, decoding as ever
    labels, confidence = evidence.settle(labels, confidence)   # old evidence is less sure, or 255

Late scores give what scores at once would have given, carried on to now. A keyframe is followed
for as long as somebody holds it: with its features kept beside it, *new words* are scored on them
and handed in with a new key, and hold for the very next frame. ``memory.wants_scores(key)`` tells
whether a run of the tower is of use: not while the scene stands still.

Where every frame gets scores, as in a film, :class:`FilmSegmentor` does all of this.

``observe`` forgets everything at a cut, a gap or a change of size; :meth:`Memory.reset` does so
for whatever else its caller knows of, such as another camera behind the same topic.
"""

from sclip_seg_ros.temporal.evidence import LONGEST_GAP, Evidence, Memory, Motion
from sclip_seg_ros.temporal.film import FilmSegmentor
from sclip_seg_ros.temporal.keyframes import Keyframe
from sclip_seg_ros.temporal.settings import TemporalSettings

__all__ = ["LONGEST_GAP", "Evidence", "FilmSegmentor", "Keyframe", "Memory", "Motion",
           "TemporalSettings"]
