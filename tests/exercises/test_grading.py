"""Grades of exercises: predictions, tiers, hints, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m890sim.cli import main
from m890sim.errors import ExerciseError
from m890sim.exercises import (
    EXERCISES,
    canonical_digest,
    get_exercise,
    grade,
    student_chip,
)
from m890sim.exercises.bottleneck import BOTTLENECKS
from m890sim.exercises.grading import grade_here, known_as, tier
from m890sim.exercises.predictions import closeness, named_well, read_prediction
from m890sim.language import parse
from m890sim.workloads import load_kernel

QUEUES = get_exercise("queues")


def predicted(text: str, words: str) -> str:
    return text.replace("# predict: speedup=? bottleneck=?", f"# predict: {words}")


def test_a_model_solution_reaches_the_goal_and_says_what_was_predicted() -> None:
    text = "# predict: speedup=2 bottleneck=latency\n" + QUEUES.model_text
    found = grade_here(QUEUES, text, "ada")
    assert found.reached and found.correct and not found.hints
    draw = QUEUES.drawn("ada")
    assert found.cycles == draw.model_cycles <= (found.goal_cycles or 0) == draw.goal_cycles
    assert found.true == {
        "speedup": draw.start_cycles / draw.model_cycles,
        "bottleneck": next(iter(found.path)),
    }
    assert found.points == sum(found.marks.values()) > 80
    assert json.loads(json.dumps(found.as_dict()))["reached"] is True


def test_nothing_is_measured_before_it_is_predicted() -> None:
    with pytest.raises(ExerciseError, match="predict first.*speedup and bottleneck"):
        grade(3, QUEUES.start_text)
    with pytest.raises(ExerciseError, match="asks for bottleneck"):
        grade(3, predicted(QUEUES.start_text, "speedup=2"))


def test_a_step_of_the_ladder_is_known_under_another_name() -> None:
    digest = canonical_digest(load_kernel("attention_4_tiles"))
    assert known_as(EXERCISES[10], digest) == "attention_4_tiles"
    assert known_as(EXERCISES[10], "0" * 64) == ""


def test_grading_ends_in_time() -> None:
    text = "# predict: speedup=2 bottleneck=latency\n" + QUEUES.model_text
    with pytest.raises(ExerciseError, match=r"no verdict within 0\.01 s"):
        grade(3, text, seconds=0.01)


def test_a_run_of_very_many_instructions_is_not_profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m890sim.exercises.grading.MOST_INSTRUCTIONS", 10)
    found = grade_here(QUEUES, QUEUES.model_text)
    assert not found.correct and "at most 10 are graded" in found.message


def test_a_long_run_is_not_repeated_for_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m890sim.exercises.hints.MOST_RERUN", 10)
    found = grade_here(QUEUES, QUEUES.start_text)
    assert any("instructions run: larger blocks need fewer" in hint for hint in found.hints)


def test_a_chip_around_which_nothing_is_drawn_is_refused() -> None:
    with pytest.raises(ExerciseError, match="nothing is drawn around 'm890-lean'"):
        student_chip("m890-lean", "ada")


def test_the_kernel_to_begin_with_earns_only_what_was_predicted() -> None:
    found = grade_here(QUEUES, predicted(QUEUES.start_text, "speedup=1 bottleneck=latency"))
    assert not found.changed and not found.reached
    assert found.marks == {"goal": 0, "speedup": 0, "bottleneck": 10}
    assert "still the kernel that you began with" in found.hints[0]


def test_a_wrong_kernel_earns_nothing_and_is_told_why() -> None:
    text = predicted(QUEUES.start_text.replace("add(", "sub("), "speedup=9 bottleneck=sfu")
    found = grade_here(QUEUES, text)
    assert not found.correct and found.points == 0 and found.cycles is None and found.true is None
    assert "row" in found.message and found.hints


def test_predicting_by_hand_leaves_the_kernel_alone() -> None:
    exercise = get_exercise(1)
    text = exercise.start_text.replace("cycles=? bottleneck=?", "cycles=700 bottleneck=dma")
    found = grade_here(exercise, text)
    assert found.marks == {"cycles": 76, "bottleneck": 20} and found.reached
    changed = grade_here(exercise, text.replace("at=1", "at=2"))
    assert changed.points == 0 and "stays as it is" in changed.message


@pytest.mark.parametrize(
    ("cycles", "marks"),
    [
        (1000, 100), (1001, 95), (1200, 95), (1201, 80), (1778, 80), (1779, 60), (3162, 60),
        (3163, 40), (5623, 40), (5624, 20), (10_000, 20), (99_000, 20),
    ],
)  # fmt: skip
def test_tiers(cycles: int, marks: int) -> None:
    assert tier(cycles, goal=1000, start=10_000) == marks


def test_a_start_close_to_the_goal_is_no_gain() -> None:
    assert tier(1100, goal=1000, start=1100) == 20
    assert tier(1040, goal=1000, start=1100) == 95
    assert tier(1060, goal=1000, start=1100) == 40
    assert tier(1000, goal=1000, start=1000) == 100
    assert tier(1001, goal=1000, start=1000) == 20


def test_closeness_is_the_same_above_and_below() -> None:
    assert closeness(102, 100) == closeness(100, 102) == 1
    assert closeness(120, 100) == closeness(100, 120) == 0.95
    assert closeness(300, 100) == 0


def test_bottlenecks_that_are_as_large_are_as_good() -> None:
    path = {"dma": 100, "latency": 95, "vector": 30}
    assert named_well("dma", path) == named_well("latency", path) == 1
    assert named_well("vector", path) == 0
    assert named_well("latency", {"dma": 100, "latency": 60}) == 0.5
    assert named_well("sfu", {}) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("# predict: cycles=ten", "line 2: cycles=ten is no number"),
        ("# predict: cycles=nan", "is no number"),
        ("# predict: cycles=inf", "is no number"),
        ("# predict: cycles=-3", "is no number"),
        ("# predict: cycles=1.5", "must be a whole number"),
        ("# predict: cycles=" + "9" * 10_000, "is no number"),
        ("# predict: speed=2", "'speed=2' is no prediction"),
        ("# predict: speedup", "is no prediction"),
        ("# predict: bottleneck=hdd", "say one of dma, matrix"),
        ("# predict: cycles=1\n#predict: cycles=2", "line 3: cycles is predicted twice"),
    ],
)
def test_a_line_that_is_no_prediction_is_refused(line: str, message: str) -> None:
    with pytest.raises(ExerciseError, match=message):
        read_prediction(f"# a kernel\n{line}\n")


def test_predictions_are_read_as_people_write_them() -> None:
    found = read_prediction("  #predict:cycles=12,345  speedup=2.5x\n# predict: bottleneck=?\n")
    assert (found.cycles, found.speedup, found.bottleneck) == (12_345, 2.5, None)


RENAMED = (
    QUEUES.model_text.replace("def queues_model", "def mine")
    .replace("a[", "left[").replace("a = ", "left = ")
    .replace("b[", "right[").replace("b = ", "right = ")
    .replace("rows", "some").replace("B", "BLOCK")
)  # fmt: skip


def test_copies_with_other_names_have_one_digest() -> None:
    model, copy = QUEUES.model, parse("# mine\n" + RENAMED)
    assert copy != model and canonical_digest(copy) == canonical_digest(model)
    assert canonical_digest(QUEUES.start) != canonical_digest(model)
    other = parse(RENAMED.replace("queue=2", "queue=3"))
    assert canonical_digest(other) != canonical_digest(model)


def test_names_in_blocks_side_by_side_count_by_their_block() -> None:
    text = QUEUES.start_text.replace("cores(ceil_div(R, B))", "cores(ceil_div(R // 2, B))")
    body = text[text.index("    for i") :]
    two = text + body
    other = text + body.replace("for i", "for j").replace("i * B", "j * B")
    assert parse(two) != parse(other)
    assert canonical_digest(parse(two)) == canonical_digest(parse(other))


@pytest.mark.parametrize(
    "student",
    ["", "x" * 10_000, "../ada", "a/b", ".", "=1+1", "a\nb", "a\0b", "ada.", "-ada", "\u0301"],
)
def test_what_is_no_name_of_a_student_is_refused(student: str) -> None:
    with pytest.raises(ExerciseError, match="student"):
        QUEUES.drawn(student)


def test_a_name_draws_the_same_however_it_is_written() -> None:
    assert QUEUES.drawn("Zoë Ada") == QUEUES.drawn("ZOE\u0308 ada")
    assert QUEUES.drawn("ada") != QUEUES.drawn("bob")
    assert QUEUES.drawn().chip.name == "m890"


def test_every_exercise_asks_for_what_can_be_predicted() -> None:
    for number, exercise in EXERCISES.items():
        assert exercise.number == number and exercise.text and exercise.advice
        assert read_prediction(exercise.start_text).missing(exercise.asks) == list(exercise.asks)
        assert "# predict: " + " ".join(f"{a}=?" for a in exercise.asks) in exercise.start_text
    assert "latency" in BOTTLENECKS


def test_start_writes_files_and_never_over_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exercises", "start", "3", "--student", "ada", "--out", str(tmp_path)]) == 0
    kernel, chip, task = (
        tmp_path / f"ex03_queues{end}" for end in (".py", "_chip.toml", "_task.py")
    )
    assert kernel.read_text() == QUEUES.start_text
    shown = capsys.readouterr().out
    assert "m890 grade 3" in shown
    arguments = ["profile", str(kernel), "--task", f"{task}:TASK", "--chip", str(chip), "--json"]
    assert main(arguments) == 0
    profile = json.loads(capsys.readouterr().out)
    assert profile["cycles"] == QUEUES.drawn("ada").start_cycles
    kernel.write_text("mine")
    chip.unlink()
    assert main(["exercises", "start", "3", "--out", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert kernel.read_text() == "mine" and not chip.exists()


def test_grade_says_where_the_marks_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(predicted(QUEUES.start_text, "speedup=1 bottleneck=dma"))
    assert main(["grade", "queues", str(file), "--student", "ada"]) == 1
    shown = capsys.readouterr().out
    assert "the goal is" in shown and "of 100 points" in shown and "queue" in shown


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (["11"], "", "'11' is neither an exercise (1 to 10, or by_hand, fences"),
        (["../" * 4000], "", "nor a folder of hand-ins"),
        (["3", "nowhere.py"], None, "No such file"),
        (["3"], "# predict: speedup=1 bottleneck=sfu\ndef f(:\n", "mine.py:2"),
        (["3", "--student", "x" * 10_000], "", "a student's name has 1 to 64 characters"),
        (["3", "--student", "../../ada"], "", "is no name of a student"),
        (["3"], "\0", "predict first"),
    ],
)
def test_bad_input_is_refused(
    arguments: list[str],
    text: str | None,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
        arguments = [arguments[0], str(file), *arguments[1:]]
    assert main(["grade", *arguments]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and "Traceback" not in shown.err and not shown.out
