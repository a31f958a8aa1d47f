"""`m890 edits`: the table of edits, and what is legal in a kernel."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import m890sim
from m890sim.cli import main
from m890sim.cli import places as places_of_cli
from m890sim.schedule import EDITS
from m890sim.session import edit_from_data
from m890sim.workloads import KERNELS

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


def test_edits_say_at_which_lines(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines and statements are those of the file; `places` and `legal_edits` say the same."""
    monkeypatch.setenv("COLUMNS", "140")
    text = KERNELS[KERNEL].text.splitlines()
    assert main(["edits", KERNEL, "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["edits"]}
    for entry in found.values():
        places = entry["places"]
        assert len(places) == entry["sites"]
        for place in places:
            start = place["statement"].split("(")[0] if place["line"] else "the kernel"
            assert start in (text[place["line"] - 1] if place["line"] else place["statement"])
        listed = [edit_from_data(edit).argument for edit in entry["legal_edits"]]
        arguments = [argument for place in places for argument in place["arguments"]]
        assert len(arguments) == sum(argument is not None for argument in listed)
    assert main(["edits", KERNEL]) == 0
    shown = capsys.readouterr().out
    fences = found["remove_fence"]["places"]
    rest = len(fences) - places_of_cli.EACH
    assert f", {rest} of remove_fence, " in " ".join(shown.split())
    assert len(re.findall(r"^ remove_fence +\d+ ", shown, re.M)) == places_of_cli.EACH


def test_one_kind_of_edit_is_listed(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr(places_of_cli, "ALONE", 10)
    counts = {}
    for more in ([], ["--all"]):
        assert main(["edits", KERNEL, "--kind", "move_up", *more]) == 0
        shown = capsys.readouterr().out
        assert "set_queue" not in shown
        counts[len(more)] = len(re.findall(r"^ move_up +\d+ ", shown, re.M))
        assert ("; --all." in shown) != bool(more)
    edits = m890sim.legal_edits(KERNEL, "extend", "m890")
    total = len([edit for edit in edits if edit.name == "move_up"])
    assert counts == {0: 10, 1: total}
    assert main(["edits", KERNEL, "--kind", "move_up", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["edits"]
    assert entry["legal"] == total


def test_listing_fits_100_columns(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["edits", "attention_expert"]) == 0
    table = capsys.readouterr().out.split("Legal nowhere")[0]
    assert max(map(len, table.splitlines())) <= 100


SCRIPT = """remove_fence **
set_queue 1 load(yt

set_queue 77 load(yt
set_queue 2 store
"""


@pytest.mark.parametrize("bad", ["set_queue 77 load(yt", "fly high", "set_slots (1.5,)"])
def test_a_bad_line_keeps_what_the_lines_before_it_earned(
    bad: str, tmp_path: Path, capsys: Capture
) -> None:
    script, out = tmp_path / "script.txt", tmp_path / "edited.py"
    script.write_text(SCRIPT.replace("set_queue 77 load(yt", bad), encoding="utf-8")
    given = ["edits", "vector_add_reference", "--script", str(script)]
    assert main([*given, "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert f"{script}:4:1: line 4: " in captured.err
    assert "remove_fence **" in captured.out and "set_queue 1 load(yt" in captured.out
    assert "store" not in captured.out and f"It is in {out}" in captured.out
    assert main([*given, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [row["line"] for row in found["lines"]] == ["", "remove_fence **", "set_queue 1 load(yt"]
    assert found["speedup"] == found["lines"][-1]["speedup"] > 1.5
    assert (found["error"]["file"], found["error"]["line"]) == (str(script), 4)
    saved = m890sim.evaluate(m890sim.load_kernel(out), "vector_add")
    assert saved.correct and saved.speedup == pytest.approx(found["speedup"])


def test_a_bad_first_line_earns_nothing(tmp_path: Path, capsys: Capture) -> None:
    script, out = tmp_path / "script.txt", tmp_path / "edited.py"
    script.write_text("fly high\nremove_fence **\n", encoding="utf-8")
    given = ["edits", "vector_add_reference", "--script", str(script), "--out", str(out)]
    assert main(given) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "line 1: unknown edit 'fly'" in captured.err
    assert not out.exists()


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
        ([KERNEL, "--kind", "set_queues"], "unknown edit 'set_queues'; did you mean set_queue"),
        (["--kind", "set_queue"], "--kind names places in a kernel: m890 edits KERNEL"),
    ],
)
def test_unknown_names_are_refused(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(["edits", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
