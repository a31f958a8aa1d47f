"""The CSV file of benchmarks/agents.py: appended to, cut off, foreign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.learning.runs import COLUMNS, Run, append_run, read_runs, setting_of

RUN = Run(
    task="matmul",
    agent="greedy",
    seed=3,
    evaluations=432,
    setting="0123456789ab",
    spent=430,
    speedup=4.25,
    found_at=99,
    bound=7.5,
    seconds=1.5,
    curve="1:1.000000 50:2.500000 99:4.250000",
)


def test_runs_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    assert read_runs(path) == []
    other = replace(RUN, seed=4, agent="random-search")
    append_run(path, RUN)
    append_run(path, other)
    assert read_runs(path) == [RUN, other]
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)


def test_points_are_the_curve_as_numbers() -> None:
    assert RUN.points() == [(1, 1.0), (50, 2.5), (99, 4.25)]


def test_last_line_that_was_cut_off_is_dropped_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    append_run(path, RUN)
    whole = path.read_bytes()
    append_run(path, replace(RUN, seed=4))
    text = path.read_bytes()
    # The last run counts once its line is complete; the curve, cut short, is none.
    for end in range(len(whole) + 1, len(text)):
        path.write_bytes(text[:end])
        assert read_runs(path) == [RUN]
    append_run(path, replace(RUN, seed=5))
    assert read_runs(path) == [RUN, replace(RUN, seed=5)]


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(ValueError, match="is no file of runs"):
        read_runs(path)


def test_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    for seed in range(3):
        append_run(path, replace(RUN, seed=seed))
    path.write_text(path.read_text().replace("greedy,1,", "greedy,one,"))
    with pytest.raises(ValueError, match=r"runs\.csv:3: no run"):
        read_runs(path)


def test_key_tells_runs_apart_by_what_they_hang_on() -> None:
    assert RUN.key == replace(RUN, seconds=9.0, spent=1).key
    for change in ({"seed": 4}, {"evaluations": 433}, {"setting": "other"}, {"task": "extend"}):
        assert RUN.key != replace(RUN, **change).key


def test_setting_is_a_digest_of_its_parts() -> None:
    assert setting_of([1, "a"]) == setting_of([1, "a"])
    assert setting_of([1, "a"]) != setting_of([1, "b"])
