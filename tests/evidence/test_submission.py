"""Submissions and the leaderboard over a folder of them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from m890sim.agents.files import BEST, EVALUATIONS, RESULT
from m890sim.agents.optimize import optimize
from m890sim.agents.reading import RunError
from m890sim.cli import main
from m890sim.evidence import submit
from m890sim.evidence.leaderboard import JSON, MARKDOWN
from tests.agents.run_files import cut
from tests.agents.toys import made
from tests.evidence.forging import rechain

Capture = pytest.CaptureFixture[str]


def test_equal_runs_give_equal_submissions(
    finished: Path, submission: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = made(tmp_path / "run")
    optimize(path)
    assert main(["submit", str(path)]) == 0
    out = tmp_path / "run.submission.json"
    assert str(out) in capsys.readouterr().out
    assert out.read_bytes() == submission.read_bytes()
    assert main(["submit", str(path)]) == 2
    assert "is there already; choose another file with --out" in capsys.readouterr().err


def test_runs_that_are_no_submission_are_refused(finished: Path, tmp_path: Path) -> None:
    path = cut(finished, tmp_path / "run", 8)
    out = tmp_path / "out.json"
    with pytest.raises(RunError, match="has not ended; go on with m890 optimize --resume"):
        submit(path, out)
    shutil.copy(finished / RESULT, path / RESULT)
    with pytest.raises(RunError, match="has no right kernel"):
        submit(path, out)
    shutil.copy(finished / BEST, path / BEST)
    with pytest.raises(RunError, match="the result belongs to another log"):
        submit(path, out)
    shutil.copy(finished / EVALUATIONS, path / EVALUATIONS)
    text = (path / BEST).read_text("utf-8")
    (path / BEST).write_text(text.replace("def vector_add_", "def other_"))
    with pytest.raises(RunError, match="best.py is not the kernel that the result names"):
        submit(path, out)
    assert not out.exists()


def test_leaderboard_ranks_what_holds_and_lists_the_rest(
    submission: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for seed in (1, 2):
        path = made(tmp_path / f"run{seed}", agent="annealing", seed=seed)
        optimize(path)
        submit(path, folder / f"annealing{seed}.json")
    shutil.copy(submission, folder / "evolution.json")
    shutil.copy(submission, folder / "twice.json")
    (folder / "bad.json").write_text("{")
    record = json.loads(submission.read_text("utf-8"))
    record["log"][3]["speedup"] = 99.0
    (folder / "forged.json").write_text(json.dumps(rechain(record)))
    command = ["leaderboard", str(folder), "--hidden", "3"]
    assert main([*command, "--seed", "7"]) == 1
    assert "3 hidden cases with seed 7" in capsys.readouterr().out
    board = json.loads((folder / JSON).read_text("utf-8"))
    assert board["seed"] == 7 and board["hidden"] == 3
    (table,) = board["tables"]
    rows = table["rows"]
    assert {row["agent"]: row["runs"] for row in rows} == {"annealing": 2, "evolution": 1}
    assert [row["rank"] for row in rows] == [1, 2] and rows[0]["hidden"] >= rows[1]["hidden"]
    assert all(row["low"] <= row["hidden"] <= row["high"] for row in rows)
    reasons = {entry["file"]: entry["reason"] for entry in board["rejected"]}
    assert set(reasons) == {"bad.json", "forged.json", "twice.json"}
    assert reasons["twice.json"].startswith("it is the same run as evolution.json")
    assert reasons["forged.json"].startswith("evaluation 3: speedup: the record says 99.0")
    text = (folder / MARKDOWN).read_text("utf-8")
    assert "seed 7" in text and "| 1 | " in text and "## Not taken" in text
    before = (folder / JSON).read_bytes()
    assert main([*command, "--seed", "7", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == board
    assert (folder / JSON).read_bytes() == before


def test_leaderboard_draws_a_fresh_seed(submission: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(submission, folder)
    seeds = []
    for _ in range(2):
        assert main(["leaderboard", str(folder), "--hidden", "1", "--json"]) == 0
        seeds.append(json.loads(capsys.readouterr().out)["seed"])
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "is no directory"),
        (["."], "holds no submission"),
        ([".", "--hidden", "1001"], "at most 1000"),
    ],
)
def test_leaderboard_refuses(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["leaderboard", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_leaderboard_that_cannot_be_written_is_refused_before_anything_is_judged(
    submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(
        "m890sim.evidence.leaderboard.leaderboard", lambda *_: pytest.fail("judged")
    )
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    shutil.copy(submission, folder)
    file.write_text("mine")
    assert main(["leaderboard", str(folder), "--out", str(file)]) == 2
    assert "file: File exists" in capsys.readouterr().err and file.read_text() == "mine"
    (folder / MARKDOWN).mkdir()
    assert main(["leaderboard", str(folder)]) == 2
    assert "leaderboard.md: it is a directory" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda *_arguments, **_settings: False)
    assert main(["leaderboard", str(tmp_path)]) == 2
    assert "choose another directory with --out" in capsys.readouterr().err
