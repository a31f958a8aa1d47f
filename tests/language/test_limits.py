"""Limits on work: each is met at N, refused at N + 1 with its own code, and can be set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from m890sim.errors import LanguageError, LimitError
from m890sim.kernel import ir, print_kernel
from m890sim.language import DEFAULT_LIMITS, Limits, check, parse

HEAD = (
    'from m890sim.lang import *\n@kernel\ndef k(x: Tensor["T"], n: Size):\n    for i in cores(T):\n'
)


def with_lines(*lines: str) -> str:
    return HEAD + "".join(f"        {line}\n" for line in lines)


def blocks(depth: int) -> str:
    """Blocks in blocks, the phase counted as one."""
    lines = [" " * level + "if n:" for level in range(depth - 1)]
    return with_lines(*lines, " " * depth + "fence()")


def operators(depth: int) -> str:
    return with_lines("j = n" + " + n" * depth)


def brackets(depth: int) -> str:
    return with_lines("j = " + "-(" * depth + "n" + ")" * depth)


def refusal(text: str, limits: Limits = DEFAULT_LIMITS) -> LimitError:
    with pytest.raises(LimitError) as caught:
        parse(text, "file.py", limits)
    return caught.value


@pytest.mark.parametrize("build", [blocks, operators, brackets])
def test_nesting_at_the_limit_is_legal(build: Callable[[int], str]) -> None:
    kernel = parse(build(32))
    assert parse(print_kernel(kernel)) == kernel
    error = refusal(build(33))
    assert error.code == "E502"
    assert "deeper than 32, the limit; use several statements" in error.detail
    assert error.where.startswith("file.py:")


def test_nesting_can_be_set() -> None:
    limits = Limits(nesting=3)
    assert parse(blocks(3), limits=limits)
    assert refusal(blocks(4), limits).code == "E502"
    assert parse(blocks(40), limits=Limits(nesting=40))


def test_nodes_at_the_limit_are_legal() -> None:
    text = with_lines(*["fence()"] * 20)
    # The kernel, two parameters, a dimension, the phase and its extent, and the fences.
    assert parse(text, limits=Limits(nodes=26))
    error = refusal(text, Limits(nodes=25))
    assert str(error).startswith(
        "file.py:24:9: E503 the kernel has more than 25 IR nodes, the limit;"
    )


def test_ten_thousand_nodes_are_legal() -> None:
    text = with_lines(*["fence()"] * (10_000 - 6))
    assert len(parse(text).phases[0].body) == 10_000 - 6
    assert refusal(text + "        fence()\n").code == "E503"


def test_tokens_are_counted_before_the_parse() -> None:
    error = refusal(with_lines("j = n" + ";j = n" * 25_000))
    assert error.code == "E503"
    assert "more tokens than 10000 IR nodes, the limit, need; make it shorter" in error.detail


def test_source_at_the_limit_is_legal() -> None:
    text = with_lines("fence()")
    padded = text + "\n" * (DEFAULT_LIMITS.source_bytes - len(text))
    assert parse(padded)
    error = refusal(padded + "\n")
    assert str(error) == (
        "file.py:1:1: E501 the file has more than 262144 bytes, the limit; make it shorter"
    )
    assert refusal(text, Limits(source_bytes=len(text) - 1)).code == "E501"


def test_source_counts_bytes() -> None:
    text = print_kernel(parse(with_lines("fence()  # ä")))
    assert parse(text, limits=Limits(source_bytes=len(text) + 1))
    assert refusal(text, Limits(source_bytes=len(text))).code == "E501"


def test_literals_at_the_limit_are_legal() -> None:
    assert parse(with_lines("j = 2147483648"))
    error = refusal(with_lines("j = 2147483649"))
    assert str(error) == (
        "file.py:5:13: E504 the integer 2147483649 is larger than 2147483648, the limit; "
        "use a smaller number"
    )
    assert refusal(with_lines("j = 0b101"), Limits(literal=4)).code == "E504"
    assert parse(with_lines("j = 0x_f + 1_0"), limits=Limits(literal=15))


@pytest.mark.parametrize("field", [entry.name for entry in dataclasses.fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_limits_must_be_positive_integers(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be an integer of at least 1"):
        Limits(**{field: value})  # type: ignore[arg-type]


# Kernels that code has built.


def built(*body: ir.Stmt, **changes: object) -> ir.Kernel:
    params = (ir.Param("x", "tensor", (ir.Name("T"),), "bf16"), ir.Param("n", "size"))
    phase = ir.Cores(("i",), (ir.Name("T"),), "block", body)
    return dataclasses.replace(ir.Kernel("k", params, (phase,)), **changes)  # type: ignore[arg-type]


def test_built_kernel_is_measured_without_recursion() -> None:
    deep: ir.Expr = ir.Name("n")
    for _ in range(100_000):
        deep = ir.Op("-", (deep, ir.Const(1)))
    with pytest.raises(LimitError, match="E502"):
        check(built(ir.Let("j", deep)))


def test_built_kernel_with_a_large_literal_is_refused() -> None:
    with pytest.raises(LimitError, match="E504"):
        check(built(ir.Let("j", ir.Const(-(2**31) - 1))))
    check(built(ir.Let("j", ir.Const(-(2**31)))))


def test_built_kernel_with_a_long_text_is_refused() -> None:
    with pytest.raises(LimitError, match="E501 the kernel has 3000"):
        check(built(header=tuple("#" + "a" * 99 for _ in range(2970))))
    body: tuple[ir.Stmt, ...] = tuple(ir.Instr("fence") for _ in range(3000))
    for _ in range(30):
        body = (ir.If(ir.Name("n"), body),)
    with pytest.raises(LimitError, match="E501"):
        check(built(*body))


def built_refusal(*body: ir.Stmt, **changes: object) -> str:
    with pytest.raises(LanguageError) as caught:
        check(built(*body, **changes))
    return str(caught.value)


TILE = ir.TileDecl("a", "sram", ir.Const(4), ir.Const(4), "bf16")
REF = ir.TileRef("a")
FILL = ir.Instr("fill", (REF, ir.Const(0.0)))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ((ir.Let("a b", ir.Const(1)),), "`a b` is no name"),
        ((ir.Let("if", ir.Const(1)),), "`if` is no name"),
        ((ir.Let("ä", ir.Const(1)),), "is no name"),
        ((ir.Let("j", ir.Op("^", (ir.Const(1), ir.Const(1)))),), "the operator '^' has 2 operands"),
        ((ir.Let("j", ir.Op("+", (ir.Const(1),))),), "the operator '+' has 1 operands"),
        ((ir.Let("j", ir.Const(1), ir.Comments(("no",))),), "the comment 'no' is not one line"),
        ((ir.Let("j", ir.Const(1), ir.Comments(("# a\n",))),), "is not one line from # on"),
        ((ir.Let("j", ir.Const(1), ir.Comments((), "# a ")),), "is not one line from # on"),
        ((ir.Let("j", ir.Const(1), ir.Comments(("#\u202e",))),), "is not one line from # on"),
        ((dataclasses.replace(TILE, space="rom"),), "`a` lies in 'rom'"),
        ((dataclasses.replace(TILE, space="acc", dtype="f32", at=ir.Const(0)),), "lies in 'acc'"),
        ((ir.Loop("j", ir.Const(0), ir.Const(1), ir.Const(1), (ir.Stage(9, ()),)),), "number is 9"),
        ((TILE, dataclasses.replace(FILL, operands=(REF, ir.Const(float("nan"))))), "literal nan"),
        ((TILE, dataclasses.replace(FILL, keywords=(("engine", "vector"),))), "has its default"),
        (
            (
                TILE,
                FILL,
                ir.Instr("exp", (REF, REF), (("bias", ir.Const(1.0)), ("scale", ir.Const(1.0)))),
            ),
            "the keywords of exp are repeated or out of order",
        ),
        ((ir.Cores(("j",), (), "block", ()),), "cores has 1 variables"),
    ],
)
def test_ir_that_no_text_has_is_refused(body: tuple[ir.Stmt, ...], found: str) -> None:
    text = built_refusal(*body)
    assert "E228" in text and found in text
    assert "no text gives this, build the kernel otherwise" in text


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"name": "a-b"}, "`a-b` is no name"),
        ({"doc": "\udc80"}, "the docstring is no text"),
        ({"header": ("",)}, "is not one line"),
        ({"params": (ir.Param("x", "matrix"),)}, "is no kind of parameter"),
        ({"params": (ir.Param("x", "tensor", (), "bf16"),)}, "`x` has 0 dimensions"),
        ({"params": (ir.Param("x", "tensor", (ir.Name("T"),), "int8"),)}, "has the dtype 'int8'"),
        ({"params": (ir.Param("n", "size", default=3),)}, "has the default 3"),
    ],
)
def test_kernels_that_no_text_has_are_refused(changes: dict[str, object], found: str) -> None:
    text = built_refusal(**changes)
    assert "E228" in text and found in text


def test_wrong_types_are_misuse() -> None:
    with pytest.raises(TypeError, match="Cores.body must be a tuple of statements, not a value of"):
        check(built(ir.Const(1)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Let.value must be Const or Name or Op or TableRef, not a"):
        check(built(ir.Let("j", REF)))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Const.value must be float or int, not True"):
        check(built(ir.Let("j", ir.Const(True))))
