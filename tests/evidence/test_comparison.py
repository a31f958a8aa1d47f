"""compare-runs: what each number is, worked out again slowly; tables, refusals, the picture."""

from __future__ import annotations

import contextlib
import json
import math
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m890sim.agents.files import read_lines
from m890sim.agents.optimize import optimize
from m890sim.agents.reading import RunError
from m890sim.cli import main
from m890sim.evidence import run_scores
from m890sim.evidence.comparison import (
    DRAWN,
    EVERYTHING,
    YARDSTICKS,
    as_markdown,
    cells,
    compare_runs,
    interval_over,
    strata_of,
)
from m890sim.evidence.comparison_plot import comparison_picture
from m890sim.evidence.intervals import interquartile_mean
from m890sim.evidence.record import read_record
from m890sim.evidence.run_scores import (
    BUDGETS,
    RunScore,
    find_runs,
    mean_log,
    score_of,
    value_at,
)
from tests.agents.toys import made
from tests.evidence.forging import places, rechain
from tests.protocol import players

Capture = pytest.CaptureFixture[str]
RUN = RunScore(
    path="a",
    chain="",
    agent="beam",
    docs="",
    seed=0,
    task="vector_add",
    task_digest="t",
    chip="m890",
    chip_digest="c",
    cases=("one",),
    start="s",
    start_digest="d",
    evaluations=128,
    spent=100,
    calls=None,
    curve=((1, 1.0), (10, 2.0), (40, 4.0)),
    by_calls=(),
    final=4.0,
    gap_closed=0.5,
    right=3,
    asked=4,
    hidden=3.0,
    judged=True,
    solved=True,
)


