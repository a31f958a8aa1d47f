"""The clock of a run: parts add up to the time that passed; nothing of a record hangs on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from time import perf_counter, sleep

import pytest

from m890sim.agents.clock import PARTS, Clock, Times, read_times
from m890sim.agents.files import TIMES
from m890sim.agents.optimize import optimize
from m890sim.evidence import verify
from tests.agents.run_files import contents, cut
from tests.agents.toys import made


def test_parts_add_up_and_inner_ones_are_not_counted_twice() -> None:
    before = perf_counter()
    clock = Clock()
    with clock.during("gate"):
        sleep(0.02)
        with clock.during("timing"):
            sleep(0.03)
    with pytest.raises(KeyError), clock.during("judgement"):
        raise KeyError
    clock._turn("search")
    passed = perf_counter() - before
    assert sum(clock.seconds.values()) == pytest.approx(passed, abs=0.005)
    assert clock.seconds["gate"] >= 0.02 and clock.seconds["timing"] >= 0.03
    assert clock.seconds["gate"] + clock.seconds["timing"] <= passed


def test_every_sitting_is_kept(finished: Path, tmp_path: Path) -> None:
    path = made(tmp_path / "run")

    def told(entry: object, best: float) -> None:
        if entry.index == 6:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    optimize(path, told)
    optimize(path)
    assert contents(path) == contents(finished)
    sittings = read_times(path)
    assert [(one["first"], one["count"]) for one in sittings] == [(0, 7), (7, 5)]
    assert all(set(one["seconds"]) == set(PARTS) for one in sittings)
    optimize(path)  # which adds nothing but a look
    assert [(one["first"], one["count"]) for one in read_times(path)] == [(0, 7), (7, 5), (12, 0)]


def test_a_killed_run_has_the_times_that_were_written(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cut(finished, tmp_path / "run", 4)
    monkeypatch.setattr("m890sim.agents.clock.EVERY_SECONDS", 0.0)
    times = Times(path, 4)
    times.evaluated(6)
    assert [(one["first"], one["count"]) for one in read_times(path)] == [(4, 2)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"sittings": 3}',
        '{"sittings": [{"first": 0, "count": 12}]}',
        '{"sittings": [{"first": 0, "count": -1, "seconds": {}}, 7]}',
        "\x00" * 9,
    ],
    ids=range(7),
)
def test_damaged_times_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / TIMES).write_text(text)
    assert read_times(tmp_path) == []


def test_no_run_hangs_on_them(finished: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(finished, tmp_path / "run"))
    (path / TIMES).write_text("{")
    assert optimize(path).best is not None
    assert contents(path) == contents(finished)
    assert [one["first"] for one in read_times(path)] == [12]


def test_a_record_holds_without_it_and_with_any(finished: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(finished, tmp_path / "run"))
    seconds = dict.fromkeys(PARTS, 1e9)
    lies = {"sittings": [{"first": 0, "count": 10**9, "seconds": seconds}]}
    (path / TIMES).write_text(json.dumps(lies))
    assert verify(path).verified
    (path / TIMES).unlink()
    assert verify(path).verified
