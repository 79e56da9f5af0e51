"""Change the vocabulary under a running frame path, without delaying a frame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from sclip_seg_ros.ros.mailbox import Mailbox
from sclip_seg_ros.ros.worker import Worker
from sclip_seg_ros.segmentation.palette import Colour
from sclip_seg_ros.segmentation.templates import DEFAULT_TEMPLATES
from sclip_seg_ros.segmentation.vocabulary import Vocabulary

Wanted = Callable[[], bool]


@dataclass(frozen=True)
class Proposal:
    """Checked words that shall become the vocabulary.

    Attributes:
        classes: one string a class, synonyms separated by ``|``.
        background: name of the background class, empty for none.
        templates: prompts, or names of sets of them.
        palette: class names and their RGB colours.
    """

    classes: tuple[str, ...]
    background: str = ""
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    palette: tuple[tuple[str, Colour], ...] = ()


class VocabularyServer:
    """Encode proposals beside the frame path and hand them over between two frames.

    Three threads meet here: the parameter callbacks propose, a thread of this class encodes, and
    the frame path adopts. The newest proposal wins. A version counts up when, and only when, a
    vocabulary is adopted; a proposal that cannot be encoded leaves everything as it was.
    """

    def __init__(self, encode: Callable[[Proposal, Wanted], Vocabulary], first: Proposal,
                 on_failure: Callable[[Proposal, Exception], None]) -> None:
        """Encode the first vocabulary at once, and start the thread for later ones.

        Args:
            encode: from a proposal to a vocabulary; slow for new words. It may raise, and had
                better do so soon, once its second argument says that the result is not wanted.
            first: the vocabulary to begin with.
            on_failure: called in the encoding thread with a proposal that cannot be encoded.

        Raises:
            ValueError: the first vocabulary cannot be encoded.
        """
        self._encode = encode
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._ready: Vocabulary | None = None
        self._device: torch.device | None = None  # None: where the encoder leaves them
        self._current = replace(encode(first, lambda: True), version=1)
        self._in_force = self._proposed = first
        self._in_work: tuple[Proposal, Mailbox[Proposal]] | None = None
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

    def resume(self) -> None:
        """Take proposals again after a :meth:`stop`, beginning with the one that it cut off."""
        if not self._worker.mailbox.closed:
            return
        self._worker.resume()
        with self._lock:
            if self._proposed != self._in_force:
                self._worker.mailbox.put(self._proposed)

    def move(self, device: torch.device) -> None:
        """Bring the embeddings to another device; to be called while no frame is worked on."""
        with self._lock:
            self._device = device
            self._current = self._current.to(device)
            self._ready = self._ready and self._ready.to(device)

    def _prepare(self, proposals: list[Proposal]) -> None:
        work = self._in_work = proposals[-1], self._worker.mailbox
        vocabulary = self._encode(work[0], lambda: self._is_wanted(*work))
        with self._lock:
            if work[1].closed:  # too late; :meth:`resume` begins with it anew
                return
            if self._device is not None:  # it may have changed in the meantime
                vocabulary = vocabulary.to(self._device)
            self._ready, self._in_force = vocabulary, work[0]

    def _fail(self, error: Exception) -> None:
        proposal, mailbox = self._in_work
        if not self._is_wanted(proposal, mailbox):
            return
        with self._lock:
            self._proposed = self._in_force
        self._on_failure(proposal, error)

    def _is_wanted(self, proposal: Proposal, mailbox: Mailbox[Proposal]) -> bool:
        """Tell whether nothing newer has been proposed, and the end not come since it was taken."""
        with self._lock:
            return proposal == self._proposed and not mailbox.closed
