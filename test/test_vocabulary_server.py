"""Vocabularies are encoded beside the frame path, adopted between frames, and counted up."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from sclip_seg_ros.ros.vocabulary_server import Proposal, VocabularyServer
from sclip_seg_ros.segmentation import Vocabulary

PATIENCE = 20.0
FIRST = Proposal(("floor", "wall"), "")


@dataclass(frozen=True)
class Words:
    """What the server needs of a vocabulary: its words, and a version it may replace."""

    classes: tuple[str, ...]
    background: str
    version: int = 0


class Encoder:
    """Encode at once, or, after :meth:`hold`, when released; refuses the word "unreadable"."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.gives_up = False
        self.free = threading.Event()
        self.free.set()

    def __call__(self, proposal: Proposal, wanted) -> Words:
        self.calls.append(proposal.classes)
        while not self.free.wait(0.01):
            if self.gives_up and not wanted():
                raise RuntimeError("given up")
        if "unreadable" in proposal.classes:
            raise ValueError("class 'unreadable' has too many tokens; use fewer words")
        return Words(proposal.classes, proposal.background)


@pytest.fixture
def encoder():
    return Encoder()


@pytest.fixture
def failures():
    return []


@pytest.fixture
def server(encoder, failures):
    server = VocabularyServer(encoder, FIRST, lambda *failure: failures.append(failure))
    yield server
    encoder.free.set()
    assert server.stop(PATIENCE)


def wait(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_begins_with_version_one(server):
    assert server.adopt() == Words(FIRST.classes, "", version=1)


def test_a_proposal_holds_once_it_is_encoded_and_adopted(server, encoder):
    encoder.free.clear()
    assert server.propose(Proposal(("cup",), ""))
    assert server.adopt().classes == FIRST.classes
    encoder.free.set()
    wait(lambda: server.in_force.classes == ("cup",))
    assert server.current.classes == FIRST.classes
    assert server.adopt() == server.current == Words(("cup",), "", version=2)
    assert server.adopt().version == 2


def test_the_same_proposal_again_is_not_encoded(server, encoder):
    assert not server.propose(FIRST)
    assert len(encoder.calls) == 1


def test_of_several_proposals_the_newest_counts_and_takes_one_version(server, encoder):
    encoder.free.clear()
    server.propose(Proposal(("a",), ""))
    wait(lambda: len(encoder.calls) == 2)
    for word in "bcd":
        server.propose(Proposal((word,), ""))
    encoder.free.set()
    wait(lambda: server.in_force.classes == ("d",))
    assert encoder.calls[1:] == [("a",), ("d",)]
    assert server.adopt() == Words(("d",), "", version=2)


def test_a_failure_leaves_the_former_in_force_and_is_reported(server, failures):
    bad = Proposal(("unreadable",), "")
    server.propose(bad)
    wait(lambda: failures)
    assert failures[0][0] == bad and "use fewer words" in str(failures[0][1])
    assert server.adopt() == Words(FIRST.classes, "", version=1)
    assert server.in_force == FIRST
    assert server.propose(bad), "it may be tried again"
    wait(lambda: len(failures) == 2)
    assert server.propose(Proposal(("cup",), ""))
    wait(lambda: server.adopt().version == 2)


def test_a_failure_that_was_overtaken_is_nobodys_business(server, encoder, failures):
    encoder.free.clear()
    server.propose(Proposal(("unreadable",), ""))
    wait(lambda: len(encoder.calls) == 2)
    server.propose(Proposal(("cup",), ""))
    encoder.free.set()
    wait(lambda: server.adopt().classes == ("cup",))
    assert failures == []


def test_what_is_no_longer_wanted_may_be_given_up_without_a_word(server, encoder, failures):
    encoder.free.clear()
    encoder.gives_up = True
    server.propose(Proposal(("long", "words"), ""))
    wait(lambda: len(encoder.calls) == 2)
    server.propose(Proposal(("cup",), ""))
    wait(lambda: len(encoder.calls) == 3)
    assert not encoder.free.is_set()
    assert server.stop(PATIENCE)
    assert failures == []


def test_a_stop_that_came_too_soon_can_be_taken_back_and_loses_no_words(server, encoder, failures):
    encoder.free.clear()
    encoder.gives_up = True
    cut_off, later = Proposal(("long", "words"), ""), Proposal(("cup",), "")
    server.propose(cut_off)
    wait(lambda: len(encoder.calls) == 2)
    server.stop(0.0)
    server.resume()
    encoder.free.set()
    wait(lambda: server.adopt().classes == cut_off.classes)
    assert server.current.version == 2
    assert server.stop(PATIENCE)
    assert server.propose(later)
    server.resume()
    wait(lambda: server.adopt().classes == later.classes)
    assert server.current.version == 3
    assert failures == []


def test_a_vocabulary_goes_to_the_device_that_the_frames_are_on(failures):
    """Encoded with weights that were elsewhere, it would fail every frame."""
    started, go_on = threading.Event(), threading.Event()

    def encode(proposal: Proposal, wanted) -> Vocabulary:
        if proposal != FIRST:
            started.set()
            assert go_on.wait(PATIENCE)
        return Vocabulary((), None, 0, torch.ones(2, 4), torch.arange(2), np.zeros((0, 3)))

    server = VocabularyServer(encode, FIRST, lambda *failure: failures.append(failure))
    server.propose(Proposal(("cup",), ""))
    assert started.wait(PATIENCE)
    server.move(torch.device("meta"))
    go_on.set()
    wait(lambda: server.adopt().version == 2)
    assert server.current.embeddings.device.type == "meta"
    assert server.stop(PATIENCE)
    assert failures == []


def test_a_bad_first_vocabulary_is_refused(encoder):
    with pytest.raises(ValueError, match="use fewer words"):
        VocabularyServer(encoder, Proposal(("unreadable",), ""), lambda *failure: None)
