"""The transformer of the IR against the text of kernels and against reflection over its classes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.kernel import ir, transform
from m890sim.kernel.printer import print_kernel
from m890sim.kernel.shapes import evaluate
from tests.generators import random_program

SEEDS = range(8)


def fields(node: Any) -> Iterator[Any]:
    """A node of the IR and all that its fields hold, by reflection."""
    yield node
    if isinstance(node, tuple):
        for part in node:
            yield from fields(part)
    elif dataclasses.is_dataclass(node):
        for field in dataclasses.fields(node):
            yield from fields(getattr(node, field.name))


def words(kernel: ir.Kernel) -> list[str]:
    """The words of a kernel's text, without the line that names it."""
    body = print_kernel(kernel).split("):\n", 1)[1]
    return re.findall(r"\w+", body)  # longer names break lines elsewhere


@pytest.mark.parametrize("seed", SEEDS)
def test_what_nothing_changes_is_shared(seed: int) -> None:
    body = random_program(seed).kernel.body
    assert transform.Transformer().block(body) is body
    assert transform.substitute_block(body, {"no_such_name": ir.Const(1)}) is body
    assert transform.map_pieces(body, lambda _, ref: ref, lambda _, ref: ref) is body


@pytest.mark.parametrize("seed", SEEDS)
def test_renaming_changes_the_words_of_the_text(seed: int) -> None:
    kernel = random_program(seed).kernel
    stmts = list(ir.walk(kernel.body))
    defined = {s.name for s in stmts if isinstance(s, ir.Let | ir.TileDecl | ir.HbmDecl)}
    defined |= {s.var for s in stmts if isinstance(s, ir.Loop)}
    defined |= {name for s in stmts if isinstance(s, ir.Cores) for name in s.vars}
    names = {name: f"{name}_renamed" for name in defined}
    renamed = dataclasses.replace(kernel, body=transform.rename_block(kernel.body, names))
    assert words(renamed) == [names.get(word, word) for word in words(kernel)]


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_have_statements_of_their_own_and_no_comments(seed: int) -> None:
    (*_, phase) = random_program(seed).kernel.body
    assert isinstance(phase, ir.Cores)
    commented = dataclasses.replace(phase.body[0], comments=ir.Comments(("# a",), "# b"))
    copy = transform.copied_block((commented, *phase.body[1:]), {})
    assert copy == phase.body
    before, after = list(ir.walk(phase.body)), list(ir.walk(copy))
    assert len({id(stmt) for stmt in (*before, *after)}) == len(before) + len(after)


@pytest.mark.parametrize("seed", SEEDS)
def test_names_and_expressions_are_those_that_reflection_finds(seed: int) -> None:
    for stmt in ir.walk(random_program(seed).kernel.body):
        found: set[str] = set()
        parts: list[Any] = []
        for field in dataclasses.fields(stmt):
            if field.name not in ("body", "then", "orelse", "comments", "loc"):
                parts += fields(getattr(stmt, field.name))
        for part in parts:
            if isinstance(part, ir.Name):
                found.add(part.id)
            elif isinstance(part, ir.TableRef | ir.Gather):
                found.add(part.table)
        values = transform.values_of(stmt)
        assert {name for value in values for name in transform.names_in(value)} == found
        inner = [part for value in values for part in transform.walk_parts(value)]
        nodes = (ir.Const, ir.Name, ir.Op, ir.TableRef, ir.Slice, ir.Gather)
        refs = (ir.TileRef, ir.TensorRef)
        expected = [part for part in parts if isinstance(part, nodes + refs)]
        assert sorted(map(id, (p for p in inner if not isinstance(p, str | bool)))) == sorted(
            map(id, expected)
        )
        exprs = {id(part) for part in transform.expressions(stmt)}
        assert exprs <= {id(part) for part in expected if isinstance(part, nodes[:4])}


EXPRS = st.recursive(
    st.integers(-9, 9).map(ir.Const) | st.sampled_from("xyz").map(ir.Name),
    lambda inner: st.builds(
        lambda op, one, two: ir.Op(op, (one, two)),
        st.sampled_from(["+", "-", "*", "min", "max", "<", "and"]),
        inner,
        inner,
    ),
)


@given(EXPRS, EXPRS)
def test_substitution_gives_the_value_of_the_name(expr: ir.Expr, value: ir.Expr) -> None:
    values = {"x": 3, "y": -2, "z": 7}
    put_in = transform.substitute(expr, {"x": value})
    assert evaluate(put_in, values) == evaluate(expr, {**values, "x": evaluate(value, values)})
    assert transform.substitute(expr, {"x": ir.Name("x")}) == expr
