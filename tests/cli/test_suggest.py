"""`m890 suggest`: the table, its width, the JSON object, refusals."""

from __future__ import annotations

import json

import pytest

from m890sim import KernelSession, get_task, load_kernel, simulate
from m890sim.cli import main
from m890sim.session import run_script

Capture = pytest.CaptureFixture[str]
KERNEL = "attention_head_reference"


def test_the_table_names_the_best_first(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["suggest", KERNEL]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    first = next(n for n, line in enumerate(lines) if line.strip().startswith("edit ")) + 2
    assert "x" in lines[first] and "cycles now; what one step would give" in out
    assert "kernels timed" in out


def test_json_holds_what_a_script_of_edits_needs(capsys: Capture) -> None:
    assert main(["suggest", KERNEL, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert found["timed"] == len(found["suggestions"]) > 50
    for one in found["suggestions"]:
        keys = {"what", "macro", "edits", "script", "lines", "cycles", "saved", "reason"}
        assert set(one) == keys
        if not one["macro"]:
            assert one["edits"] == [one["what"]]


def test_a_suggestion_s_script_leads_to_its_cycles(capsys: Capture) -> None:
    kernel, task = "row_softmax_reference", "row_softmax"
    assert main(["suggest", kernel, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    named = 0
    for one in found["suggestions"]:
        if one["saved"] <= 0:
            assert one["script"] == []
        elif not one["script"]:
            assert "fence" in one["what"]  # no text tells one fence from another
        else:
            session = KernelSession(task, start=load_kernel(kernel))
            run_script(session, "\n".join(one["script"]))
            named += 1
            case = get_task(task).case(found["case"])
            assert simulate(session.kernel, case, "m890").cycles == one["cycles"], one["what"]
    assert named > 10
    assert {"remove_fence *"} <= {line for one in found["suggestions"] for line in one["script"]}


def test_all_lists_what_gains_nothing(capsys: Capture) -> None:
    assert main(["suggest", KERNEL]) == 0
    short = capsys.readouterr().out
    assert main(["suggest", KERNEL, "--all"]) == 0
    assert len(capsys.readouterr().out) > 3 * len(short)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["suggest", "no_such_kernel"], "no_such_kernel"),
        (["suggest", KERNEL, "--case", "nope"], "nope"),
        (["suggest", KERNEL, "--chip", "m891"], "m891"),
        (["suggest", "attention_expert", "--chip", "m890-mini"], "m890-mini"),
    ],
)
def test_refused_input_is_named(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err and "Traceback" not in captured.err
