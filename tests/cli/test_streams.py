"""Streams that cannot be written, files without an end, and Ctrl-C more than once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from m890sim.agents import AGENTS, DEFAULT_AGENT
from m890sim.cli import main

Capture = pytest.CaptureFixture[str]
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
SMALL = ("vector_add", "--cases", "add-600x96", "--evaluations", "3", "--agent", "greedy")


def m890(*arguments: str, errors: str) -> subprocess.CompletedProcess[bytes]:
    with open(errors, "wb") as stream:
        return subprocess.run(
            [sys.executable, "-m", "m890sim.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=stream,
            timeout=120,
            check=False,
        )


@needs_full
@pytest.mark.parametrize(
    "arguments", [["check", "none.py"], ["judge", "none.py"], ["chips", "--nonsense"]]
)
def test_refusal_that_cannot_be_written_is_a_refusal(arguments: list[str]) -> None:
    assert m890(*arguments, errors="/dev/full").returncode == 2


@needs_full
def test_progress_that_cannot_be_written_ends_no_search(tmp_path: Path) -> None:
    done = m890("optimize", *SMALL, "--out", str(tmp_path / "run"), errors="/dev/full")
    assert done.returncode == 0 and b"3 evaluations of 3 spent" in done.stdout


def test_agents_are_listed_as_json(capsys: Capture) -> None:
    assert main(["optimize", "--agent", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [agent["name"] for agent in found["agents"]] == list(AGENTS)
    assert found["default"] == DEFAULT_AGENT and all(agent["text"] for agent in found["agents"])


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
@pytest.mark.parametrize("link", [False, True])
def test_script_without_an_end_is_refused(tmp_path: Path, capsys: Capture, link: bool) -> None:
    script = tmp_path / "script.txt"
    script.symlink_to("/dev/zero")
    given = str(script) if link else "/dev/zero"
    assert main(["edits", "vector_add_reference", "--script", given]) == 2
    assert f"{given} has more than 1,048,576 bytes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "is no text in UTF-8"),
        (b"cse " + b"x" * 1001, "line 1: a line may have 1,000 characters, not 1,005"),
        (b"\nset_slots (1.5,)", "line 2: an edit's argument must be None, an integer"),
        (b"set_slots " + b"9" * 30, "line 1: an edit's integers must lie within 64 bits"),
        (b"z" * 900, "line 1: unknown edit 'zzzz"),
    ],
)
def test_script_that_says_nothing_known_is_refused(
    data: bytes, message: str, tmp_path: Path, capsys: Capture
) -> None:
    script = tmp_path / "script.txt"
    script.write_bytes(data)
    assert main(["edits", "vector_add_reference", "--script", str(script)]) == 2
    found = capsys.readouterr().err
    assert message in found and len(found) < 300


@pytest.mark.parametrize("text", ["(" * 900 + ")", "1" * 900, "'a" * 400, '"\\N{x}"', "(((1)"])
def test_argument_that_is_no_literal_is_a_script_error_or_text(
    text: str, tmp_path: Path, capsys: Capture
) -> None:
    script = tmp_path / "script.txt"
    script.write_text(f"cse {text}", encoding="utf-8")
    assert main(["edits", "vector_add_reference", "--script", str(script)]) == 2
    assert "line 1: " in capsys.readouterr().err


def test_many_interrupts_end_as_one(tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = ["optimize", "vector_add", "--evaluations", "100000", "--out", str(out)]
    running = subprocess.Popen(
        [sys.executable, "-m", "m890sim.cli", *given],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A shell starts what runs in its background with SIGINT ignored, and children inherit it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    log = out / "evaluations.jsonl"
    end = time.monotonic() + 90
    try:
        while time.monotonic() < end and not (log.exists() and log.read_bytes().count(b"\n") > 1):
            time.sleep(0.05)
        while running.poll() is None and time.monotonic() < end:
            os.kill(running.pid, signal.SIGINT)
            time.sleep(0.03)
        assert running.wait(30) == 130
    finally:
        running.kill()
    assert all(json.loads(line) for line in log.read_text("utf-8").splitlines())
