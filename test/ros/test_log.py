"""What a node does to the logging of the process that holds it."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import pytest
from node_in_process import node_in_process
from ros_harness import domain_for

DOMAIN = domain_for(__file__)

pytestmark = pytest.mark.ros


def test_a_node_that_is_gone_leaves_logging_as_it_was():
    package, root = logging.getLogger("sclip_seg_ros"), logging.getLogger()
    before = (list(package.handlers), package.level, package.propagate, list(root.handlers))
    with node_in_process(DOMAIN):
        assert not package.propagate
    assert (list(package.handlers), package.level, package.propagate,
            list(root.handlers)) == before


def test_the_newest_node_of_a_process_keeps_the_records_when_an_older_one_goes():
    package = logging.getLogger("sclip_seg_ros")
    with ExitStack() as older, ExitStack() as newer:
        older.enter_context(node_in_process(DOMAIN))
        node = newer.enter_context(node_in_process(DOMAIN))
        older.close()
        assert [handler.logger for handler in package.handlers] == [node.get_logger()]
    assert package.propagate
