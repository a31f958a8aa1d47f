"""benchmarks/suite_learning.py and train_suite.py: curves, arms, page, and a small run."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning.curves import Curve, append_curve, read_curves
from benchmarks.learning.runs import read_runs
from m890_envs.policies import Policy, save_policy
from m890sim.schedule.macros import MACROS

ROOT = Path(__file__).resolve().parents[2]
ACTIONS = 1 + len(MACROS)


def even(name: str, trained: bool) -> Policy:
    """A policy that takes all legal actions alike, its episodes of two steps."""
    layers = [(np.zeros((0, ACTIONS)), np.zeros(ACTIONS))]
    notes = {"command": "python benchmarks/train_suite.py", "steps": 4000}
    return Policy(layers, name=name, trained=trained, fields=(), horizon=2, provenance=notes)


def test_curves_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    curves = [Curve("ppo-0", 0, 2000, 0.5), Curve("ppo-0", 0, 4000, 0.75)]
    for curve in curves:
        append_curve(path, curve)
    assert read_curves(path) == curves
    (tmp_path / "other.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="no file of training curves"):
        read_curves(tmp_path / "other.csv")


def test_policies_play_in_all_cells_and_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import suite_learning

    folder = tmp_path / "policies"
    folder.mkdir()
    save_policy(even("ppo-0", True), folder / "ppo-0.npz")
    save_policy(even("ppo-0", False), folder / "ppo-0-untrained.npz")
    append_curve(tmp_path / "curves.csv", Curve("ppo-0", 0, 2000, 0.5))
    words = ["--policies", str(folder), "--cells", "2", "--evaluations", "4", "--episodes", "1"]
    words += ["--csv", str(tmp_path / "runs.csv"), "--training", str(tmp_path / "curves.csv")]
    words += ["--report", str(tmp_path / "page.md"), "--plot", str(tmp_path / "plot.svg")]
    monkeypatch.setattr(sys, "argv", ["suite_learning.py", *words, "--split", "validation"])
    monkeypatch.setattr(suite_learning, "TASKS", ("vector_add",))
    assert suite_learning.main() == 0
    assert "0 of 8 runs are in runs.csv" in capsys.readouterr().out
    runs = read_runs(tmp_path / "runs.csv")
    assert len(runs) == 8
    assert {run.evaluations for run in runs} == {2, 4}
    # The same weights with the same seed do the same, whatever a file says of its training.
    by_key: dict[object, list[float]] = {}
    for run in runs:
        by_key.setdefault((run.task, run.evaluations), []).append(run.speedup)
    assert [len(found) for found in by_key.values()] == [2] * 4
    assert all(first == second for first, second in by_key.values())
    page = (tmp_path / "page.md").read_text()
    assert "| `ppo` over `ppo-untrained` | 1.00x (1.00 to 1.00) | 1.00x (1.00 to 1.00) |" in page
    assert "| `ppo-0` | " in page and "| 4,000 | 0.50 |" in page
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--no-runs"])
    assert suite_learning.main() == 0
    assert "8 of 8 runs are in runs.csv" in capsys.readouterr().out
    assert read_runs(tmp_path / "runs.csv") == runs


def test_a_folder_without_policies_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import suite_learning

    monkeypatch.setattr(sys, "argv", ["suite_learning.py", "--policies", str(tmp_path)])
    assert suite_learning.main() == 2
    assert "there is no policy in" in capsys.readouterr().out


def test_scores_are_of_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from learning.runs import Run
    from learning.suite_report import arm_of, by_arm, interval, paired, reached

    run = Run("matmul@c@h", "ppo-0", 0, 150, "", 150, 4.0, 60, 7.0, 1.0, "1:1.0 10:2.0 60:4.0")
    assert [reached(run, number) for number in (5, 16, 150)] == [0.0, 1.0, 2.0]
    names = ("ppo-0", "ppo-12", "ppo-0-untrained", "blind-3-untrained")
    assert [arm_of(name) for name in names] == ["ppo", "ppo", "ppo-untrained", "blind-untrained"]
    other = replace(run, agent="ppo-0-untrained", curve="1:1.0 9:2.0")
    arms = by_arm([run, replace(run, agent="ppo-1"), other], lambda one: reached(one, 150))
    assert arms["ppo"] == {("0", "matmul@c@h"): 2.0, ("1", "matmul@c@h"): 2.0}
    assert paired(arms["ppo"], arms["ppo-untrained"]).value == math.log2(2.0)
    assert interval(arms["ppo"], "matmul").runs == 1


def test_train_suite_says_what_it_needs() -> None:
    script = str(ROOT / "benchmarks" / "train_suite.py")
    found = subprocess.run(
        [sys.executable, script, "--steps", "0"], capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 2 and "--steps must be at least 1" in found.stderr


def test_a_frozen_policy_scores_everywhere_as_at_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import suite_learning

    monkeypatch.setattr(suite_learning, "TASKS", ("vector_add",))
    monkeypatch.setattr(suite_learning, "FROZEN_EPISODES", 1)
    weights = np.zeros((5, ACTIONS))
    weights[4, 3] = 8.0  # "progress": the share of the steps that is left
    layers = [(weights, np.zeros(ACTIONS))]
    policy = Policy(layers, name="ppo-0", fields=("progress",), horizon=4)
    found = suite_learning.frozen(policy)
    assert found.name == "frozen-0" and found.fields == ()
    scores = found.scores(np.zeros(0, dtype=np.float32))
    assert scores[3] == pytest.approx(8.0 * (1 + 0.75 + 0.5 + 0.25) / 4)
    assert np.count_nonzero(scores) == 1
