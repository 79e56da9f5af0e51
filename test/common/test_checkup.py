"""A check's finding has a remedy where something is wrong, and a broken check ends no other."""

from __future__ import annotations

import pytest

from sclip_seg_ros.common.checkup import Check, examine, fault, not_run, ok, warning


@pytest.mark.parametrize("found, remedy", [
    (ok("fine"), ""), (not_run("no GPU"), ""), (warning("slow"), "the usual"),
    (fault("broken"), "the usual"), (fault("broken", "this one"), "this one")])
def test_what_is_wrong_has_a_remedy(found, remedy):
    [(_, finding)] = examine([Check("a", lambda: found, "the usual")])
    assert (finding.state, finding.text, finding.remedy) == (found.state, found.text, remedy)


def test_a_check_that_breaks_says_so_and_the_next_is_made():
    def broken():
        raise OSError("libtorch.so: cannot open\nand more")

    findings = [finding for _, finding in examine([Check("a", broken, "x"),
                                                   Check("b", lambda: ok("fine"), "y")])]
    assert [finding.state for finding in findings] == ["not run", "ok"]
    assert findings[0].text == "the check itself failed: OSError: libtorch.so: cannot open"
