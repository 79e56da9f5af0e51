"""Messages quote errors and values of others without growing beyond a line."""

from __future__ import annotations

import pytest

from sclip_seg_ros.common.text import first_line, shortened


@pytest.mark.parametrize(("error", "line"), [
    (RuntimeError("out of memory\nTried to allocate"), "out of memory"),
    (RuntimeError("\n  no  such device \nat line 3"), "no such device"),
    (RuntimeError(), "RuntimeError"),
    (OSError(2, "No such file"), "[Errno 2] No such file"),
])
def test_the_first_line_stands_for_an_error(error: Exception, line: str) -> None:
    assert first_line(error) == line


def test_an_endless_line_is_cut() -> None:
    line = first_line(ValueError("x" * 1000))
    assert len(line) == 200 and line.endswith("x...")


def test_only_what_is_too_long_is_shortened() -> None:
    assert shortened("0123456789", 10) == "0123456789"
    assert shortened("0123456789a", 10) == "0123456..."
    assert shortened([1, 2, 3], 7) == "[1, ..."
