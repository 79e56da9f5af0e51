"""The documents: their links lead somewhere, and the tests they name exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path).resolve()
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        if anchor and file.suffix == ".md":
            assert anchor in anchors_of(file), f"{page.name} links to the missing heading {target}"


@pytest.mark.parametrize("page", ["troubleshooting", "security", "endurance", "two_machines",
                                  "writing_a_consumer"])
def test_tests_that_a_page_names_exist(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:test/)?(test_\w+\.py)?(?:::(test_\w+))?`", text)
    file = ""
    found = 0
    for name, function in named:
        if not name and not function:
            continue
        file = name or file  # `::test_x` stands for another test of the file named last
        path = ROOT / "test" / file
        assert path.is_file(), f"{page}.md names {file}, which does not exist"
        if function:
            functions = {node.name for node in ast.parse(path.read_text()).body
                         if isinstance(node, ast.FunctionDef)}
            assert function in functions, f"{page}.md names {file}::{function}"
        found += 1
    assert found, f"{page}.md names no test"


def test_every_pain_has_a_cause_a_remedy_and_a_test():
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    pains = [section for section in sections if "*Symptom:*" in section]
    assert len(pains) == 10
    for pain in pains:
        assert "emed" in pain and re.search(r"\*Tests?:\*", pain), pain.splitlines()[0]


def test_every_page_is_in_the_readme_list():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES[1:] if f"docs/{page.name}" not in text]
    assert missing == []


def test_the_readmes_python_runs_as_it_stands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        names: dict[str, object] = {}
        exec(compile(block, "README.md", "exec"), names)
        assert names["labels"].shape == names["image"].shape[:2]
        assert len(set(names["labels"].flat)) > 2
