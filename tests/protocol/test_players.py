"""Players: programs that write source through the tools, in this process and over MCP."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from m890sim.cli import main
from m890sim.kernel import digest
from m890sim.language import parse
from m890sim.protocol import SourceSession, Terms, session_plan, unfamiliar_chip
from m890sim.protocol.players import blind, changes, climber, hinted, lines, probes, served
from m890sim.protocol.players.blind import play_blind
from m890sim.protocol.players.hinted import play_hinted
from m890sim.protocol.players.hosts import HostedHere
from m890sim.protocol.players.lines import read, with_keyword, write
from m890sim.protocol.players.probes import learn, repaired
from m890sim.workloads import KERNELS, TASKS
from tests.protocol.players import MEMORY

TEXTS = {name: kernel.text for name, kernel in KERNELS.items()}
ALONE = (blind, changes, climber, lines, probes, served)


def small(task: str, docs: str, evaluations: int, chip: str = "m890") -> SourceSession:
    """A session without files."""
    plan = session_plan(task, chip, evaluations=evaluations, terms=Terms(docs=docs))
    return SourceSession(plan, memory=MEMORY)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_was_read_and_written_is_the_same_kernel(name: str) -> None:
    assert digest(parse(write(read(TEXTS[name])))) == digest(parse(TEXTS[name]))


@pytest.mark.parametrize("name", ["attention_reference", "attention_expert", "vector_add_expert"])
def test_a_keyword_set_and_taken_away_leaves_the_kernel(name: str) -> None:
    found = read(TEXTS[name])
    for at, line in enumerate(found):
        if line.callee in ("load", "store") and "queue" not in line.text:
            there = with_keyword(line, "queue", "1")
            assert there.text.endswith("queue=1)")
            assert with_keyword(there, "queue", "2").text.count("queue=") == 1
            found[at] = with_keyword(there, "queue", None)
    assert digest(parse(write(found))) == digest(parse(TEXTS[name]))


def test_errors_teach_the_keywords_that_the_reference_does_not_show() -> None:
    session = small("vector_add", "none", 40)

    def check(changed: lines.Lines) -> tuple[bool, str]:
        answer = session.call("check", {"source": write(changed)})
        return answer.ok, answer.text

    learned = learn(read(session.source(0)), check)
    assert learned.words["cores"]["order"] == ["block", "cyclic", "snake", "dynamic"]
    assert {"queue"} <= set(learned.numbers["load"])
    assert {"slots", "at"} <= set(learned.numbers["sram"])
    assert learned.block == "stage"
    assert session.left["evaluations"] == 39  # reading errors costs none


def test_a_text_is_mended_as_its_errors_ask() -> None:
    text = [lines.SourceLine(0, "a = sram(4, 4)"), lines.SourceLine(0, "load(a, x)")]
    said = "line 1, column 5: E222 `a` has slots=1, at least 2; declare it with slots=2"
    mended = repaired(text, said)
    assert mended is not None and mended[0].text == "a = sram(4, 4, slots=2)"
    assert repaired(text, "line 2, column 1: E205 no instruction") is None
    assert repaired(text, said + "\nline 2, column 1: E205 no instruction") is None
    assert repaired(text, "line 7, column 1: E222 declare it with slots=2") is None


@pytest.mark.parametrize("module", ALONE, ids=lambda module: module.__name__)
def test_the_blind_player_uses_the_standard_library_alone(module: Any) -> None:
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            first = name.split(".")[0]
            assert first in sys.stdlib_module_names or name.startswith("m890sim.protocol.players")


@pytest.mark.parametrize("module", [*ALONE, hinted], ids=lambda module: module.__name__)
def test_players_name_no_task_and_no_kernel(module: Any) -> None:
    text = inspect.getsource(module)
    assert not [name for name in (*TASKS, *KERNELS) if name in text.split()]


def test_blind_makes_a_small_kernel_faster_on_a_chip_that_nobody_has_seen() -> None:
    session = small("vector_add", "none", 40, unfamiliar_chip(4).name)
    play_blind(HostedHere(session))
    assert session.ended == "submitted" and session.best_speedup > 1.5
    assert session.log[session.submitted or 0].correct


def test_hinted_reads_what_it_is_given_and_makes_a_small_kernel_faster() -> None:
    session = small("row_softmax", "full", 30)
    play_hinted(HostedHere(session))
    assert session.ended == "submitted" and session.best_speedup > 3
    assert [entry for entry in session.log if entry.profile is not None]


@pytest.mark.parametrize("player", [play_blind, play_hinted])
def test_a_player_does_the_same_every_time(player: served.Player) -> None:
    logs = []
    for _ in range(2):
        session = small("vector_add", "full", 14)
        player(HostedHere(session))
        logs.append([(entry.digest, entry.cycles) for entry in session.log])
    assert logs[0] == logs[1]


def test_play_leaves_a_run_that_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    options = ["--task", "vector_add", "--chip", "m890", "--evaluations", "20", "--hidden", "1"]
    assert main(["play", "--agent", "blind", *options, "--out", run, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["session"]["ended"] == "submitted" and said["speedup"] > 2
    assert main(["verify", run]) == 0
    assert main(["report", run]) == 0
    assert "blind" in capsys.readouterr().out


def test_hinted_is_refused_where_there_are_no_profiles(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["play", "--agent", "hinted", "--docs", "language"]) == 2
    assert "--docs must be full, not language" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
def test_blind_on_drawn_chips(seed: int) -> None:
    session = SourceSession(session_plan("extend", seed=seed, terms=Terms(docs="none")))
    play_blind(HostedHere(session))
    assert session.ended == "submitted" and session.best_speedup >= 3


@pytest.mark.adapters
def test_hinted_over_mcp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole protocol through the SDK's client; without a server the same answers come out."""
    pytest.importorskip("mcp")
    told = {}
    options = ["--agent", "hinted", "--task", "row_softmax", "--chip", "m890", "--hidden", "1"]
    for name, more in (("here", []), ("there", ["--mcp"])):
        run = tmp_path / name
        command = ["play", *options, "--evaluations", "40", "--out", str(run), *more]
        assert main(command) == 0
        assert main(["verify", str(run)]) == 0
        calls = [json.loads(line) for line in (run / "calls.jsonl").read_text().splitlines()]
        told[name] = [(call["tool"], call["answer"]) for call in calls]
    assert told["here"] == told["there"]
    capsys.readouterr()


@pytest.mark.long
def test_hinted_reaches_eight_on_extend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["play", "--agent", "hinted", "--chip", "m890", "--out", run, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["speedup"] >= 8 and said["spent"] <= 432
    assert main(["verify", run]) == 0
    assert main(["report", run]) == 0
