"""Hints: the right ones for a kernel, and their figures measured."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from m890sim import parse, simulate
from m890sim.exercises import get_exercise
from m890sim.exercises.hints import MOST, RULES, Hint, hints
from m890sim.exercises.reruns import OtherQueue, saved_by
from m890sim.kernel import ir
from m890sim.profile import Profile, profile_kernel


@cache
def profiled(name: str, model: bool = False) -> Profile:
    exercise = get_exercise(name)
    own = exercise.drawn()
    return profile_kernel(exercise.model if model else exercise.start, own.case, own.chip)


def found(profile: Profile) -> dict[str, Hint]:
    made = [hint for rule in RULES for hint in rule(profile)]
    return {hint.about: hint for hint in sorted(made, key=lambda hint: -hint.cycles)}


@pytest.mark.parametrize(
    ("exercise", "first", "words"),
    [
        ("fences", "fences", "at a fence all engines of the core wait"),
        ("queues", "queues and slots", "save 4,706 cycles together"),
        ("items", "cores", "12 of 16 cores have no work at all"),
        ("fuse", "start-up", "start-ups of instructions"),
        ("blocks", "slots", "the engine waits until a tile is free again"),
        ("operands", "queues and slots", "both a queue that is free"),
        ("softmax", "queues", "dma1, dma2, dma3 move nothing"),
    ],
)
def test_the_dearest_thing_comes_first(exercise: str, first: str, words: str) -> None:
    made = found(profiled(exercise))
    assert next(iter(made)) == first
    shown = hints(profiled(exercise), "no")
    assert words in shown[0] and len(shown) <= MOST


def test_stages_are_named_where_engines_take_turns() -> None:
    made = found(profiled("stages"))
    assert "The engines take turns" in made["turns"].text
    assert any("stages" in text for text in hints(profiled("stages"), "no"))
    assert "turns" not in found(profiled("stages", model=True))


def test_figures_are_those_of_fresh_runs() -> None:
    own = get_exercise("fences").drawn()
    made = found(profiled("fences"))["fences"]
    assert own.start_cycles - own.model_cycles == made.cycles
    assert f"takes {own.model_cycles:,} cycles" in made.text
    exercise = get_exercise("softmax")
    text = exercise.start_text.replace("ot[:rows])\n", "ot[:rows], queue=3)\n")
    own = exercise.drawn()
    expected = own.start_cycles - simulate(parse(text), own.case, own.chip).cycles
    assert found(profiled("softmax"))["behind"].cycles == expected > 0
    assert saved_by(profiled("softmax"), OtherQueue(3)) == expected


def test_a_change_that_does_not_fit_saves_nothing() -> None:
    assert saved_by(profiled("queues"), OtherQueue(9)) == 0


def test_where_nothing_stands_out_the_advice_is_left() -> None:
    own = get_exercise("by_hand").drawn()
    one = next(stmt for stmt in ir.walk(get_exercise("by_hand").start.body))
    assert isinstance(one, ir.Cores)
    kernel = replace(get_exercise("by_hand").start, body=(replace(one, extents=(ir.Const(0),)),))
    profile = profile_kernel(kernel, own.case, own.chip)
    assert hints(profile, "advice")[-1] == "advice"
