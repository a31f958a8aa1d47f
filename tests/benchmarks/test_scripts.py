"""benchmarks/agents.py and train_ppo.py as one runs them, without the extra for training."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.diversity.report import mean_ranks, page, plot, rank_correlation
from benchmarks.diversity.rows import Row, read_rows, write_rows
from benchmarks.learning import extra
from benchmarks.learning.runs import read_runs
from m890sim import get_chip, get_task

ROOT = Path(__file__).resolve().parents[2]


def run_script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script of benchmarks/ with this Python."""
    command = [sys.executable, str(ROOT / "benchmarks" / name), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_agents_appends_runs_and_does_none_twice(tmp_path: Path) -> None:
    words = ["--tasks", "vector_add", "--agents", "random-search", "greedy", "--processes", "1"]
    words += ["--evaluations", "6", "--csv", str(tmp_path / "runs.csv")]
    words += ["--report", str(tmp_path / "page.md"), "--plot", str(tmp_path / "plot.svg")]
    first = run_script("agents.py", *words, "--seeds", "1")
    assert first.returncode == 0, first.stderr
    assert "0 of 2 runs are in runs.csv" in first.stdout
    begun = read_runs(tmp_path / "runs.csv")
    assert [(run.agent, run.seed) for run in begun] == [("random-search", 0), ("greedy", 0)]
    assert all(run.spent <= 6 and run.points()[-1][1] == run.speedup for run in begun)
    second = run_script("agents.py", *words, "--seeds", "2")
    assert second.returncode == 0, second.stderr
    assert "2 of 4 runs are in runs.csv" in second.stdout
    runs = read_runs(tmp_path / "runs.csv")
    assert runs[:2] == begun
    assert len(runs) == 4
    page = (tmp_path / "page.md").read_text()
    assert "| agent | vector_add | all levels |" in page
    assert "\n| random-search | " in page
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
    third = run_script("agents.py", *words, "--seeds", "2", "--first-seed", "1", "--no-runs")
    assert third.returncode == 0, third.stderr
    assert "2 of 4 runs are in runs.csv" in third.stdout
    assert read_runs(tmp_path / "runs.csv") == runs
    assert "(`vector_add` 1)" in (tmp_path / "page.md").read_text()


def test_show_climb_prints_a_line_a_case() -> None:
    found = run_script("show_climb.py", "--seeds", "1")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    cases = [case.name for case in get_task("decode").cases]
    assert [line.partition(":")[0] for line in lines] == cases
    assert all("a block's first key" in line and line.endswith("%") for line in lines)


def test_agents_refuses_a_seed_below_0() -> None:
    found = run_script("agents.py", "--first-seed", "-1")
    assert found.returncode == 2
    assert "--first-seed must be at least 0" in found.stderr


def test_agents_refuses_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n")
    words = ["--agents", "greedy", "--csv", str(tmp_path / "notes.csv")]
    found = run_script("agents.py", *words)
    assert found.returncode == 2
    assert "is no file of runs" in found.stdout
    assert (tmp_path / "notes.csv").read_text() == "a,b\n"


def test_train_ppo_has_help_without_the_extra() -> None:
    found = run_script("train_ppo.py", "--help")
    assert found.returncode == 0, found.stderr
    assert "--evaluations" in found.stdout


def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    message = extra.missing_extra()
    assert "torch, stable_baselines3, sb3_contrib" in message
    assert "pip install 'm890sim[train]'" in message
    monkeypatch.setattr(extra, "find_spec", lambda name: object())
    assert extra.missing_extra() == ""


def test_chip_diversity_measures_each_chip_once(tmp_path: Path) -> None:
    words = ["--task", "vector_add", "--families", "small", "--evaluations", "5", "--chips", "2"]
    for name in ("csv", "page", "plot", "kernels"):
        words += [f"--{name}", str(tmp_path / name)]
    first = run_script("chip_diversity.py", *words)
    assert first.returncode == 0, first.stderr
    assert "0 of 3 chips are in" in first.stdout
    page, plot = ((tmp_path / name).read_text() for name in ("page", "plot"))
    assert "| `m890` | 1 of 1, 7." in page and "| `small` | 1 of 2, " in page
    assert ElementTree.fromstring(plot).tag.endswith("svg")
    table = (tmp_path / "csv").read_text()
    again = run_script("chip_diversity.py", *words)
    assert "3 of 3 chips are in" in again.stdout and (tmp_path / "csv").read_text() == table
    second = run_script("chip_diversity.py", *words, "--no-runs")
    assert "3 of 3 chips are in" in second.stdout
    assert (tmp_path / "page").read_text() == page and (tmp_path / "plot").read_text() == plot


def test_chip_diversity_measures_again_what_has_changed(tmp_path: Path) -> None:
    row = Row("extend", "small:test:0", "0" * 64, "s", 5, 9.5, 3.25, None, 2.0, None)
    row.kin, row.moves, row.climbed = (
        {"small:test:1": None, "small:test:2": 1.5},
        {3: -0.25},
        (4, 1),
    )
    path = tmp_path / "rows.csv"
    write_rows(path, [row])
    assert read_rows(path) == [row] and not row.fresh
    assert replace(row, digest=get_chip(row.chip).digest).fresh
    assert read_rows(tmp_path / "none.csv") == []


def test_measured_diversity_is_what_the_page_shows() -> None:
    docs = ROOT / "docs"
    table, picture = docs / "chip_diversity.csv", docs / "chip_diversity.svg"
    rows = read_rows(table)
    text = (docs / "chip_diversity.md").read_text("utf-8")
    command = re.search("^    (python .*)$", text, re.MULTILINE)
    assert command is not None and text == page(rows, command[1], table, picture, "test")
    assert picture.read_text("utf-8") == plot(rows)
    for row in rows:
        others = (row.expert, row.script, row.home, *row.kin.values())
        assert all(1 <= speedup <= row.bound for speedup in (row.agent, *others) if speedup)


def test_rank_correlation_is_spearmans() -> None:
    first = {1: 1.0, 2: 2.0, 3: 3.0, 4: 0.0, 5: 9.0}
    assert mean_ranks([5.0, 1.0, 5.0, 2.0]).tolist() == [2.5, 0.0, 2.5, 1.0]
    assert rank_correlation(first, {1: 2.0, 2: 4.0, 3: 9.0, 4: 1.0}) == pytest.approx(1)
    assert rank_correlation(first, {1: 3.0, 2: 2.0, 3: 1.0, 4: 4.0}) == pytest.approx(-1)
    assert rank_correlation(first, {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}) is None
    assert rank_correlation(first, {1: 1.0}) is None


def test_chip_diversity_refuses_no_chips() -> None:
    found = run_script("chip_diversity.py", "--chips", "0")
    assert found.returncode == 2
    assert "--chips must be 1 ... 1,000, not 0" in found.stderr
