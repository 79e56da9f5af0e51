"""What the site needs beside the pages: a home page, and links to files that it does not hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?!\w+:|#)((?:\.\./)+[^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Make the home page of README.md, whose links start one folder higher."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"\]\((?!\w+:|#|images/)(?!\w+\.md)([^)\s]+)\)", r"](../\1)", text)
    text = re.sub(r"\]\(((?:CONTRIBUTING|CHANGELOG)\.md)", r"](../\1", text)
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name files of the source tree instead of linking to them."""
    return _OUTSIDE.sub(lambda link: f"{link[1]} (`{link[2].lstrip('./')}`)", markdown)
