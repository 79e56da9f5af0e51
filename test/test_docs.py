"""The documents: links lead somewhere; the tests, modules and commands that they name exist."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from sclip_seg_ros.tools.figures.configurations import CONFIGURATIONS
from sclip_seg_ros.tools.sclip import VERBS

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]


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


@pytest.mark.parametrize("page", ["troubleshooting", "security", "performance", "two_machines",
                                  "writing_a_consumer"])
def test_tests_that_a_page_names_exist(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:test/(?:\w+/)?)?(test_\w+\.py)?(?:::(test_\w+))?`", text)
    file = ""
    found = 0
    for name, function in named:
        if not name and not function:
            continue
        file = name or file  # `::test_x` stands for another test of the file named last
        path = next((ROOT / "test").rglob(file), None)
        assert path is not None, f"{page}.md names {file}, which does not exist"
        if function:
            functions = {node.name for node in ast.parse(path.read_text()).body
                         if isinstance(node, ast.FunctionDef)}
            assert function in functions, f"{page}.md names {file}::{function}"
        found += 1
    assert found, f"{page}.md names no test"


@pytest.mark.parametrize("page", ["architecture", "glossary", "latency", "resclip"])
def test_modules_that_a_page_names_exist(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w./]+\.py\b|(?<=`)[\w/]+/(?=`)", text))
    below = [f"/{path.relative_to(ROOT)}{'/' if path.is_dir() else ''}"
             for room in ("sclip_seg_ros", "config", "launch", "examples", "benchmarks", "research",
                          "test")
             for path in [ROOT / room, *(ROOT / room).rglob("*")]]
    missing = {name for name in named if not any(path.endswith(f"/{name}") for path in below)}
    assert named and missing == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    programs = set(re.findall(r"(?<![\w/.-])sclip-[a-z]+(?:-[a-z]+)*(?![\w.-])", text))
    missing = programs - {f"sclip-{verb}" for verb in VERBS}
    targets = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    missing |= {name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)}
    ours = r"python -m ((?:sclip_seg_ros|sclip_research|examples|benchmarks)[\w.]*)"
    for module in set(re.findall(ours, text)):
        path = ROOT / ("research" if module.startswith("sclip_research") else "") / \
            module.replace(".", "/")
        if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()):
            missing.add(module)
    assert missing == set(), f"{page.name} names commands that do not exist"


def test_the_design_documents_figures_are_those_of_the_ablation():
    text = (ROOT / "docs" / "reproducing.md").read_text(encoding="utf-8")
    table = {cells[0]: cells[1:] for cells in
             ([cell.strip() for cell in line.strip("|").split("|")]
              for line in text.splitlines() if line.startswith("|"))}
    for row in CONFIGURATIONS:
        if row.expected:
            assert table[row.title] == [row.expected.get(column, "") for column in
                                        ("miou_gain", "boundary_f1_gain", "speed", "memory")]


def test_every_pain_has_a_cause_a_remedy_and_a_test():
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    pains = [section for section in sections if "*Symptom:*" in section]
    assert len(pains) == 10
    tests = marked_as_pains()
    for number, pain in enumerate(pains, 1):
        assert re.search(r"\*(Remedy|Causes and remedies):\*", pain), pain.splitlines()[0]
        marked = tests[number]
        assert marked, f"no test is marked as pain {number}"
        for name in marked:
            assert name in pain, f"{name} is not named below '{pain.splitlines()[0]}'"


def marked_as_pains() -> dict[int, list[str]]:
    """Return, by the pain's number, the tests that show that it is none here."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "test").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for mark in map(ast.unparse, getattr(node, "decorator_list", [])):
                if said := re.fullmatch(r"pytest\.mark\.pain\((\d+)\)", mark):
                    found[int(said[1])].append(node.name)
    return found


def test_every_page_has_its_place_on_the_site():
    """`make site` warns of it too, but is not run with the tests."""
    places = re.findall(r"^ +- (?:\w+: )?([\w/]+\.md)$",
                        (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(places) == sorted(["index.md", *(page.name for page in DOCS)])


def test_every_page_is_in_the_readme_list():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in DOCS if f"docs/{page.name}" not in text]
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
