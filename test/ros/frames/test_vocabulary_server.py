"""Vocabularies are encoded beside the frame path, adopted between frames, and counted up."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from options import options

from sclip_seg_ros.ros.frames.vocabulary_server import VocabularyServer
from sclip_seg_ros.ros.parameters.groups import WORDS
from sclip_seg_ros.ros.parameters.options import NodeOptions
from sclip_seg_ros.ros.parameters.pending_changes import Ledger
from sclip_seg_ros.segmentation import Vocabulary

PATIENCE = 20.0
FIRST = ("floor", "wall")


@dataclass(frozen=True)
class Words:
    """What the server needs of a vocabulary: its words, and a version it may replace."""

    classes: tuple[str, ...]
    version: int = 0


class Encoder:
    """Encode at once, or, after :meth:`hold`, when released; refuses the word "unreadable"."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.gives_up = False
        self.free = threading.Event()
        self.free.set()

    def __call__(self, asked: NodeOptions, wanted) -> Words:
        self.calls.append(asked.classes)
        while not self.free.wait(0.01):
            if self.gives_up and not wanted():
                raise RuntimeError("given up")
        if "unreadable" in asked.classes:
            raise ValueError("class 'unreadable' has too many tokens; use fewer words")
        return Words(asked.classes)


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def failures():
    return []


@pytest.fixture
def ledger(failures):
    return Ledger(options(classes=list(FIRST)), failures.append)


@pytest.fixture
def propose(server, ledger):
    """Return a function that asks for words as the engine does; it tells whether they are new."""
    def propose(*classes: str) -> bool:
        if WORDS not in ledger.ask(options(classes=list(classes))):
            return False
        server.wake()
        return True

    return propose


@pytest.fixture
def server(encoder, ledger):
    server = VocabularyServer(encoder, ledger)
    yield server
    encoder.free.set()
    assert server.stop(PATIENCE)


def wait(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_begins_with_version_one(server):
    assert server.adopt() == Words(FIRST, version=1)


def test_words_hold_once_they_are_encoded_and_adopted(server, ledger, propose, encoder):
    encoder.free.clear()
    assert propose("cup")
    assert server.adopt().classes == FIRST
    encoder.free.set()
    wait(lambda: ledger.in_force(WORDS).classes == ("cup",))
    assert server.current.classes == FIRST
    assert server.adopt() == server.current == Words(("cup",), version=2)
    assert server.adopt().version == 2


def test_the_same_words_again_are_not_encoded(server, propose, encoder):
    assert not propose(*FIRST)
    server.wake()
    assert propose("cup")
    wait(lambda: server.adopt().version == 2)
    assert encoder.calls == [FIRST, ("cup",)]


def test_of_several_proposals_the_newest_counts_and_takes_one_version(server, ledger, propose,
                                                                      encoder):
    encoder.free.clear()
    propose("a")
    wait(lambda: len(encoder.calls) == 2)
    for word in "bcd":
        propose(word)
    encoder.free.set()
    wait(lambda: ledger.in_force(WORDS).classes == ("d",))
    assert encoder.calls[1:] == [("a",), ("d",)]
    assert server.adopt() == Words(("d",), version=2)


def test_words_that_come_back_before_others_are_encoded_stay_in_force(server, propose, encoder):
    encoder.free.clear()
    propose("cup")
    wait(lambda: len(encoder.calls) == 2)
    assert not propose(*FIRST)
    encoder.free.set()
    assert propose("cup", "box")
    wait(lambda: server.adopt().version == 2)
    assert server.current.classes == ("cup", "box")


def test_a_failure_leaves_the_former_in_force_and_is_told_once(server, ledger, propose, failures):
    propose("unreadable")
    wait(lambda: failures)
    assert failures[0].asked.classes == ("unreadable",) and "use fewer words" in str(failures[0])
    assert server.adopt() == Words(FIRST, version=1)
    assert ledger.in_force(WORDS).classes == FIRST
    assert not propose("unreadable"), "it has not gone back yet"
    assert not propose(*FIRST)
    assert propose("unreadable"), "it may be tried again"
    wait(lambda: len(failures) == 2)
    assert propose("cup")
    wait(lambda: server.adopt().version == 2)


def test_a_failure_that_was_overtaken_is_nobodys_business(server, propose, encoder, failures):
    encoder.free.clear()
    propose("unreadable")
    wait(lambda: len(encoder.calls) == 2)
    propose("cup")
    encoder.free.set()
    wait(lambda: server.adopt().classes == ("cup",))
    assert failures == []


def test_words_that_come_just_when_others_fail_are_not_lost(server, ledger, propose, failures,
                                                            monkeypatch):
    """Between the last look at what is wanted and the refusal."""
    asks_for = ledger.asks_for

    def overtaken(part, asked: NodeOptions) -> bool:
        answer = asks_for(part, asked)
        if asked.classes == ("unreadable",):
            propose("cup")
        return answer

    monkeypatch.setattr(ledger, "asks_for", overtaken)
    propose("unreadable")
    wait(lambda: server.adopt().classes == ("cup",))
    assert failures == []


def test_what_is_no_longer_wanted_may_be_given_up_without_a_word(server, propose, encoder,
                                                                 failures):
    encoder.free.clear()
    encoder.gives_up = True
    propose("long", "words")
    wait(lambda: len(encoder.calls) == 2)
    propose("cup")
    wait(lambda: len(encoder.calls) == 3)
    assert not encoder.free.is_set()
    assert server.stop(PATIENCE)
    assert failures == []


def test_a_stop_that_came_too_soon_can_be_taken_back_and_loses_no_words(server, propose, encoder,
                                                                        failures):
    encoder.free.clear()
    encoder.gives_up = True
    propose("long", "words")
    wait(lambda: len(encoder.calls) == 2)
    server.stop(0.0)
    server.resume()
    encoder.free.set()
    wait(lambda: server.adopt().classes == ("long", "words"))
    assert server.current.version == 2
    assert server.stop(PATIENCE)
    assert propose("cup")
    server.resume()
    wait(lambda: server.adopt().classes == ("cup",))
    assert server.current.version == 3
    assert failures == []


def test_a_vocabulary_goes_to_the_device_that_the_frames_are_on(ledger, failures):
    """Encoded with weights that were elsewhere, it would fail every frame."""
    started, go_on = threading.Event(), threading.Event()

    def encode(asked: NodeOptions, wanted) -> Vocabulary:
        if asked.classes != FIRST:
            started.set()
            assert go_on.wait(PATIENCE)
        return Vocabulary((), None, 0, torch.ones(2, 4), torch.arange(2), np.zeros((0, 3)))

    server = VocabularyServer(encode, ledger)
    ledger.ask(options(classes=["cup"]))
    server.wake()
    assert started.wait(PATIENCE)
    server.move(torch.device("meta"))
    go_on.set()
    wait(lambda: server.adopt().version == 2)
    assert server.current.embeddings.device.type == "meta"
    assert server.stop(PATIENCE)
    assert failures == []


def test_a_bad_first_vocabulary_is_refused(encoder):
    with pytest.raises(ValueError, match="use fewer words"):
        VocabularyServer(encoder, Ledger(options(classes=["unreadable"]), print))
