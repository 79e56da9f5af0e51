"""How a camera fares, in one verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from diagnostic_msgs.msg import DiagnosticStatus

from sclip_seg_ros.ros.cameras.frame_log import BUDGET_FRAMES, Counts

STALE_SECONDS = 3.0    # without an image before that is worth a warning
STUCK_SECONDS = 10.0   # in one frame before that is worth a warning
RECENT_SECONDS = 10.0  # for which an error or a missed budget is worth a warning
MISSES = BUDGET_FRAMES // 100  # that the promised 99 % allow, and no warning is worth

_OK, _WARN, _ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Verdict(Enum):
    """What the diagnostics say under the key ``verdict``, in the order they are looked for.

    Attributes:
        word: for programs, which stays however the sentence for people is put.
        level: of the diagnostic status.
        meaning: in one line, as docs/topics.md has it.
    """

    ENDED = "ended", _ERROR, "the frame thread or the tower's thread has ended; restart the node"
    FAILING = "failing", _ERROR, f"the newest frame failed, less than {RECENT_SECONDS:g} s ago"
    TOWER_FAILING = ("tower failing", _ERROR, "the last run of the image tower failed; labels rest "
                     "on older evidence, and then on none")
    STUCK = ("stuck", _WARN, "at one frame, one run of the image tower or one change of settings "
             f"for more than {STUCK_SECONDS:g} s")
    RECENT_ERROR = ("recent error", _WARN, f"an error in the last {RECENT_SECONDS:g} s, e.g. of an "
                    "image that cannot be read")
    OFF = "off", _OK, "images are skipped until `~/enable` is called"
    IDLE = "idle", _OK, "nobody listens to the outputs"
    WAITING = "waiting", _WARN, "no image has arrived yet"
    SILENT = "silent", _WARN, f"no image for more than {STALE_SECONDS:g} s"
    HOPELESS = ("hopeless", _WARN, "no quality level keeps the latency budget, or none runs within "
                "`temporal.refresh`")
    OVER_BUDGET = ("over budget", _WARN, f"more than {MISSES} of the last {BUDGET_FRAMES} frames "
                   f"missed the latency budget, one in the last {RECENT_SECONDS:g} s")
    LABELLING = "labelling", _OK, "images come and are labelled"
    # Of a node that works on no frames.
    LOADING = "loading", _WARN, "the node is being configured, and loads or downloads weights"
    UNCONFIGURED = "not configured", _OK, "not yet, or no longer"
    INACTIVE = "inactive", _OK, "configured, and not active, or not yet warm"
    DEACTIVATING = "being deactivated", _OK, "work is ended, and the device's memory given back"
    SHUT_DOWN = "shut down", _OK, "for good; end the process"

    def __init__(self, word: str, level: bytes, meaning: str) -> None:
        """Take the parts of a member's value."""
        self.word, self.level, self.meaning = word, level, meaning


@dataclass(frozen=True)
class Situation:
    """What the verdict rests on.

    Attributes:
        counts: of frames.
        silent_seconds: since the newest image, infinite before the first.
        error_seconds: since the newest error, infinite where there was none.
        miss_seconds: since the newest frame over the budget, infinite where there was none.
        busy_seconds: in the current frame.
        worker_alive: whether the frame thread and the tower's thread run.
        wanted: whether anybody listens, or the node works without listeners.
        hopeless: what no quality level achieves, in words; empty where one does.
        topic: where images should come from.
        silence: why none come, where that is known.
        enabled: whether images are labelled at all.
        tower_trouble: why the last run of the image tower failed; empty where it did not.
    """

    counts: Counts
    silent_seconds: float
    error_seconds: float
    miss_seconds: float
    busy_seconds: float
    worker_alive: bool
    wanted: bool
    hopeless: str
    topic: str
    silence: str = ""
    enabled: bool = True
    tower_trouble: str = ""


def judge(situation: Situation) -> tuple[Verdict, str]:
    """Return the first verdict that holds, and one sentence for people."""
    error = situation.counts.last_error
    if not situation.worker_alive:
        return Verdict.ENDED, ("the frame thread or the tower's thread has ended: "
                               f"{error or 'restart the node'}")
    recent_error = situation.error_seconds < RECENT_SECONDS
    if situation.counts.failing and recent_error and situation.wanted:
        return Verdict.FAILING, f"frames fail: {error}"
    if situation.tower_trouble and situation.wanted:
        return Verdict.TOWER_FAILING, (f"the image tower fails: {situation.tower_trouble}; labels "
                                       "rest on older evidence, and then on none")
    if situation.busy_seconds > STUCK_SECONDS:
        return Verdict.STUCK, ("at one frame, one run of the image tower or one change of "
                               f"settings for {situation.busy_seconds:.0f} s")
    if recent_error:
        return Verdict.RECENT_ERROR, error
    if not situation.enabled:
        return Verdict.OFF, "switched off: images are skipped until ~/enable is called"
    if not situation.wanted:
        return Verdict.IDLE, "idle: nobody listens to the outputs"
    why = f": {situation.silence}" if situation.silence else ""
    if not situation.counts.received:
        return Verdict.WAITING, f"no image has arrived on {situation.topic} yet{why}"
    if situation.silent_seconds > STALE_SECONDS:
        return Verdict.SILENT, (f"no image on {situation.topic} for "
                                f"{situation.silent_seconds:.0f} s{why}")
    if situation.hopeless:
        return Verdict.HOPELESS, situation.hopeless
    if situation.counts.missed_lately > MISSES and situation.miss_seconds < RECENT_SECONDS:
        return Verdict.OVER_BUDGET, (f"{situation.counts.missed_lately} of the last "
                                     f"{BUDGET_FRAMES} frames missed the latency budget")
    return Verdict.LABELLING, "labelling"
