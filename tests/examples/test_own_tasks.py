"""The task files of examples/: what docs/tasks.md shows, judged and optimised."""

from __future__ import annotations

from pathlib import Path

import pytest

import m890sim

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
