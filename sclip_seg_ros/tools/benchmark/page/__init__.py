"""The results as one self-contained HTML page, pictures included."""

from __future__ import annotations

from sclip_seg_ros.tools.benchmark.page.page import write_page

__all__ = ["write_page"]
