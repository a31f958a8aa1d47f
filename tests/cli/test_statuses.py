"""Exit statuses: 0, 1 and 2 say the same in every command, and --json speaks also when it refuses.

Refused are kernels that cannot be read, that the language refuses, that are for another task, that
the chip has no queues or no room for, that are beyond a limit on work, and words that name nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from m890sim.cli import build_parser, main
from m890sim.cli.refusals import findings_of
from m890sim.errors import M890Error
from m890sim.workloads import KERNELS

Capture = pytest.CaptureFixture[str]
TASK, CASE = "vector_add", "add-600x96"
REFERENCE = "vector_add_reference"

# What is done to the reference, and the code that refuses it; None where there is none.
CHANGES: dict[str, tuple[str, str, str | None]] = {
    "syntax": ("def ", "def (", "E102"),
    "unknown name": ("[:rows]", "[:rowz]", "E201"),
    "unknown instruction": ("copy(", "copyy(", "E205"),
    "another task": ('z: Tensor["R", "C"]', 'z: Tensor["R", 7]', None),
    "queue": ("BR + rows, :])", "BR + rows, :], queue=9)", "E303"),
    "bank": ("xt = sram(BR, C, bf16)", "xt = sram(BR, C, bf16, at=99)", "E305"),
    "no room": ("BR: Tunable = 16", "BR: Tunable = 9999", "E301"),
    "too many items": ("cores(ceil_div(ceil_div(R, BR), 8))", "cores(9000000)", "E506"),
}
# Of a command that reads a kernel: what stands around it.
COMMANDS: dict[str, list[str]] = {
    "check": ["check", "KERNEL", "--task", TASK],
    "run": ["run", "KERNEL", "--task", TASK, "--case", CASE],
    "judge": ["judge", "KERNEL", "--task", TASK, "--case", CASE, "--hidden", "0"],
    "judge --isolate": ["judge", "KERNEL", "--task", TASK, "--case", CASE, "--isolate", "60"],
    "profile": ["profile", "KERNEL", "--task", TASK, "--case", CASE],
    "suggest": ["suggest", "KERNEL", "--task", TASK, "--case", CASE],
    "compare A": ["compare", "KERNEL", REFERENCE, "--task", TASK, "--case", CASE],
    "compare B": ["compare", REFERENCE, "KERNEL", "--task", TASK, "--case", CASE],
    "optimize": ["optimize", TASK, "--start", "KERNEL", "--cases", CASE, "--out", "OUT"],
    "edits --script": ["edits", "KERNEL", "--task", TASK, "--script", "SCRIPT"],
}


def changed(folder: Path, before: str, after: str) -> Path:
    """The reference with a change, in a file."""
    text = KERNELS[REFERENCE].text
    assert before in text
    path = folder / "mine.py"
    path.write_text(text.replace(before, after), encoding="utf-8")
    return path


def arguments(command: list[str], kernel: Path, folder: Path) -> list[str]:
    script = folder / "script.txt"
    script.write_text("remove_fence\n", encoding="utf-8")
    names = {"KERNEL": str(kernel), "OUT": str(folder / "run"), "SCRIPT": str(script)}
    return [names.get(word, word) for word in command]


def refusal(given: list[str], capsys: Capture) -> dict[str, Any]:
    """The object of a refused command with --json; stderr has its message too."""
    assert main([*given, "--json"]) == 2
    captured = capsys.readouterr()
    found: dict[str, Any] = json.loads(captured.out)
    assert found["error"]["status"] == 2
    assert {key: found["error"][key] for key in found["errors"][0]} == found["errors"][0]
    for error in found["errors"]:
        assert error["message"].splitlines()[0] in captured.err
    assert "Traceback" not in captured.err
    return found


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("command", COMMANDS)
def test_refused_kernel_has_status_2_everywhere(
    command: str, change: str, tmp_path: Path, capsys: Capture
) -> None:
    before, after, code = CHANGES[change]
    given = arguments(COMMANDS[command], changed(tmp_path, before, after), tmp_path)
    found = refusal(given, capsys)
    assert code in [error["code"] for error in found["errors"]]
    assert "correct" not in found or found["correct"] is False
    assert not (tmp_path / "run").exists(), "a refused start leaves no run directory"


@pytest.mark.parametrize("command", ["run", "judge", "edits --script"])
def test_wrong_kernel_has_status_1(command: str, tmp_path: Path, capsys: Capture) -> None:
    path = changed(tmp_path, "add(a[:rows], a[:rows], b[:rows])", "add(a[:rows], a[:rows], 1.0)")
    given = arguments(COMMANDS[command], path, tmp_path)
    assert main([*given, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["correct"] is False and "error" not in found


@pytest.mark.parametrize("command", [*sorted(COMMANDS.keys() - {"judge --isolate"}), "fmt"])
def test_right_kernel_has_status_0(command: str, tmp_path: Path, capsys: Capture) -> None:
    path = changed(tmp_path, "# Sum of", "# The sum of")
    given = arguments(COMMANDS.get(command, ["fmt", "KERNEL"]), path, tmp_path)
    if command == "optimize":
        given += ["--evaluations", "2", "--agent", "greedy", "--hidden", "0"]
    assert main(given) == 0
    assert not capsys.readouterr().err.startswith("m890: ")


def test_text_of_a_process_of_its_own_keeps_its_places() -> None:
    found = findings_of(M890Error("k.py:1:2: E102 no\nk.py:3:4: E201 nor that"))
    assert [(one.code, one.line, one.message) for one in found] == [
        ("E102", 1, "no"),
        ("E201", 3, "nor that"),
    ]
    for text in ("", "k.py:1:2: E102 no\nand more", "E102 without a place"):
        assert [one.message for one in findings_of(M890Error(text))] == [text]


def with_json() -> list[str]:
    """Every command that takes --json."""
    groups = build_parser()._actions
    (commands,) = (one for one in groups if isinstance(one, argparse._SubParsersAction))
    return [
        name
        for name, parser in commands.choices.items()
        if any("--json" in action.option_strings for action in parser._actions)
    ]


@pytest.mark.parametrize("command", with_json())
@pytest.mark.parametrize("word", ["no-such-thing", "--no-such-option"])
def test_json_speaks_when_a_command_line_is_refused(
    command: str, word: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = refusal([command, word], capsys)
    assert len(found["errors"]) == 1 and found["error"]["code"] is None


def test_fault_and_interrupt_are_objects_too(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, status in ((ValueError("some inner thing"), 3), (KeyboardInterrupt(), 130)):

        def broken(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("m890sim.chip.get_chip", broken)
        assert main(["chips", "--json"]) == status
        assert json.loads(capsys.readouterr().out)["error"]["status"] == status


@pytest.mark.parametrize("command", ["run", "judge"])
def test_cases_that_fit_are_judged_and_the_others_named(command: str, capsys: Capture) -> None:
    """Of two public cases one has no room: status 2, with the numbers of the other."""
    cases = ["--case", "add-256x512", "--case", CASE]
    given = [command, REFERENCE, *cases, "--set", "BR=128", "--chip", "m890-lean"]
    given += ["--hidden", "0"] if command == "judge" else []
    found = refusal(given, capsys)
    assert {tuple(error["cases"]) for error in found["errors"]} == {("add-256x512",)}
    assert [case["correct"] for case in found["cases"]] == [False, True]
    assert found["cases"][1]["cycles"] > 0 and found["correct"] is False


def test_run_shows_refused_and_not_wrong(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    given = ["--case", "add-256x512", "--case", CASE, "--chip", "m890-lean"]
    assert main(["run", REFERENCE, *given, "--set", "BR=128"]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("refused") == 2 and "WRONG" not in captured.out
    assert "E301 no room for tile" in captured.err
    for more in ([], ["--isolate", "60"]):
        judge = ["judge", REFERENCE, *given, "--set", "BR=128", "--hidden", "0", *more]
        assert main(judge) == 2
        out = capsys.readouterr().out
        assert "refused\n" in out or "is refused" in out


def test_run_beyond_a_limit_is_refused_with_its_cycles(tmp_path: Path, capsys: Capture) -> None:
    """A kernel may be timed where its values are too much work."""
    path = changed(
        tmp_path,
        "add(a[:rows], a[:rows], b[:rows])",
        "for k in range(140000):\n                fence()",
    )
    assert main(["run", str(path), "--task", TASK, "--case", CASE]) == 2
    captured = capsys.readouterr()
    assert "E505 the run comes to more than" in captured.err and "refused" in captured.out
    assert "no row was computed" in captured.out
