"""The pages: what they say, and that nothing in them acts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.unisd_core.reporting.page.folders import (
    START,
    WORDS,
    decode,
    line,
    trajectories,
    write_lines,
    write_run,
    write_step,
)  # fmt: skip
from unisd_core.reporting.page.comparison_page import comparison_page
from unisd_core.reporting.page.run_files import read_run
from unisd_core.reporting.page.run_page import run_page
from unisd_core.reporting.page.timeline import stage_times

HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)",
    "</pre></title></style><svg onload=alert(1)>", "{{ 7 * 7 }}", "&lt;b&gt;", "\ud800",
    "javascript:alert(1)",
]  # fmt: skip


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.text = "".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.words.append(data)

    def check_inert(self, *links: str) -> None:
        """No script, no handler, nothing from elsewhere."""
        assert not {"script", "iframe", "object", "embed", "img", "base", "form"} & set(self.tags)
        for name, value in self.attributes:
            assert not name.startswith("on"), (name, value)
            if name in ("href", "src", "action", "xlink:href"):
                assert value.startswith(("#", "data:,")) or value in links, value
        policy = dict(self.attributes)["content"]
        assert any("default-src 'none'" in value for _, value in self.attributes), policy


def test_hostile_texts_stay_texts(tmp_path: Path):
    folder = write_run(tmp_path / "hostile", steps=2, task="<b>task</b>")
    text = "".join(HOSTILE)
    stored = text.replace("\ud800", "")  # which Parquet refuses
    write_lines(folder / "incidents.jsonl", [{"unix_time": START + 40, "who": text, "what": text}])
    write_lines(folder / "metrics.jsonl", [line(1, **{"loss_<script>": 1.0, "loss_x": 0.5})])
    write_step(folder, 1, trajectories(1, uid=stored, finish_reason=stored, source=stored))
    page = Page(run_page(read_run(folder), lambda ids: text * len(ids)))
    page.check_inert()
    for one in HOSTILE:
        assert one.replace("\ud800", "?") in page.text
    assert "<b>task</b>" in page.text


def test_the_page_of_a_finished_run_says_what_it_brought(tmp_path: Path):
    page = Page(run_page(read_run(write_run(tmp_path / "run", steps=16)), decode))
    page.check_inert()
    for words in (
        "10.0 % →", "50.0 %", "+40.0 points, better", "16 of 16", "mean 1.50, max 2 of 2",
        "consumed 128", "stuck for 10 s; replaced", "12 of 128 trained completions",
        "Validation accuracy", "Terms of the loss", "generate, 82 % busy",
    ):  # fmt: skip
        assert words in page.text, words
    titles = {value for name, value in page.attributes if name == "title"}
    assert any(re.match(r"weight 0\.\d+, log-prob -\d", title) for title in titles)


def test_a_run_without_anything_has_a_page(tmp_path: Path):
    folder = write_run(tmp_path / "new", steps=3)
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "config.yaml":
            path.unlink()
    page = Page(run_page(read_run(folder), None))
    page.check_inert()
    assert "not finished, step 0" in page.text
    assert "No optimizer step was recorded yet." in page.text


def test_tokens_have_the_colour_of_their_weight(tmp_path: Path):
    folder = write_run(tmp_path / "run", steps=1)
    rows = trajectories(1, tokens=3, completion_ids=[0, 1, 2], token_weights=[1.0, 0.75, 0.25])
    write_step(folder, 1, rows)
    page = run_page(read_run(folder), decode)
    found = re.findall(r'<span class="t (\w+)" style="--w:([\d.]+)"[^>]*>([^<]*)</span>', page)
    assert found[:3] == [
        ("same", "0.00", WORDS[0]), ("less", "0.25", WORDS[1]), ("low", "0.75", WORDS[2]),
    ]  # fmt: skip


def test_a_page_stays_small_and_is_the_same_each_time(tmp_path: Path):
    folder = write_run(tmp_path / "long", steps=600)
    write_step(folder, 600, trajectories(600, tokens=2000))
    page = run_page(read_run(folder), decode)
    assert len(page) < 2_000_000
    assert page == run_page(read_run(folder), decode)
    assert "more tokens" in page


def test_secrets_do_not_reach_the_page(tmp_path: Path):
    folder = write_run(tmp_path / "run", 2)
    settings = (folder / "config.yaml").read_text()
    assert "checkpoint_mirror: null" in settings
    # No run accepts such a setting; the file may have been written by hand.
    (folder / "config.yaml").write_text(
        settings.replace("checkpoint_mirror: null", "checkpoint_mirror: s3://me:hunter2@b/c")
    )
    what = "lost (cannot reach https://me:hunter2@host/x?sig=hunter2)"
    write_lines(folder / "incidents.jsonl", [{"unix_time": START, "who": "mirror", "what": what}])
    run = read_run(folder)
    page = run_page(run, decode)
    assert "hunter2" not in page + comparison_page([run, run], ["a", "b"])
    assert "s3://...@b/c" in page


@pytest.mark.parametrize(
    "spans", [None, [], "x", {"learn": "x"}, {"learn": [[1]]}, {"learn": [[2, 1], ["a", "b"]]}]
)
def test_times_of_another_form_are_left_out(tmp_path: Path, spans):
    folder = write_run(tmp_path / "run", steps=1, rows=False)
    write_lines(folder / "metrics.jsonl", [line(1), line(2, spans=spans)])
    run = read_run(folder)
    expected = 2 if not isinstance(spans, dict) else 1
    assert len(stage_times(run)["learn"]) == expected
    assert "busy" in run_page(run, None)


def test_several_runs_stand_side_by_side(tmp_path: Path):
    names = ("a", "b", "c")
    runs = [
        read_run(write_run(tmp_path / name, 3, rows=False, finished=name != "c", seed=seed))
        for seed, name in enumerate(names)
    ]
    page = Page(comparison_page(runs, ["a.html", "b.html", "c.html"]))
    page.check_inert("a.html", "b.html", "c.html")
    for words in ("3 runs side by side", "Gain on seen", "+40.0", "(not finished)", "seed"):
        assert words in page.text, words
    boxes = [value for name, value in page.attributes if re.fullmatch(r"k\d", value)]
    assert {"k0", "k1", "k2"} <= set(boxes)


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path):
    folders = [write_run(tmp_path / place / "same", 2, rows=False) for place in ("x", "y")]
    page = Page(comparison_page([read_run(folder) for folder in folders], ["1", "2"]))
    assert all(str(folder) in page.text for folder in folders)
