"""Texts that nobody wrote: whatever is read, the answer is a kernel or a coded error."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.errors import CODES, LanguageError, LimitError
from m890sim.kernel import ir, print_kernel
from m890sim.language import check, parse
from tests.language.strategies import kernels

KERNELS = Path(__file__).parent / "kernels"
TEXTS = [path.read_text("utf-8") for path in sorted(KERNELS.glob("*.py"))]
TOKENS = [re.findall(r"\s+|\w+|[^\w\s]", text) for text in TEXTS]
# Tokens from the texts themselves, and what a text should not hold.
STRANGE = [
    *sorted({token for tokens in TOKENS for token in tokens}),
    *(
        "lambda",
        "yield",
        "await",
        "async",
        ":=",
        "**",
        "@",
        "...",
        '"',
        '"""',
        "f'",
        "\\",
        "\t",
        "\n",
    ),
    *(
        "\0",
        "\ufeff",
        "é",
        "\u202e",
        "1e999",
        "1j",
        "None",
        "True",
        "0",
        "-1",
        "9" * 30,
        "x.y",
        "[0]",
    ),
    *(
        "\n        ",
        "\n    ",
        "stage",
        "cores",
        "hbm",
        "sram",
        "acc",
        "inf",
        "elif",
        "else",
        "pass",
    ),
]


def answer(text: str | bytes) -> None:
    """Reads a text; anything but a kernel or a coded error escapes as it is."""
    try:
        kernel = parse(text)
    except LanguageError as error:
        assert error.diagnostics
        assert all(d.code in CODES and d.line > 0 and d.column > 0 for d in error.diagnostics)
    except LimitError as error:
        assert error.code in CODES
    else:
        assert parse(print_kernel(kernel)) == kernel


@st.composite
def changed_texts(draw: st.DrawFn) -> str:
    """A kernel with some tokens deleted, doubled, exchanged or replaced."""
    tokens = list(draw(st.sampled_from(TOKENS)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(tokens) - 1))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            tokens[place] = draw(st.sampled_from(STRANGE))
        elif kind == 1:
            tokens.insert(place, draw(st.sampled_from(STRANGE)))
        elif kind == 2:
            del tokens[place : place + draw(st.integers(1, 12))]
        else:
            other = draw(st.integers(0, len(tokens) - 1))
            tokens[place], tokens[other] = tokens[other], tokens[place]
        if not tokens:
            break
    return "".join(tokens)


@settings(max_examples=150, deadline=None)
@given(changed_texts())
def test_changed_kernel_is_answered(text: str) -> None:
    answer(text)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_are_answered(data: bytes) -> None:
    answer(data)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_texts_are_answered(text: str) -> None:
    answer(text)
    answer("from m890sim.lang import *\n@kernel\ndef k(n: Size):\n    " + text)


def without(body: tuple[ir.Stmt, ...], lost: set[int], count: list[int]) -> tuple[ir.Stmt, ...]:
    """The block less the statements with these numbers, counted in the order of the text."""
    kept: list[ir.Stmt] = []
    for stmt in body:
        count[0] += 1
        if count[0] in lost:
            continue
        if isinstance(stmt, ir.If):
            then = without(stmt.then, lost, count)
            stmt = dataclasses.replace(stmt, then=then, orelse=without(stmt.orelse, lost, count))
        elif isinstance(stmt, ir.Loop | ir.Stage | ir.Cores):
            stmt = dataclasses.replace(stmt, body=without(stmt.body, lost, count))
        kept.append(stmt)
    return tuple(kept)


@settings(max_examples=100, deadline=None)
@given(kernels(), st.sets(st.integers(1, 40), min_size=1, max_size=3))
def test_kernel_with_statements_lost_is_answered(kernel: ir.Kernel, lost: set[int]) -> None:
    changed = dataclasses.replace(kernel, body=without(kernel.body, lost, [0]))
    try:
        check(changed)
    except LanguageError as error:
        assert error.diagnostics
    else:
        assert parse(print_kernel(changed)) == changed
