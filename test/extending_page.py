"""The examples of docs/extending.md as modules."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"


def import_example(heading: str, folder: Path) -> ModuleType:
    """Import the example below a heading, from a file in a folder."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"),
                        re.DOTALL | re.MULTILINE)
    assert section, f"docs/extending.md has no heading '{heading}'"
    code, = re.findall(r"^```python\n(.*?)^```", section[1], re.DOTALL | re.MULTILINE)
    path = folder / f"example_{heading.lower().replace(' ', '_')}.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # by which timm and sclip find it
    spec.loader.exec_module(module)
    return module
