"""What the edits hold for certain of integers at a place, against Z3.

Every claim must hold: Z3 finds no values of a launch, of work items, loops and tunables that
contradict it. How often Z3 proves what the edits leave open is counted, and printed with `-s`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import z3

from m890sim.kernel import ir
from m890sim.kernel.printer import print_expr
from m890sim.schedule.core.integers.failures import may_fail, may_overflow, range_at_launch
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
            holds = [*model.defined(left), *model.defined(right)]
            what = f"seed {seed}: {print_expr(left)} <= {print_expr(right)}"
            if known.at_most(known.form(left), known.form(right)):
                counts["proved"] += refuted(model, what, *holds, model.of(left) > model.of(right))
            elif seed % 6 == 0:
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
            holds, truth = [*model.defined(condition)], model.truth(condition)
            found = known.truth(condition)
            what = f"seed {seed}: {print_expr(condition)} is {found}"
            if found is not None:
                contrary = z3.Not(truth) if found else truth
                counts["decided"] += refuted(model, what, *holds, contrary)
            elif seed % 6 == 0:
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
        top = Place(place.kernel, place.site[:1], ())
        names = {
            name for stmt in place.kernel.body if isinstance(stmt, ir.Let) for name in [stmt.name]
        }
        writer.names = ["n", "m", "s", *TUNABLES, *names]
        model = Model(top, TUNABLES)
        for _ in range(4):
            expr = writer.expr()
            checked += sum(
                ranges_hold(model, f"seed {seed}", expr, range_at_launch(place.kernel, expr))
            )
    assert checked > 60


def ranges_hold(model: Model, where: str, expr: ir.Expr, known: object) -> Iterator[bool]:
    value, holds = model.of(expr), [*model.defined(expr)]
    for end, contrary in ((known.low, lambda e: value < e), (known.high, lambda e: value > e)):
        if end is not None:
            what = f"{where}: {print_expr(expr)} ends at {end}"
            yield refuted(model, what, *holds, contrary(end))
