"""A course's folder: hand-ins found, graded, put into CSV, and copies told apart."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from m890sim.cli import main
from m890sim.errors import ExerciseError
from m890sim.exercises import get_exercise
from m890sim.exercises.course import COLUMNS, _cell, find_hand_ins

FENCES = get_exercise("fences")
GOOD = "# predict: speedup=2 bottleneck=latency\n" + FENCES.model_text
RENAMED = GOOD.replace("fences_model", "my_own").replace("a[", "left[").replace("a = ", "left = ")


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Three students: a solution, its copy with other names, and one that is no kernel."""
    for student, text in {"ada": GOOD, "bob": RENAMED, "cyd": "def f(:\n"}.items():
        folder = tmp_path / student
        folder.mkdir()
        (folder / FENCES.file).write_text(text)
    (tmp_path / ".git").mkdir()
    (tmp_path / "=cmd").mkdir()
    (tmp_path / "eve").symlink_to(tmp_path / "ada")
    (tmp_path / "fay").mkdir()
    return tmp_path


def test_course_becomes_a_table(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", str(course), "--jobs", "2"]) == 0
    shown = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert tuple(rows[0]) == COLUMNS
    assert [row["student"] for row in rows] == ["ada", "bob", "cyd"]
    assert [row["reached"] for row in rows] == ["yes", "yes", "no"]
    assert [row["same_as"] for row in rows] == ["bob", "ada", ""]
    assert rows[0]["digest"] == rows[1]["digest"] and len(rows[0]["digest"]) == 64
    assert [row["known"] for row in rows] == ["fences_model", "fences_model", ""]
    assert rows[0]["cycles"] != rows[1]["cycles"]  # chips of their own
    assert rows[2]["points"] == "0" and "E1" in rows[2]["problem"]
    for name, reason in [("=cmd", "no name"), ("eve", "a link"), ("fay", "no file as")]:
        assert any(name in line and reason in line for line in shown.err.splitlines())
    assert ".git" not in shown.err


def test_files_of_one_exercise_are_named_by_their_students(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ada.py").write_text("# predict: cycles=soon\n" + FENCES.start_text)
    (tmp_path / "bob.py").write_bytes(b"\xff\xfe")
    assert main(["grade", "fences", str(tmp_path), "--json"]) == 0
    ada, bob = json.loads(capsys.readouterr().out)["hand_ins"]
    assert ada["student"] == "ada" and not ada["correct"] and ada["points"] == 0
    assert ada["same_as"] == [] and ada["problem"].startswith("line 1: cycles=soon is no number")
    assert bob["problem"] == "the file is no text in UTF-8"


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", str(tmp_path)]) == 2
    assert "no hand-in in" in capsys.readouterr().err
    with pytest.raises(ExerciseError, match="no hand-in"):
        find_hand_ins(tmp_path, FENCES)


def test_a_student_is_not_named_twice(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", str(course), "--student", "ada"]) == 2
    assert "--student is for one file" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert _cell(text) == "'" + text
    assert _cell("a\n=b") == "a =b"
