"""`m890 edits`: the table of edits, and what is legal in a kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import m890sim
from m890sim.cli import main
from m890sim.schedule import EDITS
from m890sim.session import edit_from_data

Capture = pytest.CaptureFixture[str]
KERNEL = "attention_reference"
STRANGER = """from m890sim.lang import *

@kernel
def twice(x: Tensor["N", 64], y: Tensor["N", 64]):
    for i in cores(ceil_div(N, 32)):
        rows = min(32, N - i * 32)
        t = sram(32, 64, bf16)
        load(t[:rows], x[i * 32 : i * 32 + rows, :])
        add(t[:rows], t[:rows], t[:rows])
        store(y[i * 32 : i * 32 + rows, :], t[:rows])
"""


def test_edits_lists_every_edit(capsys: Capture) -> None:
    assert main(["edits"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in EDITS)


def test_edits_json_has_name_text_and_manual(capsys: Capture) -> None:
    assert main(["edits", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["edits"]
    assert [entry["name"] for entry in found] == list(EDITS)
    assert all(entry["text"] and entry["manual"] for entry in found)


def test_edits_of_a_kernel_are_counted(capsys: Capture) -> None:
    assert main(["edits", KERNEL, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    legal = m890sim.legal_edits(KERNEL, "extend", "m890")
    assert captured.err == ""
    assert (found["kernel"], found["task"], found["chip"]) == (KERNEL, "extend", "m890")
    assert found["legal"] == len(legal)
    assert [entry["name"] for entry in found["edits"]] == list(EDITS)
    listed = [edit_from_data(e) for entry in found["edits"] for e in entry["legal_edits"]]
    assert listed == legal
    for entry in found["edits"]:
        own = [edit for edit in legal if edit.name == entry["name"]]
        assert entry["legal"] == len(own)
        assert entry["sites"] == len({edit.site for edit in own})


def test_edits_of_a_kernel_are_shown(capsys: Capture) -> None:
    assert main(["edits", KERNEL, "--chip", "m890-mini"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in EDITS)
    assert "legal edit" in shown and "attention_reference on m890-mini" in shown


def test_kernel_of_no_task_has_edits_too(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "twice.py"
    path.write_text(STRANGER, encoding="utf-8")
    assert main(["edits", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["legal"] == len(m890sim.legal_edits(path))
    assert main(["edits", str(path)]) == 0
    assert "twice on m890" in capsys.readouterr().out


def test_one_edit_is_explained(capsys: Capture) -> None:
    for name, spec in EDITS.items():
        assert main(["edits", "--explain", name]) == 0
        assert capsys.readouterr().out.startswith(f"{name}: {spec.text}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "unknown kernel: 'nonsense'"),
        (["--explain", "nonsense"], "unknown edit 'nonsense'"),
        ([KERNEL, "--task", "extent"], "unknown task"),
        ([KERNEL, "--chip", "m891"], "m891"),
    ],
)
def test_unknown_names_are_refused(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(["edits", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
