"""Scripts of edits, and those of the documents: how far edits alone get from the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from m890sim.cli import main
from m890sim.language import parse
from m890sim.session import KernelSession, ScriptError, parse_script, run_script

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "scripts"
# Speedup, geometric mean over the task's cases, that a script reaches at least.
REACHED = {"extend": 12.5, "decode": 45.0}
SMALL = {"extend": ["prefill-256", "extend-ragged"], "decode": ["decode-ragged"]}


def after(task: str, script: str) -> str:
    session = KernelSession(task, verify="never")
    run_script(session, script)
    return "\n".join(str(edit) for edit in session.edits)


def test_a_line_takes_the_first_place_that_fits() -> None:
    assert after("extend", "set_queue 2 load(vt").count("set_queue") == 1


def test_a_star_takes_every_place_once() -> None:
    found = after("extend", "split_transfer 2 load(vt *\n")
    assert found.count("split_transfer") == 2


def test_two_stars_go_on_until_nothing_is_left() -> None:
    session = KernelSession("extend", verify="never")
    run_script(session, "remove_fence **  # all of them")
    assert all(edit.name != "remove_fence" for edit in session.legal_edits())


def test_an_argument_may_be_a_tuple_or_a_text() -> None:
    script = "set_tunable ('BQ', 'double')\nset_order 'dynamic'\n"
    assert [line.argument for line in parse_script(script)] == [("BQ", "double"), "dynamic"]
    assert after("extend", script).count("(kernel, ('BQ', 'double'))") == 1


def test_lines_print_as_they_are_read() -> None:
    script = "set_queue 1 load(vt *\ncse **\nsink kt =\nset_order 'dynamic'"
    assert "\n".join(map(str, parse_script(script))) == script


def test_an_unknown_edit_is_refused_with_its_line() -> None:
    with pytest.raises(ScriptError, match="line 2: unknown edit 'fly'; `m890 edits` lists them"):
        parse_script("\nfly high")


def test_a_line_that_fits_nowhere_is_refused() -> None:
    session = KernelSession("extend", verify="never")
    with pytest.raises(ScriptError, match="line 1: no legal edit fits `set_queue 99 load`"):
        run_script(session, "set_queue 99 load")
    assert session.edits == ()


@pytest.mark.parametrize("task", sorted(REACHED))
def test_edits_alone_reach_far(task: str) -> None:
    session = KernelSession(task, verify="never")
    run_script(session, (SCRIPTS / f"{task}.txt").read_text())
    assert session.evaluate().speedup >= REACHED[task]


@pytest.mark.parametrize("task", sorted(REACHED))
def test_the_edited_kernel_is_right_on_small_cases(task: str) -> None:
    session = KernelSession(task, SMALL[task], verify="always", distributions=["needle"])
    run_script(session, (SCRIPTS / f"{task}.txt").read_text())
    assert session.evaluate().message == ""


@pytest.mark.long
@pytest.mark.parametrize("task", sorted(REACHED))
def test_the_edited_kernel_is_right_on_everything(task: str) -> None:
    session = KernelSession(task, verify="always")
    run_script(session, (SCRIPTS / f"{task}.txt").read_text())
    assert session.evaluate().message == ""


def test_the_command_makes_the_edits_and_writes_the_kernel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, out = tmp_path / "s.txt", tmp_path / "k.py"
    script.write_text("remove_fence *\n")
    words = ["edits", "vector_add_reference", "--script", str(script), "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "remove_fence *" in printed and "right on every case" in printed
    assert "fence()" not in out.read_text()
    parse(out.read_text())
    assert main(words) == 2
    assert "exists; name another file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["edits", "--script", "x.txt"], "a script edits a kernel; name it"),
        (["edits", "vector_add_reference", "--out", "k.py"], "--out goes with --script"),
        (["edits", "vector_add_reference", "--script", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_the_command_refuses(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err
