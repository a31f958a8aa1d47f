"""benchmarks/profile_reader.py: its runs, its file, and what the table says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import profile_reader
from benchmarks.profile_reader import CHIP, ReaderRun, main, read_runs, rows_of

ANNEALING = "annealing"


def test_runs_are_appended_and_none_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profile_reader, "BUDGETS", (4, 9))
    words = ["--tasks", "row_softmax", "--chips", CHIP, "--csv", str(tmp_path / "runs.csv")]
    words += ["--report", str(tmp_path / "page.md")]
    assert main([*words, "--seeds", "1"]) == 0
    first = read_runs(tmp_path / "runs.csv")
    assert [(run.agent, run.evaluations) for run in first] == [
        (ANNEALING, 4),
        (ANNEALING, 9),
        ("reader", 4),
        ("reader", 9),
    ]
    assert all(run.speedup >= 1 for run in first)
    assert [run.profiles > 0 for run in first] == [False, False, True, True]
    assert main([*words, "--seeds", "2"]) == 0
    both = read_runs(tmp_path / "runs.csv")
    assert both[:4] == first and {run.seed for run in both[4:]} == {1001}
    page = (tmp_path / "page.md").read_text()
    assert "| row_softmax | m890 | 9 | 2 | " in page
    capsys.readouterr()
    assert main([*words, "--seeds", "2", "--no-runs"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def made(chip: str, agent: str, seed: int, speedup: float) -> ReaderRun:
    return ReaderRun("extend", chip, agent, seed, 32, speedup, 0, 0, 1.0)


def test_table_names_the_agent_whose_interval_is_above() -> None:
    runs = [made("a", "reader", seed, 4.0 + seed / 100) for seed in range(5)]
    runs += [made("a", ANNEALING, seed, 2.0 + seed / 100) for seed in range(5)]
    runs += [made("b", "reader", seed, 1.0) for seed in range(5)]
    runs += [made("b", ANNEALING, seed, 4.0) for seed in range(5)]
    rows = {row[1]: row for row in rows_of(runs)}
    assert rows["a"][4:] == ("2.02x (2.00 to 2.04)", "4.02x (4.00 to 4.04)", "reader")
    assert rows["b"][3] == "5" and rows["b"][6] == ANNEALING
    assert rows["all drawn chips"][3] == "10"
    assert not list(rows_of(runs[:5])), "one agent alone is compared with nothing"