@pytest.fixture(scope="module")
def runs(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: two seeds of a search agent, sessions on two chips, one that goes on still."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(finished, folder / "search" / "seed0")
    optimize(made(folder / "search" / "seed1", seed=1))
    for name, chip in (("known", "m890"), ("drawn", "small:test:1")):
        recording = players.recording(folder / "sessions" / name, chip=chip, agent="player")
        recording.call("status")
        recording.call("test", {"replace": players.WRONG, "base": 0})
        recording.call("test", {"replace": players.HUGE, "base": 0})
        recording.call("test", {"replace": players.FASTER, "base": 0})
        if name == "known":
            recording.call("submit")
            recording.finish()
        recording.close()
    return folder


# What each number is.

_CURVES = st.lists(st.floats(0.5, 50), min_size=1, max_size=60)


@given(_CURVES, st.integers(1, 90))
def test_steps_say_the_same_as_the_list_of_bests(values: list[float], count: int) -> None:
    bests = np.maximum.accumulate([1.0, *values]).tolist()
    steps = run_scores._steps(enumerate(bests, 1))
    padded = (bests + [bests[-1]] * 90)[:count]
    assert [value_at(steps, place) for place in range(1, count + 1)] == padded
    assert mean_log(steps, count) == pytest.approx(sum(map(math.log2, padded)) / count)


def test_score_at_evaluations_carries_an_early_end_and_no_further_than_the_budget() -> None:
    assert RUN.at(32) == 2.0
    assert RUN.at(128) == 4.0  # ended after 100 of its own accord
    assert RUN.at(432) is None  # its budget was 128
    going = replace(RUN, judged=False, spent=40)
    assert going.at(32) == 2.0 and going.at(128) is None and going.area is None
    assert RUN.area == pytest.approx((30 * 1 + 89 * 2) / 128)
    assert RUN.hidden_gap == 0.75


def kernelbench_fast_p(correct: Any, baseline: Any, actual: Any, n: int, p: float) -> float:
    """fast_p as KernelBench words it: correct, and baseline time over actual time above p."""
    speedups = np.asarray(baseline)[correct] / np.asarray(actual)[correct]
    return float(np.sum(speedups > p)) / n


def test_fast_p_is_that_of_kernelbench() -> None:
    final = [1.0, 2.0, 2.5, 10.0, 30.0, 1.0]
    solved = [True, True, True, True, True, False]
    found = [replace(RUN, final=f, solved=s) for f, s in zip(final, solved, strict=True)]
    for p in (1, 2, 5, 10):
        expected = kernelbench_fast_p(np.array(solved), np.array(final), np.ones(6), 6, p)
        assert sum(run.fast(p) for run in found) / 6 == expected


def test_strata_keep_chips_apart_and_pool_runs_that_are_alone() -> None:
    several = [replace(RUN, seed=seed) for seed in range(3)]
    alone = [replace(RUN, chip_digest=f"x{seed}", seed=seed) for seed in range(2)]
    single = [replace(RUN, task_digest=task, seed=0) for task in ("u", "v")]
    found = strata_of([*several, *alone, *single])
    assert [len(members) for members in found] == [3, 2, 2]
    assert found[2] == single
    assert strata_of(several) == [several]


def test_interval_is_over_the_runs_that_have_the_number() -> None:
    found = [replace(RUN, seed=seed, hidden=float(seed) or None) for seed in range(5)]
    interval = interval_over(found, lambda run: run.hidden)
    assert interval is not None and interval.runs == 4
    assert interval.value == interquartile_mean([1.0, 2.0, 3.0, 4.0])
    assert interval.low < interval.value < interval.high
    assert interval_over(found[:1], lambda run: run.hidden) is None


def test_numbers_of_a_run_follow_from_its_lines(runs: Path) -> None:
    for path in find_runs([runs]):
        record = read_record(path)
        score = score_of(record, str(path))
        lines = read_lines(path)[0]
        best, bests, right, asked = 1.0, [], 0, 0
        for line in lines:
            if line["accepted"]:
                best = max(best, line["speedup"])
            bests.append(best)
            if line["index"] and "profile" not in line and line["correct"] is not None:
                asked += 1
                right += line["correct"]
        assert [value_at(score.curve, n) for n in range(1, len(lines) + 1)] == bests
        assert (score.right, score.asked, score.spent) == (right, asked, len(lines))
        assert bests == [line["best_speedup"] for line in lines]
        if score.judged:
            result = json.loads((path / "result.json").read_text("utf-8"))
            assert score.final == result["speedup"] == result["evaluation"]["speedup"]
            assert score.hidden_gap == pytest.approx(result["hidden"]["gap"])
            assert score.gap_closed == pytest.approx(result["evaluation"]["gap_closed"])
        if record.calls is not None:
            assert score.calls == len(record.calls)
            by_calls = [bests[call["spent"] - 1] for call in record.calls]
            places = range(1, len(by_calls) + 1)
            assert [value_at(score.by_calls, n) for n in places] == by_calls


def test_kernels_that_the_final_judgement_refused_count_nowhere(finished: Path) -> None:
    record = read_record(finished)
    score = score_of(record, "")
    best = record.result["best"]["index"]
    result = {**record.result, "best": None, "rejected": [{"index": best, "message": "wrong"}]}
    refused = score_of(replace(record, result=result), "")
    # Others as fast as the final kernel may hold the same mistake, so none of them counts.
    assert score.curve[-1][1] > 1.0 and refused.curve == ((1, 1.0),) and refused.final == 1.0
    assert not refused.solved and not refused.fast(0.5) and refused.hidden is None
    assert refused.right == score.right - (record.lines[best]["correct"] is True)


def test_only_kernels_up_to_the_one_that_was_found_right_count_beside_a_refused_one(
    finished: Path,
) -> None:
    record = read_record(finished)
    speedups = {line["index"]: line["speedup"] for line in record.lines if line["accepted"]}
    *slower, second, first = sorted(speedups, key=lambda index: speedups[index])
    middle = slower[-1]
    digest = record.lines[middle]["digest"]
    rejected = [{"index": first, "message": "wrong"}]
    best = {**record.result["best"], "index": middle, "digest": digest}
    result = {**record.result, "best": best, "rejected": rejected}
    found = score_of(replace(record, result=result), "")
    assert speedups[first] > speedups[second] > speedups[middle]
    assert found.curve[-1][1] == found.final == speedups[middle]
    unrefused = score_of(replace(record, result={**result, "rejected": []}), "")
    assert unrefused.curve[-1][1] == speedups[first] and unrefused.final == speedups[middle]


# Tables.


def test_search_agents_and_sessions_stand_in_tables(runs: Path) -> None:
    found = compare_runs([runs])
    assert [(table.task, table.chip) for table in found.tables] == [
        ("row_softmax", DRAWN),
        ("row_softmax", "m890"),
        ("vector_add", "m890"),
        (EVERYTHING, EVERYTHING),
    ]
    assert not found.not_taken and not found.verified
    everything = {row.name: row for row in found.tables[-1].rows}
    assert everything.keys() == {"evolution", "player (full)"}
    search, player = everything["evolution"], everything["player (full)"]
    assert [run.seed for run in search.runs] == [0, 1] and search.judged == 2
    assert player.judged == 1 and len(player.places) == 2
    assert found.tables[-1].note and not found.tables[0].note
    assert search.final.value == pytest.approx(sum(run.final for run in search.runs) / 2)
    assert search.at[32] is None and search.evaluations == 12
    assert cells(player)[:2] == ["432", "2 (1 judged) on 2"]
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert [len(table["rows"]) for table in plain["tables"]] == [1, 1, 1, 2]
    assert set(plain["tables"][0]["rows"][0]["at"]) == set(map(str, BUDGETS))
    text = as_markdown(found, "comparison.png")
    assert "NOT VERIFIED" in text and "## vector\\_add on m890" in text
    assert "![Best right speedup over evaluations](comparison.png)" in text


def test_a_run_counts_once_however_it_is_named(runs: Path, submission: Path) -> None:
    folder = runs / "search"
    found = compare_runs([folder, folder / "seed0", submission])
    assert [len(row.runs) for row in found.tables[0].rows] == [2]
    assert found.not_taken == ((str(submission), f"it is the same run as {folder / 'seed0'}"),)


def test_a_forged_record_is_told_to_be_unverified_and_verify_finds_it(
    submission: Path, tmp_path: Path
) -> None:
    record = json.loads(submission.read_text("utf-8"))
    record["log"][record["result"]["best"]["index"]]["speedup"] = 1000.0
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(rechain(record)))
    believed = compare_runs([forged])
    assert believed.tables[0].rows[0].final.value == 1000.0 and not believed.verified
    assert "NOT VERIFIED" in as_markdown(believed)
    found = compare_runs([forged, submission], verify=True)
    assert found.verified and found.tables[0].rows[0].runs[0].verified
    ((path, why),) = found.not_taken
    assert path == str(forged) and why.startswith("not verified: evaluation ")
    assert "NOT VERIFIED" not in as_markdown(found)


