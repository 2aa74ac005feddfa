from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines import report as report_page
from tests.support.tiny import make_tiny_tokenizer
from tests.unisd_core.reporting.page.folders import write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def test_every_run_gets_its_page_and_all_one_together(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_run(Path("runs") / name, steps=2, model={"name_or_path": "nobody/nothing"})
    assert report_page.main([]) == 0
    assert {str(path) for path in Path("runs").rglob("*.html")} == {
        "runs/report.html", "runs/a/report.html", "runs/b/report.html",
    }  # fmt: skip
    assert 'href="a/report.html"' in Path("runs/report.html").read_text()
    assert "tokens are shown as ids" in Path("runs/a/report.html").read_text()
    assert capsys.readouterr().out.count("report in") == 3


def test_with_out_the_runs_are_left_alone(tmp_path: Path):
    runs = [write_run(tmp_path / place / "run", 2, rows=False) for place in ("x", "y")]
    assert report_page.main([*map(str, runs), "--out", str(tmp_path / "pages")]) == 0
    names = {path.name for path in (tmp_path / "pages").iterdir()}
    assert names == {"run-0.html", "run-1.html", "report.html"}
    assert not list(tmp_path.glob("[xy]/run/report.html"))


def test_the_tokens_of_a_model_on_this_machine_are_text(tmp_path: Path, tiny_model: Path):
    folder = write_run(tmp_path / "run", 1, model={"name_or_path": str(tiny_model)})
    assert report_page.main([str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert "tokens are shown as ids" not in page and "Prompt" in page


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "holds no config.yaml"),
        (lambda path: None, "holds no config.yaml"),
        (lambda path: (write_run(path, 1) / "config.yaml").write_text("{"), "not valid YAML"),
    ],
)
def test_what_is_no_run_is_one_line(tmp_path: Path, capsys, make, said: str):
    make(tmp_path / "x")
    assert report_page.main([str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1


def test_no_runs_at_all_is_one_line(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert report_page.main([]) == 2
    assert "runs: holds no runs" in capsys.readouterr().err


def test_a_run_ends_with_its_page(tmp_path: Path, capsys):
    folder = write_run(tmp_path / "run", 2)
    report_page.write_at_end(folder, make_tiny_tokenizer("smollm2"))
    assert "50.0 %" in (folder / "report.html").read_text()
    assert "report in" in capsys.readouterr().out


def test_a_page_that_cannot_be_made_does_not_fail_the_run(tmp_path: Path, capsys):
    folder = write_run(tmp_path / "run", 2)
    (folder / "report.html").mkdir()
    report_page.write_at_end(folder, make_tiny_tokenizer("smollm2"))
    assert "make report tries again" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_draws_the_pages_without_a_complaint(tmp_path: Path):
    runs = [write_run(tmp_path / name, 30) for name in ("a", "b")]
    text = "<script>document.title='acted';console.log('acted')</script>"
    with (runs[0] / "incidents.jsonl").open("a") as file:
        file.write(json.dumps({"unix_time": 1_700_000_200, "who": text, "what": text}) + "\n")
    assert report_page.main([*map(str, runs), "--out", str(tmp_path / "pages")]) == 0
    for name, plots in (("a", 14), ("report", 7)):
        seen = subprocess.run(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
             "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
             (tmp_path / "pages" / f"{name}.html").as_uri()],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "CONSOLE" not in seen.stderr
        assert "<title>acted" not in seen.stdout
        assert seen.stdout.count("<svg") >= plots
        assert seen.stdout.count("<circle") > 100
