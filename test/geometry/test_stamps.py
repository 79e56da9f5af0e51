"""A frame gets the depth nearest to it, however late either of them is."""

from __future__ import annotations

import random

import pytest

from sclip_seg_ros.geometry.stamps import RECENT, WAITING, StampMatcher

MS = 1_000_000


def pairs(matches) -> list[tuple]:
    return [(match.frame, match.companion) for match in matches]


@pytest.fixture
def matcher() -> StampMatcher[str, str]:
    return StampMatcher(20 * MS)


def test_an_exact_stamp_is_answered_at_once(matcher):
    matcher.add_companion(100 * MS, "depth")
    [match] = matcher.add_frame(100 * MS, "image")
    assert (match.frame, match.companion, match.gap) == ("image", "depth", 0)


def test_labels_that_are_faster_than_depth_wait_for_it(matcher):
    assert matcher.add_companion(90 * MS, "early") == []
    assert matcher.add_frame(100 * MS, "image") == []  # a nearer one may still come
    [match] = matcher.add_companion(104 * MS, "late")
    assert (match.companion, match.gap) == ("late", 4 * MS)


def test_the_nearer_of_two_wins_also_where_it_is_the_earlier(matcher):
    matcher.expect(100 * MS)
    for stamp in (60, 97, 115, 130):
        assert matcher.add_companion(stamp * MS, f"at {stamp}") == []
    assert pairs(matcher.add_frame(100 * MS, "image")) == [("image", "at 97")]


def test_labels_that_take_long_still_get_the_depth_of_their_image(matcher):
    """Many depth images come while a frame is worked on; the right one is held, and only that."""
    matcher.add_companion(98 * MS, "right")
    matcher.expect(100 * MS)
    for number in range(10 * RECENT):
        matcher.add_companion((131 + 33 * number) * MS, f"later {number}")
    assert pairs(matcher.add_frame(100 * MS, "image")) == [("image", "right")]


def test_outside_the_tolerance_there_is_no_match_but_the_gap_is_told(matcher):
    matcher.add_companion(50 * MS, "before")
    matcher.add_frame(100 * MS, "image")
    [match] = matcher.add_companion(121 * MS, "after")
    assert (match.companion, match.gap) == (None, 21 * MS)


def test_frames_come_out_in_their_order(matcher):
    for stamp in (100, 110, 120):
        matcher.add_frame(stamp * MS, stamp)
    assert pairs(matcher.add_companion(115 * MS, "depth")) == [(100, "depth"), (110, "depth")]
    assert pairs(matcher.add_companion(125 * MS, "next")) == [(120, "depth")]


def test_a_frame_that_is_dropped_holds_nothing(matcher):
    matcher.expect(100 * MS)
    matcher.forget(100 * MS)
    assert matcher.add_companion(100 * MS, "depth") == []
    assert pairs(matcher.add_frame(100 * MS, "again")) == [("again", "depth")]


def test_frames_without_depth_do_not_pile_up(matcher):
    found = [match for number in range(5 * WAITING)
             for match in matcher.add_frame((100 + 33 * number) * MS, number)]
    assert [(match.frame, match.companion, match.gap) for match in found] == [
        (number, None, None) for number in range(4 * WAITING)]


def test_depth_of_another_clock_is_told_by_its_gap(matcher):
    for number in range(WAITING + 1):
        matcher.add_companion(number * 33 * MS, "of old times")
        found = matcher.add_frame((10**9 + 33 * number) * MS, number)
    [match] = found
    assert match.companion is None and match.gap > 10**8 * MS


def test_a_recording_that_begins_anew_starts_everything_over(matcher):
    matcher.add_companion(900 * MS, "old")
    matcher.expect(905 * MS)
    matcher.add_companion(10 * MS, "new")
    assert pairs(matcher.add_frame(12 * MS, "image")) == []
    assert pairs(matcher.add_companion(45 * MS, "next")) == [("image", "new")]


def test_what_waits_when_stamps_step_back_is_handed_over_with_its_nearest(matcher):
    matcher.add_companion(90 * MS, "near")
    assert matcher.add_frame(95 * MS, "image") == [] == matcher.add_frame(400 * MS, "far image")
    found = matcher.add_companion(50 * MS, "stepped back")
    assert [(match.frame, match.companion, match.gap) for match in found] == [
        ("image", "near", 5 * MS), ("far image", None, 310 * MS)]
    matcher.add_frame(60 * MS, "next image")
    assert pairs(matcher.add_companion(61 * MS, "next")) == [("next image", "next")]


def test_without_stamps_a_frame_gets_the_last_depth_before_it(matcher):
    assert matcher.add_frame(0, 0) == []
    found = []
    for number in range(3 * RECENT):
        found += matcher.add_companion(0, number)
        matcher.expect(0)
        matcher.add_companion(0, "while it is worked on")
        found += matcher.add_frame(0, number + 1)
    first, *rest = pairs(found)
    assert first == (0, 0)
    assert rest[0] == (1, 0) and rest[1:] == [
        (number + 1, number) for number in range(1, 3 * RECENT)]


def test_two_frames_with_one_stamp_both_get_their_depth(matcher):
    assert matcher.add_frame(100 * MS, "one") == [] == matcher.add_frame(100 * MS, "other")
    assert pairs(matcher.add_companion(101 * MS, "depth")) == [("one", "depth"), ("other", "depth")]


@pytest.mark.parametrize("seed", range(20))
def test_against_looking_at_everything(seed):
    """Depth late by a constant, labels by any time: each frame gets the nearest depth there is."""
    rng = random.Random(seed)
    companions, frames = (sorted(rng.sample(range(2000), count)) for count in (60, 30))
    delay = rng.uniform(0, 40)
    events = [(stamp + delay, "depth", stamp) for stamp in companions]
    done = 0.0
    for stamp in frames:  # they arrive at once, and are finished in their order
        done = max(done, stamp + rng.uniform(2, 60))
        events += [(stamp + 1, "image", stamp), (done, "labels", stamp)]
    matcher: StampMatcher[int, int] = StampMatcher(15 * MS)
    found = {}
    for _, kind, stamp in sorted(events):
        if kind == "image":
            matcher.expect(stamp * MS)
            continue
        add = matcher.add_companion if kind == "depth" else matcher.add_frame
        for match in add(stamp * MS, stamp):
            found[match.frame] = match.companion
    assert set(found) == {stamp for stamp in frames if stamp <= companions[-1]}
    for frame, companion in found.items():
        nearest = min(abs(stamp - frame) for stamp in companions)
        assert (companion is None) == (nearest > 15)
        assert companion is None or abs(companion - frame) == nearest
