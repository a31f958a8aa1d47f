"""--set: other values of tunables, and what cannot be set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m890sim.chip import get_chip
from m890sim.cli import main
from m890sim.workloads import KERNELS, get_task, load_kernel, simulate
from m890sim.workloads.fitting import with_tunables
from tests.cli.kernels import SMALL

Capture = pytest.CaptureFixture[str]
NAME, CASE = "vector_add_reference", "add-600x96"


def edited(folder: Path, value: int) -> Path:
    """The kernel with the value written into its file."""
    path = folder / "mine.py"
    path.write_text(KERNELS[NAME].text.replace("BR: Tunable = 16", f"BR: Tunable = {value}"))
    return path


@pytest.mark.parametrize("value", [32])
def test_set_is_the_same_as_the_value_in_the_file(
    value: int, tmp_path: Path, capsys: Capture
) -> None:
    mine = str(edited(tmp_path, value))
    kernel = load_kernel(mine)
    cycles = simulate(kernel, get_task("vector_add").case(CASE), get_chip("m890")).cycles
    for command in ("run", "profile", "suggest", "judge"):
        shown = []
        for given in ([NAME, "--set", f"BR={value}"], [mine, "--task", "vector_add"]):
            more = ["--hidden", "0", "--seed", "1"] if command == "judge" else []
            assert main([command, *given, "--case", CASE, *more, "--json"]) == 0
            found = json.loads(capsys.readouterr().out)
            found.pop("source", None)
            shown.append(found)
        first, second = shown
        if command in ("run", "judge"):
            assert first == second and first["cases"][0]["cycles"] == cycles
        else:
            assert first["cycles"] == second["cycles"] == cycles
    assert main(["fmt", NAME, "--set", f"BR={value}"]) == 0
    assert f"BR: Tunable = {value}" in capsys.readouterr().out


def test_several_tunables_are_set(capsys: Capture) -> None:
    given = ["check", "attention_reference", "--set", "BQ=32", "--set", " BK = 16 ", "--json"]
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out)["kernels"][0]["tunables"] == {"BQ": 32, "BK": 16}


@pytest.mark.parametrize("command", ["check", "run", "judge", "profile", "suggest", "fmt"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["BM=3"], "--set: the kernel has no tunable 'BM'; vector_add_reference takes BR (now 16)"),
        (["R=3"], "--set: 'R' is no Tunable: the case gives it; vector_add_reference takes BR"),
        (["x=3"], "--set: 'x' is no Tunable: the case gives it"),
        (["BR"], "--set takes NAME=NUMBER, not 'BR'; vector_add_reference takes BR (now 16)"),
        (["=3"], "--set takes NAME=NUMBER, not '=3'"),
        (["BR=x"], "--set BR takes an integer, not 'x'"),
        (["BR=1.5"], "--set BR takes an integer, not '1.5'"),
        (["BR=" + "9" * 5000], "--set BR takes an integer, not '999"),
        (["BR=3", "BR=4"], "--set BR is given twice; leave one out"),
        (["BR=0"], "E225"),
        (["BR=9999999999"], "E504"),
        (["BR=\x1b[31m"], "--set BR takes an integer, not '\\x1b[31m'"),
    ],
)
def test_what_cannot_be_set_is_refused(
    command: str, settings: list[str], message: str, capsys: Capture
) -> None:
    given = [word for setting in settings for word in ("--set", setting)]
    assert main([command, NAME, *given]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == "" and len(captured.err) < 600


def test_kernel_without_tunables_says_so(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "twice.py"
    path.write_text(SMALL, encoding="utf-8")
    assert main(["check", str(path), "--set", "B=3"]) == 2
    assert "twice has no Tunable parameter, so nothing can be set" in capsys.readouterr().err


def test_judge_repeats_the_settings(capsys: Capture) -> None:
    given = ["judge", NAME, "--case", CASE, "--hidden", "0", "--seed", "3", "--set", "BR=8"]
    assert main(given) == 0
    again = capsys.readouterr().out.split("To do it again: ")[1].split()
    assert "--set BR=8" in " ".join(again)


def test_compare_sets_either_kernel(capsys: Capture) -> None:
    case = get_task("vector_add").case(CASE)
    given = ["compare", NAME, NAME, "--case", CASE, "--set", "BR=8", "--set-b", "BR=32", "--json"]
    assert main(given) == 0
    found = json.loads(capsys.readouterr().out)
    kernels = [with_tunables(load_kernel(NAME), {"BR": value}) for value in (8, 32)]
    assert found["cycles"] == [simulate(kernel, case).cycles for kernel in kernels]
