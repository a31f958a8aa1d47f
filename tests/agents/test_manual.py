"""docs/agents.md: its example runs, its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from m890sim.agents import AGENTS
from m890sim.agents.chain import CHAIN
from m890sim.agents.files import BEST, EVALUATIONS, MANIFEST, PICTURE, RESULT
from m890sim.agents.lines import Lines
from m890sim.session import KernelSession

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "agents.md").read_text("utf-8")


def test_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(code, "docs/agents.md", "exec"), {})
    assert capsys.readouterr().out == "30 True\n"


def test_every_agent_and_file_has_a_row() -> None:
    for name in (*AGENTS, MANIFEST, EVALUATIONS, BEST, RESULT, PICTURE):
        assert f"| `{name}` |" in TEXT


def test_every_key_of_a_line_is_described() -> None:
    session = KernelSession("vector_add", "add-600x96", verify="never")
    line = Lines().line(session.evaluate())
    table = TEXT.split("A line of `evaluations.jsonl`:")[1].split("\n\nNo file")[0]
    assert {*line, CHAIN, "profile"} == set(  # the last in lines of profiles alone
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\|[^|]*\|", table, re.M)))
    )
