"""The task files of examples/: what docs/tasks.md shows, judged and optimised."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import m890sim
from m890sim.cli import main
from m890sim.workloads import outside

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "tasks"
PAGE = FOLDER.parents[1] / "docs" / "tasks.md"


@pytest.mark.parametrize("name", ["rms_norm", "top_one"])
def test_reference_is_right(name):
    task = m890sim.get_task(f"{FOLDER / name}.py:TASK")
    hidden = 2 if task.hidden else 0
    found = m890sim.judge_kernel(task.reference, task, hidden=hidden, seed=3, rows=40)
    assert [gate.reason for gate in found.gates if not gate.passed] == []


def test_the_page_s_task_becomes_faster():
    task = m890sim.get_task(f"{FOLDER / 'rms_norm'}.py:TASK")
    session = m890sim.KernelSession(task, budget=3, rows=1)
    session.evaluate()
    while session.legal_edits("remove_fence"):
        session.apply(session.legal_edits("remove_fence")[0])
    entry = session.evaluate()
    assert entry.correct
    assert entry.speedup > 1.2
    assert 0 < entry.gap_closed < 1


def test_the_page_shows_the_file():
    file = (FOLDER / "rms_norm.py").read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    oracle = file[file.index("def oracle") : file.index("def derive")].strip()
    assert oracle in page
    for line in file[file.index("    params=[") : file.index("    oracle=oracle")].splitlines():
        assert line in page
    kernel = (FOLDER / "rms_norm_reference.py").read_text(encoding="utf-8")
    assert kernel[kernel.index("from m890sim.lang") :] in page


def blocks(language: str) -> list[str]:
    """The page's blocks of code in a language, in order."""
    page = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def test_the_page_word_by_word(tmp_path, monkeypatch, capsys):
    """What a reader does: two files, the commands, and then the functions one after another."""
    monkeypatch.setattr(outside, "_registered", {})
    monkeypatch.chdir(tmp_path)
    oracle, task, kernel, *functions = blocks("python")
    Path("rms_norm_reference.py").write_text(kernel, encoding="utf-8")
    Path("rms_norm.py").write_text(oracle + task, encoding="utf-8")
    (console,) = blocks("console")
    commands = [shlex.split(line.lstrip("$ "), comments=True)[1:] for line in console.splitlines()]
    assert [command[0] for command in commands] == ["check", "run", "judge", "optimize", "verify"]
    for command in commands:
        more = {"judge": ["--hidden", "0"], "optimize": ["--evaluations", "3"]}
        assert main(command + more.get(command[0], [])) == 0
    assert "right by every gate" in capsys.readouterr().out
    names = ("hidden", "inputs", "demand")
    assert [re.search(r"def (\w+)", text).group(1) for text in functions] == list(names)
    for count in range(1, 4):
        wired = "".join(f"    {name}={name},\n" for name in names[:count])
        whole = oracle + "\n".join(functions[:count]) + task.replace("\n)\n", f"\n{wired})\n")
        Path("rms_norm.py").write_text(whole, encoding="utf-8")
        assert main(commands[0]) == 0
    assert main([*commands[2], "--hidden", "2", "--seed", "1"]) == 0
    assert m890sim.evaluate("rms_norm_reference.py", "rms_norm.py:TASK").cases[0].lower_bound_cycles
