"""judge_kernel: the gates, the hidden cases, the seed, the report."""

from __future__ import annotations

import json

import pytest

from m890sim import judge_kernel, parse
from m890sim.cli import main, show
from m890sim.errors import TaskError
from m890sim.judge import Judgement
from m890sim.workloads import DISTRIBUTIONS, KERNELS, AttentionCase

CASE = AttentionCase("judged", "extend", (70, 0), (70, 31), 4, 2, 64, 4, True)
REFERENCE = "attention_reference"
TEXT = KERNELS[REFERENCE].text
NO_MAXIMUM = TEXT.replace("row_max(new_m[:rows], s[:rows, :cols])", "fill(new_m[:rows], 0.0)")
# Right on every public case of extend, zeros elsewhere.
PUBLIC_ONLY = TEXT.replace(
    "mul(s[:rows, :cols], s[:rows, :cols], scale)",
    "mul(s[:rows, :cols], s[:rows, :cols], scale)\n"
    "                if (T - 256) * (T - 1024) * (T - 2048) * (T - 128) * (T - 450) * (T - 512):\n"
    "                    fill(s[:rows, :cols], 0.0)",
)


def gate(found: Judgement, name: str):
    return next(entry for entry in found.gates if entry.gate == name)


def test_right_kernel_passes_every_gate():
    found = judge_kernel(REFERENCE, "extend", cases=[CASE], hidden=2, seed=5)
    assert found.correct and found.seed == 5
    names = [entry.gate for entry in found.gates]
    assert names[0] == "structure"
    assert names[1 : len(DISTRIBUTIONS) + 1] == [f"numbers: {name}" for name in DISTRIBUTIONS]
    assert names[len(DISTRIBUTIONS) + 1 :] == ["maxima", "hidden", "coverage"]
    assert found.hidden.cases == 2 and found.hidden.wrong == 0
    assert found.speedup == 1.0 and found.hidden.speedup == 1.0 and found.hidden.gap == 1.0


def test_every_distribution_says_whether_it_sees_the_mistake():
    found = judge_kernel(parse(NO_MAXIMUM), "extend", cases=[CASE], seed=0)
    assert not found.correct
    assert gate(found, "structure").passed and gate(found, "numbers: normal").passed
    large = gate(found, "numbers: large_maxima")
    assert not large.passed and large.reason.startswith("judged: ")
    assert found.speedup == 1.0


def test_kernel_for_public_shapes_alone_is_wrong_on_hidden_ones():
    kernel = parse(PUBLIC_ONLY)
    public = judge_kernel(kernel, "extend", cases=["prefill-256"], seed=1)
    assert public.correct
    found = judge_kernel(kernel, "extend", cases=["prefill-256"], hidden=3, seed=1)
    assert not found.correct and found.hidden.wrong == 3
    assert gate(found, "hidden").reason.startswith("wrong on 3 of 3 hidden cases, the first is ")


