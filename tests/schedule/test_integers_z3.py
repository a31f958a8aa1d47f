"""What the edits hold for certain of integers at a place, against Z3.

Every claim must hold: Z3 finds no values of a launch, of work items, loops and tunables that
contradict it. How often Z3 proves what the edits leave open is counted, and printed with `-s`.
"""

from __future__ import annotations

import operator
from collections import Counter

import pytest
import z3

from m890sim.kernel import ir
from m890sim.kernel.forms import Range
from m890sim.kernel.printer import print_expr
from m890sim.schedule.core.block_size.extents import at_most
from m890sim.schedule.core.integers.failures import may_fail, may_overflow, range_at_launch
from m890sim.schedule.core.integers.faults import Iterations
from m890sim.schedule.core.integers.proofs import integers_at
from m890sim.schedule.core.integers.surroundings import surroundings
from tests.schedule.integer_scopes import TUNABLES, Model, Place, Writer

SEEDS = range(60)
WIDE = 2**63


def asked(seed: int) -> tuple[Writer, Place]:
    """A place, and a writer of questions about the names that are visible there."""
    writer = Writer(seed)
    place = writer.place()
    writer.names = [*place.names]
    return writer, place


def refuted(model: Model, what: str, *contrary: z3.BoolRef) -> bool:
    """Whether Z3 knows that a claim holds. Fails where it finds values against it."""
    answer = model.possible(*contrary)
    if answer:
        pytest.fail(f"{what} is wrong for {model.solver.model()}")
    return answer is False


def test_proofs_hold_for_any_tunables() -> None:
    counts: Counter[str] = Counter()
    for seed in SEEDS:
        writer, place = asked(seed)
        known, model = integers_at(place.kernel, place.site), Model(place)
        for _ in range(8):
            left, right = writer.pair()
            certain = known.at_most(known.form(left), known.form(right))
            if not certain and seed % 12:
                continue
            holds = [*model.defined(left), *model.defined(right)]
            what = f"seed {seed}: {print_expr(left)} <= {print_expr(right)}"
            if certain:
                counts["proved"] += refuted(model, what, *holds, model.of(left) > model.of(right))
            else:
                answer = model.possible(*holds, model.of(left) > model.of(right))
                counts["only Z3 proves it" if answer is False else "open"] += 1
    print(f"\na <= b: {dict(counts)}")
    assert counts["proved"] > 100


def test_truth_holds_for_any_tunables() -> None:
    counts: Counter[str] = Counter()
    for seed in SEEDS:
        writer, place = asked(seed)
        known, model = integers_at(place.kernel, place.site), Model(place)
        for _ in range(8):
            condition = writer.condition()
            found = known.truth(condition)
            if found is None and seed % 12:
                continue
            holds, truth = [*model.defined(condition)], model.truth(condition)
            what = f"seed {seed}: {print_expr(condition)} is {found}"
            if found is not None:
                contrary = z3.Not(truth) if found else truth
                counts["decided"] += refuted(model, what, *holds, contrary)
            else:
                can = [model.possible(*holds, t) for t in (truth, z3.Not(truth))]
                counts["only Z3 decides it" if False in can else "open"] += 1
    print(f"\nconditions: {dict(counts)}")
    assert counts["decided"] > 100


def test_limits_of_conditions_hold_where_the_condition_does() -> None:
    checked = 0
    for seed in SEEDS:
        writer, place = asked(seed)
        known, model = integers_at(place.kernel, place.site), Model(place)
        for truth in (True, False):
            condition = writer.condition()
            where = model.truth(condition) if truth else z3.Not(model.truth(condition))
            for limit in known.limits(condition, truth):
                text = known.forms.text(limit)
                if text is not None:
                    what = f"seed {seed}: {print_expr(text)} <= 0 where {print_expr(condition)}"
                    contrary = [*model.defined(condition), where, model.of(text) > 0]
                    checked += refuted(model, what, *contrary)
    assert checked > 50


