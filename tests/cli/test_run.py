"""`m890 run`: exit status, JSON, the table, and the picture of the cycles."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from m890sim.chip import get_chip
from m890sim.cli import cycles, main, show
from m890sim.cli.files import load, task_of
from m890sim.cli.run import _looked_at
from m890sim.errors import TaskError
from m890sim.judge import Basis, CaseResult, Evaluation
from m890sim.kernel import print_kernel
from m890sim.workloads import KERNELS, LEVELS, get_task, lower_bound_cycles, simulate

Capture = pytest.CaptureFixture[str]
REFERENCE = "attention_reference"
CASE = "prefill-256"
CASE_KEYS = ("case", "correct", "error", "cycles", "reference_cycles", "lower_bound_cycles")


def copy_of_reference(folder: Path, before: str = "", after: str = "") -> Path:
    """The reference kernel in a file, with a change."""
    text = KERNELS[REFERENCE].text
    assert before in text
    path = folder / "mine.py"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    return path


def test_run_of_the_reference(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["run", REFERENCE, "--case", CASE]) == 0
    captured = capsys.readouterr()
    assert "against attention_reference" in captured.out
    assert "chip m890 (fictional), timing version" in captured.out
    assert "1.00x" in captured.out and "right" in captured.out
    assert f"Where the cycles of {CASE} go" in captured.out
    assert captured.err == ""


def test_run_json_has_the_promised_keys(capsys: Capture) -> None:
    assert main(["run", REFERENCE, "--case", CASE, "--chip", "m890-lean", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["correct"] is True
    assert found["speedup"] == pytest.approx(1.0)
    assert found["gap_closed"] == pytest.approx(0.0)
    assert (found["task"], found["chip"]) == ("extend", "m890-lean")
    (case,) = found["cases"]
    assert all(key in case for key in CASE_KEYS)
    expected = simulate(load(REFERENCE), get_task("extend").case(CASE), get_chip("m890-lean"))
    assert case["cycles"] == case["reference_cycles"] == expected.cycles
    assert sum(case["attribution"]["sfu"].values()) == expected.cycles * 16
    assert captured.err == ""


def test_wrong_kernel_has_status_1_and_says_where(tmp_path: Path, capsys: Capture) -> None:
    path = copy_of_reference(tmp_path, "causal_mask(", "limit_mask(s, limit=cols)  # causal_mask(")
    assert main(["run", str(path), "--case", CASE, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["correct"] is False and found["speedup"] == 1.0
    assert found["cases"][0]["correct"] is False and found["cases"][0]["error"] > 0.01
    assert main(["run", str(path), "--case", CASE]) == 1
    shown = capsys.readouterr().out
    assert "WRONG" in shown and "rows are wrong" in shown


def test_task_of_a_file_is_guessed(tmp_path: Path) -> None:
    for name in ("attention_reference", "decode_reference", "attention_head_expert"):
        task, remark = task_of(load(name), "mine.py", None)
        assert task.name == KERNELS[name].task
        assert "guessed" in remark


def test_task_that_cannot_be_guessed_is_refused(tmp_path: Path, capsys: Capture) -> None:
    path = copy_of_reference(tmp_path, 'kv_indptr: Table["B + 1"]', 'kv_indptr: Table["B + 2"]')
    with pytest.raises(TaskError, match="fit no task; the tasks are: extend, decode"):
        task_of(load(str(path)), str(path), None)
    assert main(["run", str(path)]) == 2
    assert capsys.readouterr().out == ""


def test_ladder_json_agrees_with_run(capsys: Capture) -> None:
    assert main(["ladder", "extend", "--chip", "m890-lean", "--json"]) == 0
    rungs = json.loads(capsys.readouterr().out)["ladders"]["extend"]
    assert [rung["step"] for rung in rungs] == list(range(len(rungs)))
    assert rungs[0]["kernel"] == REFERENCE and rungs[0]["speedup"] == 1.0
    chip, task = get_chip("m890-lean"), get_task("extend")
    for case in task.cases:
        assert all(rung["cycles"][case.name] >= lower_bound_cycles(case, chip) for rung in rungs)


@pytest.mark.parametrize("level", LEVELS)
def test_ladder_of_a_level_leads_from_its_reference_to_its_expert(
    level: str, capsys: Capture
) -> None:
    for chip in ("m890", "m890-mini"):
        assert main(["ladder", level, "--chip", chip, "--json"]) == 0
        rungs = json.loads(capsys.readouterr().out)["ladders"][level]
        ends = [rungs[0]["kernel"], rungs[-1]["kernel"]]
        assert ends == [f"{level}_reference", f"{level}_expert"]
        assert rungs[0]["speedup"] == 1.0 < rungs[-1]["speedup"]
        assert main(["run", f"{level}_expert", "--chip", chip, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["speedup"] == pytest.approx(rungs[-1]["speedup"])
        assert main(["check", f"{level}_expert", "--task", level, "--chip", chip]) == 0
        capsys.readouterr()


def test_ladder_shows_steps_that_do_not_fit_the_chip(capsys: Capture) -> None:
    assert main(["ladder", "decode", "--chip", "m890-mini", "--json"]) == 0
    rungs = json.loads(capsys.readouterr().out)["ladders"]["decode"]
    fitting = [rung for rung in rungs if rung["refusal"] is None]
    assert fitting[0]["step"] == 0 and len(fitting) < len(rungs)
    refused = next(rung for rung in rungs if rung["refusal"])
    assert refused["cycles"] == {} and refused["speedup"] is None
    assert "E303 queue 2, m890-mini has queues 0 to 1" in refused["refusal"]


@pytest.mark.parametrize("width", ["70", "120", "200"])
def test_ladder_shows_every_case_and_step(
    width: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert main(["ladder", "decode"]) == 0
    shown = capsys.readouterr().out
    reference = simulate(load("decode_reference"), get_task("decode").cases[0], get_chip("m890"))
    assert show.count(reference.cycles) in shown
    assert "to bound" in shown and "limited by" in shown


@pytest.mark.parametrize("width", ["60", "80", "140"])
def test_run_crops_nothing(width: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert main(["run", REFERENCE, "--case", CASE]) == 0
    shown = capsys.readouterr().out
    case = get_task("extend").case(CASE)
    assert show.count(simulate(load(REFERENCE), case, get_chip("m890")).cycles) in shown
    assert "…" not in shown


def test_picture_adds_up_for_every_engine() -> None:
    timing = simulate(load(REFERENCE), get_task("extend").case(CASE), get_chip("m890"))
    parts = cycles.engine_parts(timing)
    assert list(parts)[-3:] == ["matrix", "vector", "sfu"]
    assert all(sum(causes.values()) == timing.cycles * 16 for causes in parts.values())
    assert "dma0" in parts and "dma3" not in parts, "the reference uses one queue"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, {"working": 0, "slowed": 0, "waiting": 0, "idle": 10}),
        ({"working": 1, "waiting": 2}, {"working": 3, "slowed": 0, "waiting": 7, "idle": 0}),
        ({"working": 5, "slowed": 5}, {"working": 5, "slowed": 5, "waiting": 0, "idle": 0}),
    ],
)
def test_widths_fill_the_bar(parts: dict[str, int], expected: dict[str, int]) -> None:
    assert cycles.widths(parts, 10) == expected


def test_every_cause_has_a_kind() -> None:
    timing = simulate(load(REFERENCE), get_task("extend").case(CASE), get_chip("m890"))
    kinds = {cause: cycles.kind_of(cause) for cause in timing.attribution.causes}
    assert kinds["busy"] == "working" and kinds["hbm"] == "slowed"
    assert kinds["operand from matrix"] == "waiting" and kinds["nothing left"] == "idle"


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for name, stream in (("terminal", Terminal()), ("file", io.StringIO())):
        monkeypatch.setattr("sys.stderr", stream)
        with show.progress("measuring") as tell:
            tell(1, 2, "a case")
        shown[name] = stream.getvalue()
    assert "measuring" in shown["terminal"]
    assert shown["file"] == ""


def test_printed_kernel_runs_alike(tmp_path: Path) -> None:
    path = tmp_path / "printed.py"
    path.write_text(print_kernel(load(REFERENCE)), encoding="utf-8")
    case, chip = get_task("extend").case(CASE), get_chip("m890")
    actual, expected = simulate(load(str(path)), case, chip), simulate(load(REFERENCE), case, chip)
    assert actual.cycles == expected.cycles


@pytest.mark.parametrize(
    ("checked", "seen", "text"),
    [
        (30, 10, "every row of 3 distributions"),
        (29, 10, "at least 97% of rows of 3 distributions, every row of at least one"),
        (9, 9, "at least 30% of rows of 3 distributions, 90% of rows of at least one"),
    ],
)
def test_report_says_which_rows_were_looked_at(checked: int, seen: int, text: str) -> None:
    case = CaseResult(
        "c", True, 0.0, 1, 1, 1, rows_checked=checked, rows=30, rows_seen=seen, rows_there=10
    )
    basis = Basis("0", 1, "", "", 0, ("a", "b", "c"), None)
    assert _looked_at(Evaluation("k", "", "t", "m890", (case,), basis)) == text
