"""Change the vocabulary under a running frame path, without delaying a frame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from sclip_seg_ros.ros.worker import Worker
from sclip_seg_ros.segmentation.vocabulary import Vocabulary


@dataclass(frozen=True)
class Proposal:
    """Checked classes that shall become the vocabulary."""

    classes: tuple[str, ...]
    background: str


class VocabularyServer:
    """Encode proposals beside the frame path and hand them over between two frames.

    Three threads meet here: the parameter callbacks propose, a thread of this class encodes, and
    the frame path adopts. The newest proposal wins. A version counts up when, and only when, a
    vocabulary is adopted; a proposal that cannot be encoded leaves everything as it was.
    """

    def __init__(self, encode: Callable[[tuple[str, ...], str], Vocabulary], first: Proposal,
                 on_failure: Callable[[Proposal, Exception], None]) -> None:
        """Encode the first vocabulary at once, and start the thread for later ones.

        Args:
            encode: from classes and background to a vocabulary; slow for new words.
            first: the vocabulary to begin with.
            on_failure: called in the encoding thread with a proposal that cannot be encoded.

        Raises:
            ValueError: the first vocabulary cannot be encoded.
        """
        self._encode = encode
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._ready: Vocabulary | None = None
        self._current = replace(encode(first.classes, first.background), version=1)
        self._in_force = self._proposed = first
        self._failed: Proposal | None = None
        self._worker: Worker[Proposal] = Worker("vocabulary", self._prepare, self._fail)
        self._worker.start()

    @property
    def current(self) -> Vocabulary:
        """The vocabulary in force."""
        with self._lock:
            return self._current

    @property
    def in_force(self) -> Proposal:
        """The newest proposal that was encoded; what the parameters should say after a failure."""
        with self._lock:
            return self._in_force

    def propose(self, proposal: Proposal) -> bool:
        """Ask for a vocabulary; return False when it is the one already asked for."""
        with self._lock:
            if proposal == self._proposed:
                return False
            self._proposed = proposal
        self._worker.mailbox.put(proposal)
        return True

    def adopt(self) -> Vocabulary:
        """Return the vocabulary for the next frame, taking over a new one that is ready.

        To be called by the frame path alone, between frames.
        """
        with self._lock:
            if self._ready is not None:
                self._current = replace(self._ready, version=self._current.version + 1)
                self._ready = None
            return self._current

    def stop(self, timeout: float) -> bool:
        """Take no more proposals; return whether the thread ended within ``timeout`` seconds."""
        return self._worker.stop(timeout)

    def _prepare(self, proposal: Proposal) -> None:
        self._failed = proposal
        vocabulary = self._encode(proposal.classes, proposal.background)
        with self._lock:
            self._ready, self._in_force = vocabulary, proposal

    def _fail(self, error: Exception) -> None:
        proposal = self._failed
        with self._lock:
            newest = proposal == self._proposed
            if newest:
                self._proposed = self._in_force
        if newest:
            self._on_failure(proposal, error)
