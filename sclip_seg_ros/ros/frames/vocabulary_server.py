"""Change the vocabulary under a running frame path, without delaying a frame."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import torch

from sclip_seg_ros.ros.parameters.groups import WORDS
from sclip_seg_ros.ros.parameters.options import NodeOptions
from sclip_seg_ros.ros.parameters.pending_changes import Ledger
from sclip_seg_ros.ros.threads.worker import Worker
from sclip_seg_ros.segmentation.text.vocabulary import Vocabulary

_LOG = logging.getLogger(__name__)

Wanted = Callable[[], bool]


class VocabularyServer:
    """Encode words beside the frame path and hand them over between two frames.

    Three threads meet here: the executor's wakes, a thread of this class encodes what the ledger
    asks for, and the frame path adopts. The newest words win. A version counts up when, and only
    when, a vocabulary is adopted; words that cannot be encoded leave everything as it was.
    """

    def __init__(self, encode: Callable[[NodeOptions, Wanted], Vocabulary],
                 ledger: Ledger, first_version: int = 1,
                 on_news: Callable[[], None] = lambda: None) -> None:
        """Encode the first vocabulary at once, and start the thread for later ones.

        Args:
            encode: from the words of options to a vocabulary; slow for new words. It may raise,
                best CancelledError and soon, once its second argument says that the result is not
                wanted.
            ledger: of the parameters.
            first_version: of the first vocabulary.
            on_news: called, in one of the threads, when words are ready or in force.

        Raises:
            ValueError: the first vocabulary cannot be encoded.
        """
        self._encode = encode
        self._ledger = ledger
        self._on_news = on_news
        self._lock = threading.Lock()
        self._ready: Vocabulary | None = None
        self._words_ready: Any = None  # what of the options it was encoded from
        self._words = WORDS.of(ledger.asked)
        self._device: torch.device | None = None  # None: where the encoder leaves them
        self._current = replace(encode(ledger.asked, lambda: True),
                                version=first_version)
        self._worker: Worker[None] = Worker("vocabulary", self._work, _log)
        self._worker.start()

    @property
    def current(self) -> Vocabulary:
        """The vocabulary in force."""
        with self._lock:
            return self._current

    def wake(self) -> None:
        """Have the thread encode the words that the ledger asks for, if they are new."""
        self._worker.mailbox.put(None)

    def adopt(self) -> Vocabulary:
        """Return the vocabulary for the next frame, taking over a new one that is ready.

        To be called by the frame path alone, between frames.
        """
        with self._lock:
            news = self._ready is not None
            if self._ready is not None:
                self._current = replace(self._ready, version=self._current.version + 1)
                self._words, self._ready = self._words_ready, None
            current = self._current
        if news:
            self._on_news()
        return current

    def version_of(self, words: Any) -> tuple[int, bool] | None:
        """Return the version of words, and whether it is in force or the next frame's.

        Args:
            words: as ``WORDS.of`` returns them.

        Returns:
            None where they are neither in force nor ready.
        """
        with self._lock:
            if self._ready is not None:
                return (self._current.version + 1, False) if words == self._words_ready else None
            return (self._current.version, True) if words == self._words else None

    def stop(self, timeout: float) -> bool:
        """Encode no more words; return whether the thread ended within ``timeout`` seconds."""
        return self._worker.stop(timeout)

    def resume(self) -> None:
        """Encode words again after a :meth:`stop`, beginning with those that it cut off."""
        if self._worker.mailbox.closed:
            self._worker.resume()
            self.wake()

    def move(self, device: torch.device) -> None:
        """Bring the embeddings to another device; to be called while no frame is worked on."""
        with self._lock:
            self._device = device
            self._current = self._current.to(device)
            self._ready = self._ready and self._ready.to(device)

    def _work(self, _: list[None]) -> None:
        mailbox = self._worker.mailbox  # a stop closes it, and a resume puts another in its place
        while not mailbox.closed and (asked := self._ledger.untried(WORDS)) is not None:
            def wanted(asked: NodeOptions = asked) -> bool:
                return not mailbox.closed and self._ledger.asks_for(WORDS, asked)

            self._try(asked, wanted)

    def _try(self, asked: NodeOptions, wanted: Wanted) -> None:
        """Encode the words of options, and accept or refuse them if they are still wanted."""
        try:
            vocabulary = self._encode(asked, wanted)
        except CancelledError:
            return
        except Exception as error:
            if wanted():
                self._ledger.refuse(WORDS, asked, error)
            return
        if wanted():
            with self._lock:
                # The device may have changed in the meantime.
                self._ready = vocabulary.to(self._device) if self._device else vocabulary
                self._words_ready = WORDS.of(asked)
            self._ledger.accept(WORDS, asked)
            self._on_news()


def _log(error: Exception) -> None:
    _LOG.error("a refused vocabulary could not be told of: %r", error)