def _broken(record: Any) -> None:
    record["log"][3]["speedup"] += 1


def _negative(record: Any) -> None:
    record["log"][3]["speedup"] = -2.0
    rechain(record)


def _huge(record: Any) -> None:
    record["result"]["hidden"]["speedup"] = 1e300


def _other_best(record: Any) -> None:
    record["result"]["best"]["index"] = 99


def _other_digest(record: Any) -> None:
    record["result"]["best"]["digest"] = "0" * 64


def _other_log(record: Any) -> None:
    record["result"]["chain"] = "0" * 64


def _odd_rejected(record: Any) -> None:
    record["result"]["rejected"] = {"index": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_broken, "evaluation 3 does not follow from what stands before it"),
        (_negative, "the speedup of evaluation 3 cannot be -2.0"),
        (_huge, "the speedup of the hidden cases cannot be 1e+300"),
        (_other_best, "its result names evaluation 99, which the log does not have"),
        (_other_digest, "its result names another kernel than evaluation"),
        (_other_log, "its result belongs to another log"),
        (_odd_rejected, "its result is damaged: rejected must not be"),
        (lambda record: record.pop("log"), "is damaged: it has no 'log'"),
    ],
)
def test_what_cannot_be_is_not_taken(
    submission: Path, tmp_path: Path, change: Any, message: str
) -> None:
    record = json.loads(submission.read_text("utf-8"))
    change(record)
    file = tmp_path / "x.json"
    file.write_text(json.dumps(record))
    found = compare_runs([file])
    assert not found.tables
    assert message in found.not_taken[0][1]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.booleans())
