"""`m890 profile`: the text, its width, the JSON object, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from m890sim.cli import main
from m890sim.workloads import KERNELS

Capture = pytest.CaptureFixture[str]
GOLDEN = Path(__file__).parent / "golden"
KERNEL = "attention_head_reference"


@pytest.fixture(autouse=True)
def hundred_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def test_the_text_is_as_it_was(capsys: Capture, golden: Callable[[Path, str], None]) -> None:
    assert main(["profile", KERNEL]) == 0
    out = capsys.readouterr().out
    text = "".join(f"{line.rstrip()}\n" for line in out.splitlines())
    golden(GOLDEN / "profile.txt", text)


@pytest.mark.parametrize("name", ["attention_expert", "decode_expert", "vector_add_reference"])
@pytest.mark.parametrize("rest", [[], ["--all"]], ids=["short", "all"])
def test_the_text_fits_100_columns(name: str, rest: list[str], capsys: Capture) -> None:
    assert main(["profile", name, *rest]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert any("critical path" in line for line in lines)


def test_json_is_one_object(capsys: Capture) -> None:
    assert main(["profile", KERNEL, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert {"cycles", "engines", "lines", "critical_path", "what_if"} <= set(found)
    assert captured.err == ""


def test_lines_are_those_of_the_file(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "mine.py"
    path.write_text("# mine\n" + KERNELS[KERNEL].text, encoding="utf-8")
    assert main(["profile", str(path), "--task", "attention_head", "--json"]) == 0
    moved = json.loads(capsys.readouterr().out)
    assert main(["profile", KERNEL, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [line["line"] - 1 for line in moved["lines"]] == [
        line["line"] for line in plain["lines"]
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile", "no_such_kernel"], "no_such_kernel"),
        (["profile", KERNEL, "--case", "nope"], "nope"),
        (["profile", KERNEL, "--chip", "m891"], "m891"),
        (["profile", KERNEL, "--task", "nope"], "nope"),
        (["profile", "attention_expert", "--chip", "m890-mini"], "m890-mini"),
    ],
)
def test_refused_input_is_named(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err and "Traceback" not in captured.err
