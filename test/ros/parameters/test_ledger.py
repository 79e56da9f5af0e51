"""What parameters ask for is tried once; what is refused goes back, and nothing else."""

from __future__ import annotations

import pytest
from options import options
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_harness import bare_nodes, domain_for

from sclip_seg_ros.ros.parameters.groups import BUDGET, PARTS, STAGES, WORDS
from sclip_seg_ros.ros.parameters.options import NodeOptions, declare_parameters, read_values
from sclip_seg_ros.ros.parameters.pending_changes import Ledger

BASE, LOFTUP = STAGES[:2]
FIRST = options(classes=["floor", "wall"])
BAD = options(classes="floor,unreadable")
REASON = ValueError("use fewer words")


@pytest.fixture
def refusals():
    return []


@pytest.fixture
def ledger(refusals):
    return Ledger(FIRST, refusals.append)


@pytest.fixture
def make_node():
    """Return a function that makes a bare node with the segmentation node's parameters."""
    with bare_nodes(domain_for(__file__)) as make_bare:
        def make(**overrides) -> Node:
            node = make_bare(**overrides)
            declare_parameters(node)
            return node

        yield make


def now(node: Node) -> NodeOptions:
    return NodeOptions.from_values(read_values(node))


def test_every_parameter_that_can_change_the_labels_is_in_one_part():
    names = [name for part in PARTS for name in part.names]
    assert len(names) == len(set(names))
    assert {"classes", "background", "palette", "stride", "pamr.steps", "latency_budget_ms"} \
        <= set(names)
    assert LOFTUP.names[0] == "use_loftup" and "loftup.factor" in LOFTUP.names


def test_only_what_is_new_is_to_be_tried(ledger):
    assert ledger.ask(options(classes="floor,  wall", overlay_alpha=0.2)) == set()
    assert ledger.ask(options(classes=["floor"], use_loftup=True)) == {WORDS, LOFTUP}
    assert ledger.ask(options(classes=["floor"], use_loftup=True, overlay_alpha=0.3)) == set()
    assert ledger.untried(WORDS).classes == ("floor",)
    assert ledger.untried(BASE) is None and ledger.untried(BUDGET) is None


def test_what_is_accepted_is_in_force_and_not_tried_again(ledger):
    asked = options(classes=["cup"])
    ledger.ask(asked)
    ledger.accept(WORDS, asked)
    assert ledger.in_force(WORDS) is asked
    assert ledger.untried(WORDS) is None
    assert ledger.ask(asked) == set()


def test_a_refusal_is_told_once_and_not_tried_again_with_other_changes(ledger, refusals):
    ledger.ask(BAD)
    ledger.refuse(WORDS, BAD, REASON)
    assert ledger.ask(options(classes=["floor", "unreadable"], overlay_alpha=0.2)) == set()
    assert ledger.untried(WORDS) is None
    assert [str(refusal) for refusal in refusals] == [
        "vocabulary refused, back to classes=['floor', 'wall']: ValueError: use fewer words"]


def test_what_was_refused_may_be_tried_again_once_it_has_gone_back(ledger):
    ledger.ask(BAD)
    ledger.refuse(WORDS, BAD, REASON)
    assert ledger.ask(FIRST) == set(), "it is in force"
    assert ledger.ask(BAD) == {WORDS}


def test_a_refusal_does_not_cancel_what_has_been_asked_for_since(ledger, refusals):
    ledger.ask(BAD)
    newer = options(classes=["cup"])
    ledger.ask(newer)
    ledger.refuse(WORDS, BAD, REASON)
    assert refusals == []
    assert ledger.untried(WORDS) is newer


def test_what_comes_into_force_late_does_not_hide_what_has_been_asked_for_since(ledger):
    """The former value came back while the new one was being tried, and succeeded."""
    asked = options(use_pamr=False)
    [part] = ledger.ask(asked) - {WORDS}
    assert ledger.ask(FIRST) == set()
    ledger.accept(part, asked)
    assert ledger.untried(part) is FIRST


@pytest.mark.parametrize("former", [["floor", "wall"], "floor, wall", "floor,  wall "])
@pytest.mark.parametrize("bad", [["floor", "unreadable"], "floor,unreadable",
                                 " floor ,un  readable"])
def test_refused_words_go_back_to_how_they_were_written(make_node, refusals, former, bad):
    node = make_node(classes=former)
    ledger = Ledger(now(node), refusals.append)
    node.set_parameters([Parameter("classes", value=bad)])
    asked = now(node)
    ledger.ask(asked)
    ledger.refuse(WORDS, asked, REASON)
    refusals[0].undo(node)
    assert node.get_parameter("classes").value == former
    assert ledger.ask(now(node)) == set(), "nothing is left to try"


def test_only_the_values_that_differ_are_set_back(make_node, refusals):
    node = make_node(classes=["floor", "wall"], palette="floor=#010203")
    ledger = Ledger(now(node), refusals.append)
    node.set_parameters([Parameter("use_loftup", value=True), Parameter("loftup.factor", value=3),
                         Parameter("palette", value="floor=#010203,"),
                         Parameter("classes", value="floor,unreadable")])
    asked = now(node)
    ledger.ask(asked)
    set_back = []
    node.add_on_set_parameters_callback(lambda changes: set_back.append(
        {change.name for change in changes}) or SetParametersResult(successful=True))
    ledger.refuse(WORDS, asked, REASON)
    ledger.refuse(LOFTUP, asked, REASON)
    for refusal in refusals:
        refusal.undo(node)
    assert set_back == [{"classes"}, {"use_loftup", "loftup.factor"}]
    assert "back to use_loftup=False, loftup.factor=2.0: " in str(refusals[1])


def test_what_has_been_changed_since_is_not_set_back(make_node, refusals):
    node = make_node(classes=["floor", "wall"])
    ledger = Ledger(now(node), refusals.append)
    node.set_parameters([Parameter("classes", value="unreadable")])
    asked = now(node)
    ledger.ask(asked)
    ledger.refuse(WORDS, asked, REASON)
    node.set_parameters([Parameter("classes", value=["cup"])])
    refusals[0].undo(node)
    assert node.get_parameter("classes").value == ["cup"]


def test_a_long_vocabulary_is_shortened_in_the_message(refusals):
    ledger = Ledger(options(classes=[f"thing {index}" for index in range(200)]), refusals.append)
    ledger.ask(BAD)
    ledger.refuse(WORDS, BAD, REASON)
    assert len(str(refusals[0])) < 200 and "..." in str(refusals[0])
