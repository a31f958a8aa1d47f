"""The commands that read and show: exit status, stdout, stderr, JSON."""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from m890sim.chip import CHIPS
from m890sim.cli import COLLECT_AFTER, build_parser, main
from m890sim.errors import M890Error
from m890sim.isa import OPS
from m890sim.workloads import KERNELS, TASKS
from m890sim.workloads.more import MORE
from tests.cli.kernels import SMALL

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("run", "check", "fmt", "kernels", "tasks", "ladder", "chips", "isa", "docs")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A right kernel in a file."""
    path = tmp_path / "twice.py"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_help_names_every_command(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^    {command}\b", shown, re.M) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str, capsys: Capture) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: m890 {command}" in capsys.readouterr().out


def test_every_option_of_every_command_is_explained() -> None:
    """Also those of commands in commands; a group of commands explains itself."""
    parsers = [build_parser()]
    names = []
    while parsers:
        parser = parsers.pop()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            elif action.help is None:
                names.append(f"{parser.prog} {action.option_strings or action.dest}")
        assert parser.description, parser.prog
    assert not names


@pytest.mark.parametrize(
    ("before", "during"), [((700, 10, 10), COLLECT_AFTER), ((0, 10, 10), (0, 10, 10))]
)
def test_collector_is_as_before_after_a_command(
    before: tuple[int, int, int], during: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, int]] = []

    def fail(*_args: object, **_named: object) -> None:
        seen.append(gc.get_threshold())
        raise M890Error("it broke")

    usual = gc.get_threshold()
    monkeypatch.setattr("m890sim.workloads.get_task", fail)
    gc.set_threshold(*before)
    try:
        assert main(["optimize", "extend"]) == 2
        assert seen == [during]
        assert gc.get_threshold() == before
    finally:
        gc.set_threshold(*usual)


def test_no_command_is_refused(capsys: Capture) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().err


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("m890sim ")


@pytest.mark.parametrize("width", ["60", "80", "120", "200"])
@pytest.mark.parametrize("command", ["chips", "isa", "tasks", "kernels"])
def test_tables_crop_nothing(
    command: str, width: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert main([command]) == 0
    shown = capsys.readouterr().out
    names = {
        "chips": [*CHIPS, "sequencer_queue_entries", "144,000,000,000"],
        "isa": list(OPS),
        "tasks": [case.name for task in TASKS.values() for case in task.cases],
        "kernels": list(KERNELS),
    }[command]
    assert not [name for name in names if name not in shown]
    assert "…" not in shown


@pytest.mark.parametrize(
    ("arguments", "key", "expected"),
    [
        (["chips"], "chips", list(CHIPS)),
        (["isa"], "instructions", list(OPS)),
        (["tasks"], "tasks", [*TASKS, *MORE]),
        (["kernels"], "kernels", [*KERNELS, *(f"{name}_reference" for name in MORE)]),
    ],
)
def test_json_lists_everything(
    arguments: list[str], key: str, expected: list[str], capsys: Capture
) -> None:
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in found[key]] == expected


@pytest.mark.parametrize("op", OPS)
def test_isa_shows_every_instruction(op: str, capsys: Capture) -> None:
    assert main(["isa", op]) == 0
    assert capsys.readouterr().out.startswith(OPS[op].signature)
    assert main(["isa", op, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == op


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["isa", "matmull"], "did you mean matmul"),
        (["chips", "m891"], "unknown chip 'm891'"),
        (["tasks", "extent"], "did you mean extend"),
        (["ladder", "extent"], "did you mean extend"),
        (["check", "attention_referense"], "did you mean attention_reference"),
        (["run", "attention_referense"], "did you mean attention_reference"),
        (["run", "nowhere/k.py"], "no kernel file 'nowhere/k.py'"),
        (["run", "attention_reference", "--chip", "x"], "unknown chip 'x'"),
        (["run", "attention_reference", "--task", "x"], "unknown task"),
        (["run", "attention_reference", "--case", "x"], "unknown case of task extend"),
        (["run", "attention_reference", "--task", "decode"], "does not fit task 'decode'"),
        (["fmt", "--write", "attention_reference"], "is built in"),
    ],
)
def test_unknown_name_is_refused(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("command", ["check", "fmt", "run"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "k.py:1:1: E1"),
        (b"\x00\x01\xff\xfe", "k.py:1:3: E1"),
        (b"import os\n", "k.py:1:1: E1"),
        (b"@kernel\ndef f(:\n", "k.py:2:7: E1"),
    ],
)
def test_refused_file_gives_places(
    command: str, content: bytes, message: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "k.py"
    path.write_bytes(content)
    assert main([command, str(path)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith(str(path))
    assert captured.out == ""


@pytest.mark.parametrize("command", ["check", "fmt", "run"])
def test_directory_is_refused(command: str, tmp_path: Path, capsys: Capture) -> None:
    assert main([command, str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert f"{str(tmp_path)!r} is a directory" in captured.err and captured.out == ""


def test_kernel_is_read_from_a_pipe(small: Path, tmp_path: Path, capsys: Capture) -> None:
    # What a shell makes of `m890 check <(...)`.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", str(small), str(pipe)]):
        assert main(["check", str(pipe)]) == 0
    assert "well formed" in capsys.readouterr().out


def test_fmt_is_canonical_and_keeps_comments(small: Path, capsys: Capture) -> None:
    small.write_text(SMALL.replace("min(32, T - i * 32)", "min( 32,T-i*32 )"), encoding="utf-8")
    assert main(["fmt", "--check", str(small)]) == 1
    assert str(small) in capsys.readouterr().out
    assert main(["fmt", "--write", str(small)]) == 0
    capsys.readouterr()
    assert main(["fmt", "--check", str(small)]) == 0
    text = small.read_text("utf-8")
    assert "rows = min(32, T - i * 32)  # the last block is short" in text
    assert main(["fmt", str(small)]) == 0
    assert capsys.readouterr().out == text


def test_fmt_reads_standard_input(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SMALL.encode())))
    assert main(["fmt", "-"]) == 0
    assert "def twice" in capsys.readouterr().out


def run_m890(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "m890sim.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        **options,
    )


def test_closed_pipe_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "m890sim.cli", "isa"],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        timeout=60,
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


def test_terminal_without_the_glyphs_gets_no_traceback() -> None:
    done = run_m890("chips", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "sram_bytes" in done.stdout and done.stderr == ""


def test_fault_is_one_message(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("some inner thing")

    monkeypatch.setattr("m890sim.cli.tables.chip_rows", broken)
    assert main(["chips"]) == 3
    assert "fault of the simulator: ValueError: some inner thing" in capsys.readouterr().err


def test_interrupt_has_its_own_status(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("m890sim.cli.tables.chip_rows", interrupted)
    assert main(["chips"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("kernels",), ("tasks", "--json"), ("fmt", "-")])
@pytest.mark.parametrize("descriptor", [1, 2])
def test_closed_stream_is_no_fault(arguments: tuple[str, ...], descriptor: int) -> None:
    result = run_m890(*arguments, input=SMALL, preexec_fn=lambda: os.close(descriptor))
    assert result.returncode == 0
    assert result.stderr == ""


def test_closed_standard_input_is_refused(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["check", "-"]) == 2
    assert "standard input is closed" in capsys.readouterr().err
