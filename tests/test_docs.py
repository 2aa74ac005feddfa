"""The pages for people name only what exists: files, headings, settings, presets, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.command.cli import PRESETS_DIR
from unisd_core.common.errors import UserError
from unisd_core.config.base import leaf_fields
from unisd_core.config.load import find_named
from unisd_core.config.run import Config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "cluster" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [
    path
    for package in ("unisd_core", "actors", "pipelines", "tests")
    for path in (ROOT / package).rglob("*.py")
]
SECTIONS = "|".join(sorted({key.partition(".")[0] for key in leaf_fields(Config) if "." in key}))
FILE_ENDINGS = {"md", "py", "json", "jsonl", "html", "yaml", "txt", "svg"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def headings(page: Path) -> set[str]:
    """The headings of a page, without marks of code."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {heading.replace("`", "") for heading in found}


def anchors(page: Path) -> set[str]:
    """The headings as they stand in a link."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings(page))
    return {heading.replace(" ", "-") for heading in plain}


@pages
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pages
def test_paths_in_code_exist(page: Path) -> None:
    folders = "unisd_core|actors|pipelines|tests|cluster|docs"
    for path in re.findall(rf"[`\s(\"]((?:{folders})/[\w./-]*\w)", page.read_text()):
        assert (ROOT / path).exists(), path


@pages
def test_settings_have_the_names_of_today(page: Path) -> None:
    keys = leaf_fields(Config)
    # Python may well have a variable of a section's name.
    text = re.sub(r"```python.*?```", "", page.read_text(), flags=re.DOTALL)
    for key in re.findall(rf"(?<![\w./])(?:{SECTIONS})\.[a-z_.0-9]*[a-z0-9]", text):
        known = any(f"{leaf}.".startswith(f"{key}.") for leaf in keys)
        assert known or key.rpartition(".")[2] in FILE_ENDINGS, key


@pages
def test_presets_and_modules_exist(page: Path) -> None:
    text = page.read_text()
    for preset in re.findall(r"--preset[ =]([\w./-]+)", text):
        try:
            find_named("preset", preset, PRESETS_DIR, ROOT)
        except UserError as error:
            pytest.fail(str(error))
    for module in re.findall(r"python -m ((?:tests|unisd_core)\.[\w.]*\w)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module


@pages
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make (\w+)", page.read_text(), re.MULTILINE)) <= targets


def test_headings_that_the_code_cites_exist() -> None:
    cited = {
        citation
        for path in CODE
        for citation in re.findall(r'docs/(\w+)\.md, "([^"]+)"', " ".join(path.read_text().split()))
    }
    assert len(cited) > 3
    for page, heading in cited:
        assert heading in headings(ROOT / "docs" / f"{page}.md"), f"{page}: {heading}"


def test_code_cites_no_sections_by_number() -> None:
    for path in CODE:
        assert not re.search(r"\((paper|method|architecture), (section|step) \d", path.read_text())