def test_anything_in_a_record_is_a_row_or_a_reason(
    submission: Path, tmp_path: Path, chance: random.Random, again: bool
) -> None:
    record = json.loads(submission.read_text("utf-8"))
    part = chance.choice(["log", "result", "manifest"])
    *way, last = chance.choice(list(places(record[part])))
    at = record[part]
    for key in way:
        at = at[key]
    at[last] = chance.choice([None, True, -1, 0, 1e308, 2**70, "", [], {}, [1], "x" * 99])
    if again:
        with contextlib.suppress(Exception):
            rechain(record)
    file = tmp_path / "x.json"
    file.write_text(json.dumps(record))
    found = compare_runs([file])
    assert len(found.tables) + len(found.not_taken) == 1
    as_markdown(found)
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_run_without_an_evaluation_is_not_taken(tmp_path: Path) -> None:
    found = compare_runs([made(tmp_path / "new")])
    assert found.not_taken == ((str(tmp_path / "new"), "it has no evaluation yet"),)


def test_folders_are_searched_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="nowhere does not exist; give run directories"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(RunError, match=r"empty holds no run directory \(with a manifest.json\)"):
        find_runs([tmp_path / "empty"])
    deep = tmp_path.joinpath("deep", *"abcdefgh")
    deep.mkdir(parents=True)
    (deep / "manifest.json").write_text("{}")
    assert find_runs([tmp_path / "deep"]) == [deep]
    (tmp_path / "empty" / "link").symlink_to(tmp_path / "deep")
    with pytest.raises(RunError, match="holds no run directory"):
        find_runs([tmp_path / "empty"])
    monkeypatch.setattr(run_scores, "MOST_ENTRIES", 3)
    with pytest.raises(RunError, match="deep holds more than 3 folders; give fewer"):
        find_runs([tmp_path / "deep"])
    monkeypatch.setattr(run_scores, "MOST_RUNS", 0)
    with pytest.raises(RunError, match="there are 1 runs, at most 0 are compared"):
        find_runs([deep])


# The picture and the command.


def test_picture_is_the_same_for_equal_runs_and_takes_any_name(runs: Path) -> None:
    found = compare_runs([runs / "sessions" / "known"])
    hostile = "$\\frac{1}{0}$ \x1b[2J | " + "x" * 60
    rows = tuple(replace(row, agent=hostile) for row in found.tables[0].rows)
    named = replace(found, tables=(replace(found.tables[0], rows=rows),))
    first = comparison_picture(named)
    assert first.startswith(b"\x89PNG") and first == comparison_picture(named)
    assert "\x1b" not in as_markdown(named) and " | xxx" not in as_markdown(named)


def test_yardsticks_are_those_that_were_published() -> None:
    assert YARDSTICKS == (10.0, 7.3, 5.0, 3.3, 1.1)


def test_command_prints_tables_and_writes_them(runs: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    assert main(["compare-runs", str(runs / "search"), str(runs / "sessions")]) == 0
    text = capsys.readouterr().out
    assert "vector_add on m890: best right speedup" in text and "player (full)" in text
    assert "NOT VERIFIED: as the records say" in text and "compare with care" in text
    assert main(["compare-runs", str(runs), "--json", "--out", str(out)]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain == json.loads((out / "comparison.json").read_text("utf-8"))
    assert sorted(file.name for file in out.iterdir()) == [
        "comparison.json",
        "comparison.md",
        "comparison.png",
    ]
    assert main(["compare-runs", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.json").write_text("{}")
    assert main(["compare-runs", str(tmp_path / "bad"), str(runs / "search")]) == 1
    assert "bad is not taken: " in " ".join(capsys.readouterr().out.split())