def test_forms_have_the_values_of_what_they_are_made_of() -> None:
    checked = 0
    for seed in SEEDS:
        writer, place = asked(seed)
        known, model = integers_at(place.kernel, place.site), Model(place)
        expr = writer.expr(3)
        for text in (known.forms.text(known.form(expr)), known.forms.expression(known.form(expr))):
            if text is not None:
                what = f"seed {seed}: {print_expr(text)} == {print_expr(expr)}"
                contrary = [*model.defined(expr), model.of(text) != model.of(expr)]
                checked += refuted(model, what, *contrary)
    assert checked > 60


@pytest.mark.parametrize("fixed", [False, True])
def test_what_does_not_fail_has_a_value(fixed: bool) -> None:
    """For any tunables, and for the present ones."""
    checked = 0
    tunables = TUNABLES if fixed else {}
    for seed in SEEDS:
        writer, place = asked(seed)
        model = Model(place, tunables)
        for _ in range(4):
            expr, before = writer.expr(), writer.expr()
            if not may_fail(expr, tunables=tunables, worked_out=(before,)):
                defined = z3.And([z3.BoolVal(True), *model.defined(expr, everywhere=True)])
                what = f"seed {seed}: {print_expr(expr)} has a value"
                holds = model.defined(before)
                checked += refuted(model, what, *holds, z3.Not(defined))
    assert checked > 30


def test_what_does_not_overflow_stays_within_64_bits() -> None:
    checked = 0
    for seed in SEEDS:
        writer, place = asked(seed)
        model = Model(place, most=4096)
        around = surroundings(place.kernel, place.site)
        for _ in range(4):
            expr = writer.expr()
            if not may_overflow(around, TUNABLES, expr) and not may_fail(expr):
                for part in ir.walk_expr(expr):
                    value = model.of(part)
                    what = f"seed {seed}: {print_expr(part)} stays within 64 bits"
                    checked += refuted(model, what, z3.Or(value >= WIDE, value < -WIDE))
    assert checked > 100


def test_ranges_at_launch_hold_for_these_tunables() -> None:
    checked = 0
    for seed in SEEDS:
        writer, place = asked(seed)
        model = Model(Place(place.kernel, place.site[:1], ()), TUNABLES)
        writer.names = [name for name in place.names if name in model.values]
        for _ in range(4):
            expr = writer.expr()
            known = range_at_launch(place.kernel, expr)
            checked += refuted_ends(model, f"seed {seed}", expr, known)
    assert checked > 60


def test_what_the_language_knows_holds_for_these_tunables() -> None:
    """Its ranges find what is wrong with an iteration, and which loops never run."""
    checked = never = 0
    for seed in SEEDS:
        writer, place = asked(seed)
        rules, model = Iterations(place.kernel, place.site), Model(place, TUNABLES)
        for _ in range(4):
            expr = writer.expr()
            known = rules.forms.range(rules.form(expr))
            checked += refuted_ends(model, f"seed {seed}", expr, known)
            start, stop = writer.pair()
            if not rules.runs(start, stop):
                what = f"seed {seed}: range({print_expr(start)}, {print_expr(stop)}) never runs"
                holds = [*model.defined(start), *model.defined(stop)]
                never += refuted(model, what, *holds, model.of(start) < model.of(stop))
    assert checked > 60
    assert never > 20


def refuted_ends(model: Model, where: str, expr: ir.Expr, known: Range) -> int:
    """How many ends of a range Z3 knows to hold. Fails where one does not."""
    value, holds = model.of(expr), [*model.defined(expr)]
    found = 0
    for end, beyond in ((known.low, operator.lt), (known.high, operator.gt)):
        if end is not None:
            what = f"{where}: {print_expr(expr)} ends at {end}"
            found += refuted(model, what, *holds, beyond(value, end))
    return found


def test_what_fits_into_a_tile_fits_for_these_tunables() -> None:
    """As the sizes of blocks ask for it."""
    checked = 0
    for seed in SEEDS:
        writer, place = asked(seed)
        writer.names = ["n", "m", "s", *TUNABLES]
        top = Place(place.kernel, (0,), ())
        model = Model(top, TUNABLES)
        for _ in range(20):
            left, right = writer.pair()
            if at_most(left, right, TUNABLES, {"n", "m", "s"}):
                what = f"seed {seed}: {print_expr(left)} <= {print_expr(right)}"
                holds = [*model.defined(left), *model.defined(right)]
                checked += refuted(model, what, *holds, model.of(left) > model.of(right))
    assert checked > 100