def test_seed_is_fresh_where_none_is_given_and_gives_the_same_again():
    first = judge_kernel(REFERENCE, "extend", cases=[CASE], hidden=1, rows=3)
    other = judge_kernel(REFERENCE, "extend", cases=[CASE], hidden=1, rows=3)
    assert first.seed != other.seed
    again = judge_kernel(REFERENCE, "extend", cases=[CASE], hidden=1, rows=3, seed=first.seed)
    assert again == first


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"hidden": -1}, ValueError, "hidden must be at least 0 and below"),
        ({"hidden": 10**6}, ValueError, "hidden must be at most 1000, not 1000000"),
        ({"hidden": 1.5}, TypeError, "hidden must be an integer, not 1.5"),
        ({"seed": -1}, ValueError, "seed must be at least 0 and below"),
        ({"seed": "1"}, TypeError, "seed must be an integer, not '1'"),
        ({"seed": True}, TypeError, "seed must be an integer, not True"),
        ({"rows": 0}, ValueError, "rows must be at least 1 and below"),
        ({"cases": [None]}, TypeError, "a case must be a Case or its name, not None"),
        (
            {"cases": 3},
            TypeError,
            "cases must be cases or their names in a sequence",
        ),
        ({"cases": []}, TaskError, "no case to evaluate"),
        ({"cases": [CASE, CASE]}, TaskError, "every case must have a name of its own"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        judge_kernel(REFERENCE, "extend", **arguments)


def test_command_prints_one_object_with_the_promised_keys(capsys):
    arguments = ["judge", REFERENCE, "--case", "prefill-256", "--hidden", "1", "--seed", "3"]
    assert main([*arguments, "--rows", "4", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert found["correct"] is True and found["seed"] == 3
    assert set(found["gates"][0]) == {"gate", "passed", "reason"}
    assert {"cases", "wrong", "speedup", "gap", "seed"} <= set(found["hidden"])
    assert found["algebraic"] is None
    assert found["basis"]["rows"] == 4 and found["basis"]["seed"] == 3
    assert 0 < found["cases"][0]["share"] < 0.01


def test_command_shows_gates_and_how_to_do_it_again(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(NO_MAXIMUM, encoding="utf-8")
    assert main(["judge", str(path), "--case", "prefill-256", "--hidden", "0"]) == 1
    shown = capsys.readouterr().out
    assert "numbers: large_maxima" in shown and "WRONG" in shown
    assert f"To do it again: m890 judge {path} --case prefill-256 --hidden 0 --seed " in shown


def test_doing_it_again_takes_every_option_that_was_given(capsys):
    given = ["--task", "extend", "--case", "prefill-256", "--chip", "m890-lean", "--hidden", "1"]
    given += ["--seed", "9", "--rows", "3", "--algebraic"]
    assert main(["judge", REFERENCE, *given]) == 0
    first = capsys.readouterr().out
    line = first.splitlines()[-1]
    assert line == f"To do it again: m890 judge {REFERENCE} {' '.join(given)}"
    assert main(line.split()[5:]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.0, "100%"), (0.9999, "99.9%"), (0.996, "99.6%"), (0.9949, "99%"), (0.12, "12%"), (0, "0%")],
)
def test_less_than_all_is_never_shown_as_all(number, text):
    assert show.share(number) == text


def test_equivalence_is_proved_refuted_or_left_open():
    right = judge_kernel(REFERENCE, "extend", cases=[CASE], seed=1, algebraic=True)
    assert right.algebraic.answer == "equivalent"
    assert right.algebraic.error_probability < 1e-12
    assert right.as_dict()["algebraic"]["equivalent"] is True
    scaled = parse(TEXT.replace("s[:rows, :cols], scale)", "s[:rows, :cols], scale * 1.001)"))
    wrong = judge_kernel(scaled, "extend", cases=[CASE], seed=1, algebraic=True)
    assert wrong.evaluation.correct, "a thousandth is far below the tolerance"
    assert not wrong.correct and not gate(wrong, "equivalence").passed
    assert wrong.as_dict()["algebraic"]["equivalent"] is False


def test_command_judges_in_a_process_of_its_own(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(NO_MAXIMUM, encoding="utf-8")
    arguments = ["--case", "prefill-256", "--hidden", "0", "--seed", "1", "--isolate", "120"]
    assert main(["judge", str(path), *arguments, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["correct"] is False and found["seed"] == 1
    many = [REFERENCE, "--hidden", "200", "--seed", "1", "--isolate", "1"]  # minutes of work
    assert main(["judge", *many, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["correct"] is False and found["ended"] == "timeout"


@pytest.mark.parametrize("option", ["--hidden", "--seed", "--rows"])
def test_command_refuses_numbers_that_cannot_be(option, capsys):
    assert main(["judge", REFERENCE, option, "-3"]) == 2
    assert "must be an integer of at least" in capsys.readouterr().err
