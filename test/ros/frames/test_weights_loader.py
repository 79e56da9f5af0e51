"""A running node that has to load LoftUp's weights first goes on labelling meanwhile."""

from __future__ import annotations

import pytest
from lifecycle_driver import Lifecycle
from node_in_process import node_in_process
from ros_harness import Probe, domain_for, picture
from sclip_seg_ros.msg import SegmentationStatus


@pytest.fixture
def probe(request):
    domain = domain_for(request.node.name)
    with Probe(domain) as probe, \
            node_in_process(domain, classes=["floor", "wall", "ball"], lazy=False):
        yield probe


def stages(status: SegmentationStatus) -> list[str]:
    return [entry.stage for entry in status.stages]


@pytest.mark.parametrize("deactivated_meanwhile", [False, True])
def test_frames_are_labelled_until_the_weights_are_there_and_then_enlarged(
        probe, slow_weights, deactivated_meanwhile):
    lifecycle = Lifecycle(probe)
    lifecycle.bring_to("active")
    with probe.listening(SegmentationStatus, "/sclip_seg/status") as statuses:
        probe.feed_until(lambda: statuses, "a label", picture)
        assert probe.set_parameters(use_loftup=True).successful
        before = statuses[-1].frames_labelled
        probe.feed_until(lambda: statuses[-1].frames_labelled >= before + 5, "labels", picture)
        assert not {"upsample", "tower upsample"} & {*stages(statuses[-1])}
        if deactivated_meanwhile:
            lifecycle.bring_to("inactive")
        slow_weights.set()
        lifecycle.bring_to("active")
        probe.feed_until(lambda: {"upsample", "tower upsample"} & {*stages(statuses[-1])},
                         "LoftUp's labels", picture)
        assert statuses[-1].frames_failed == 0 and not statuses[-1].last_error
