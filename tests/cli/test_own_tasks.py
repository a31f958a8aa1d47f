"""Commands with a task from a file: each takes it, and each fault of it ends with exit status 2."""

from __future__ import annotations

import json

import pytest

from m890sim.cli import main
from m890sim.workloads import outside
from tests.workloads.own_tasks import FILE, KERNEL


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a task file and a kernel, which is the current one."""
    monkeypatch.setattr(outside, "_registered", {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "kernel.py").write_text(KERNEL, encoding="utf-8")
    return tmp_path


TASK = "mine.py:TASK"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["run", "kernel.py", "--task", TASK], "task doubled"),
        (["check", "kernel.py", "--task", TASK], "fits m890 on all 2 cases of doubled"),
        (["edits", "kernel.py", "--task", TASK], "legal edits of doubled"),
        (["judge", "kernel.py", "--task", TASK, "--hidden", "2", "--seed", "1"], "every gate"),
        (["tasks", TASK], "output z: every element equal: indices, counts"),
        (["tasks", TASK, "--json"], '"gate": "exact"'),
    ],
)
def test_command_takes_the_file(command, shown, work, capsys):
    assert main(command) == 0
    assert shown in capsys.readouterr().out


def test_without_a_bound_the_gap_is_not_given(work, capsys):
    assert main(["run", "kernel.py", "--task", TASK, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["gap_closed"] is None
    assert {case["lower_bound_cycles"] for case in data["cases"]} == {None}


def test_judging_in_a_process_of_its_own(work, capsys):
    command = ["judge", "kernel.py", "--task", TASK, "--hidden", "1", "--isolate", "120"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["correct"] is True


def test_run_verify_submit_resume(work, capsys, monkeypatch):
    assert main(["optimize", TASK, "--evaluations", "6", "--hidden", "2", "--out", "run"]) == 0
    assert main(["verify", "run"]) == 0  # registered in this process
    monkeypatch.setattr(outside, "_registered", {})
    capsys.readouterr()
    assert main(["verify", "run"]) == 2
    assert "give a task from outside with --task FILE:NAME" in capsys.readouterr().err
    assert main(["verify", "run", "--task", TASK]) == 0
    assert main(["submit", "run", "--out", "one.json", "--task", TASK]) == 0
    assert main(["verify", "one.json", "--task", TASK]) == 0
    assert main(["optimize", TASK, "--resume", "run"]) == 0
    monkeypatch.setattr(outside, "_registered", {})
    changed = FILE.replace("2 * x", "x + x")
    (work / "changed.py").write_text(changed, encoding="utf-8")
    capsys.readouterr()
    assert main(["verify", "run", "--task", "changed.py:TASK"]) == 1
    assert "task.digest" in capsys.readouterr().out


def test_a_record_never_has_a_file_imported(work, capsys):
    assert main(["optimize", TASK, "--evaluations", "2", "--hidden", "0", "--out", "run"]) == 0
    manifest = json.loads((work / "run" / "manifest.json").read_text())
    (work / "evil.py").write_text("open('done', 'w').close()\n", encoding="utf-8")
    manifest["task"]["name"] = "evil.py:TASK"
    (work / "run" / "manifest.json").write_text(json.dumps(manifest))
    assert main(["verify", "run"]) == 2
    assert not (work / "done").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "line 1: invalid syntax"),
        ("x = 1\n", "has no TASK; it holds no task"),
        ("TASK = 7\n", "must be a Task"),
        (FILE.replace("2 * x", "3 * x[:1]"), "gave 'y' the shape (1, 30)"),
        (FILE.replace("2 * x", "x / 0 * 0"), "values that are not finite"),
        (FILE.replace('"y": 2', '"o": 2'), "it must return the outputs 'y', 'z'"),
        (FILE.replace("2 * x", "2 * y"), "oracle on case small raised NameError"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_fault_ends_with_its_name_and_status_2(text, message, work, capsys):
    (work / "mine.py").write_text(text, encoding="utf-8")
    assert main(["run", "kernel.py", "--task", TASK]) == 2
    found = capsys.readouterr().err
    assert message in found
    assert "Traceback" not in found
    assert main(["optimize", TASK, "--evaluations", "2", "--out", "run"]) == 2
    assert message in capsys.readouterr().err


COMMANDS = (
    ["tasks", TASK],
    ["run", "kernel.py", "--task", TASK],
    ["check", "kernel.py", "--task", TASK],
    ["edits", "kernel.py", "--task", TASK],
    ["judge", "kernel.py", "--task", TASK],
    ["optimize", TASK, "--evaluations", "2", "--out", "run"],
    ["verify", "run", "--task", TASK],
    ["submit", "run", "--out", "one.json", "--task", TASK],
    ["leaderboard", "run", "--task", TASK],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "m890: task file mine.py, line 1: invalid syntax; mend the file\n"),
        (
            "x = 1 / 0\n",
            "cannot be imported: ZeroDivisionError: division by zero (mine.py, line 1)",
        ),
        ("x = 1\n", "m890: task file mine.py has no TASK; it holds no task\n"),
        (FILE.replace('"z", "exact"', '"z", "close"'), "must be one of rows, largest, exact"),
        (FILE.replace('"C": 30', '"C": 2**30'), "elements, the limit of a case is 67,108,864"),
    ],
    ids=["syntax", "import", "name", "gate", "huge"],
)
def test_every_command_says_what_is_wrong_with_a_file(text, message, command, work, capsys):
    (work / "mine.py").write_text(text, encoding="utf-8")
    assert main(command) == 2
    found = capsys.readouterr()
    assert message in found.err
    assert "Traceback" not in found.err + found.out


def test_a_generator_that_fails_is_found_before_the_search(work, capsys):
    text = FILE.replace("dice.length(1, 64)}", "1 / 0}")
    (work / "mine.py").write_text(text, encoding="utf-8")
    assert main(["optimize", TASK, "--evaluations", "50", "--out", "run"]) == 2
    found = capsys.readouterr()
    assert "hidden on hidden-0-0 raised ZeroDivisionError" in found.err
    assert "evaluation 1" not in found.err + found.out
    assert not (work / "run").exists()


def test_without_a_generator_the_judge_says_what_to_do(work, capsys):
    (work / "mine.py").write_text(FILE.replace("    hidden=hidden,\n", ""), encoding="utf-8")
    assert main(["judge", "kernel.py", "--task", TASK]) == 2
    assert "ask for none (0, --hidden 0), or give it one" in capsys.readouterr().err
