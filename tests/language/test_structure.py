"""Kernels that code has built: every part has its type, and what `check` takes has a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim import load_kernel, parse, print_kernel
from m890sim.errors import LanguageError, LimitError, M890Error
from m890sim.kernel import ir
from m890sim.language import check, check_built

NAMES = ("vector_add_reference", "row_softmax_expert", "matmul_expert", "attention_head_reference")
KERNELS = {name: load_kernel(name) for name in NAMES}


def deep(levels: int) -> ir.Expr:
    expr: ir.Expr = ir.Const(1)
    for _ in range(levels):
        expr = ir.Op("+", (expr, ir.Const(1)))
    return expr


def shared(levels: int) -> ir.Expr:
    expr: ir.Expr = ir.Const(1)
    for _ in range(levels):
        expr = ir.Op("+", (expr, expr))
    return expr


def cyclic() -> ir.Expr:
    expr = ir.Op("+", (ir.Const(1), ir.Const(1)))
    object.__setattr__(expr, "args", (expr, ir.Const(1)))
    return expr


class Text(str):
    pass


class Number(int):
    pass


class Sly(ir.Kernel):
    """Says one thing to some and another one to others."""


JUNK: list[Any] = [
    None, b"x", [], [1], {}, float("nan"), float("inf"), -1, 0, True, 1.5, 0.0, -0.0, 5e-324,
    "x" * 5000, "a\0b", "\ud800", 10**5000, 2**63, 2**31, 2**31 + 1, {1}, "", (), (1,), ("a",),
    ir.Const(1), ir.Const(None), ir.Const(True), ir.Const(2**70), ir.Const(float("nan")),  # type: ignore[arg-type]
    ir.Const("x"), ir.Name("zzz"), ir.Name(""), ir.Name(5), ir.Op("+", ()),  # type: ignore[arg-type]
    ir.Op("??", (ir.Const(1),)), ir.Op("//", (ir.Const(1), ir.Const(0))), deep(3000), shared(40),
    cyclic(), ir.FULL, ir.Slice(ir.Const(-5), ir.Const(10**6)), ir.TileRef("zz"),
    ir.TensorRef("x", ()), ir.Gather("t", ir.Const(0), ir.Const(1)), "load", "store", "f8e4m3",
    "sram", "acc", Text("R"), Number(3), (ir.Const(1),) * 3, ir.Comments(("a\nb",), "x\ny"),
    ir.Comments(("# a",), "# b"), ir.Comments([], "# b"), ir.Comments((), 0), ("#a\nimport os",),  # type: ignore[arg-type]
    ("# fine",), ("x\ny",), "a\nb", '"""', "\\", "for", "a b", "\t", ir.SourceLoc(-1, 2),
    ir.SourceLoc("1", 2), object(), int,  # type: ignore[arg-type]
]  # fmt: skip


def nodes(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if dataclasses.is_dataclass(part):
        yield path, part
        for entry in dataclasses.fields(part):
            yield from nodes(getattr(part, entry.name), (*path, entry.name))
    elif isinstance(part, tuple):
        for number, entry in enumerate(part):
            yield from nodes(entry, (*path, number))


def put(part: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with the value at a path, made behind the constructors' backs."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(first, int):
        entries = list(part)
        entries[first] = put(part[first], rest, value)
        return tuple(entries)
    copy = object.__new__(type(part))
    for entry in dataclasses.fields(part):
        object.__setattr__(copy, entry.name, getattr(part, entry.name))
    object.__setattr__(copy, first, put(getattr(part, first), rest, value))
    return copy


PLACES = [
    (name, (*path, entry.name))
    for name, kernel in KERNELS.items()
    for path, node in nodes(kernel)
    for entry in dataclasses.fields(node)
]


@settings(max_examples=500, deadline=None)
@given(place=st.sampled_from(PLACES), value=st.sampled_from(range(len(JUNK))))
def test_what_check_takes_reads_back(place: tuple[str, tuple[Any, ...]], value: int) -> None:
    name, path = place
    kernel = put(KERNELS[name], path, JUNK[value])
    try:
        check(kernel)
    except (M890Error, TypeError) as error:
        assert 0 < len(str(error)) < 20_000
    else:
        again = parse(print_kernel(kernel))
        assert dataclasses.replace(again, filename=kernel.filename) == kernel


@settings(max_examples=200, deadline=None)
@given(place=st.sampled_from(PLACES), value=st.sampled_from(range(len(JUNK))))
def test_printer_prints_or_refuses_any_kernel(
    place: tuple[str, tuple[Any, ...]], value: int
) -> None:
    name, path = place
    try:
        text = print_kernel(put(KERNELS[name], path, JUNK[value]))
    except (M890Error, TypeError) as error:
        assert str(error)
    else:
        assert text.count("@kernel") >= 1


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("params", 0, "loc"), None, "Param.loc must be SourceLoc, not None"),
        (("body", 0, "loc"), 3, "Cores.loc must be SourceLoc, not 3"),
        (("params", 0, "default"), True, "Param.default must be int, not True"),
        (("name",), Text("k"), "Kernel.name must be str, not a value of type Text"),
        (("header",), ["# a"], r"Kernel.header must be a tuple of str, not \['# a'\]"),
        (("body", 0, "comments"), None, "Cores.comments must be Comments, not None"),
        (("body", 0, "comments"), ir.Comments([]), r"Comments.above must be a tuple of str"),  # type: ignore[arg-type]
        (("body", 0, "comments"), ir.Comments((), 0), "Comments.beside must be str, not 0"),  # type: ignore[arg-type]
        (("filename",), None, "<kernel>:1:1: Kernel.filename must be str, not None"),
    ],
)
def test_part_of_another_type_is_named(path: tuple[Any, ...], value: Any, message: str) -> None:
    kernel = put(KERNELS["vector_add_reference"], path, value)
    for call in (check, check_built, print_kernel):
        with pytest.raises(TypeError, match=message):
            call(kernel)


@pytest.mark.parametrize(("field", "value"), [("transposed", ir.Name("z")), ("rows", None)])
def test_tile_of_junk_is_refused(field: str, value: Any) -> None:
    kernel = KERNELS["matmul_expert"]
    path = next(p for p, node in nodes(kernel) if isinstance(node, ir.TileRef))
    with pytest.raises(TypeError, match=f"TileRef.{field} must be"):
        check(put(kernel, (*path, field), value))


@pytest.mark.parametrize("value", ["", [("queue", ir.Const(0))], (("queue",),), ((1, 2),)])
def test_keywords_must_be_pairs(value: Any) -> None:
    kernel = KERNELS["matmul_expert"]
    path = next(p for p, node in nodes(kernel) if isinstance(node, ir.Instr))
    with pytest.raises(TypeError, match=r"Instr.keywords must be a tuple of pairs \(name, value\)"):
        check(put(kernel, (*path, "keywords"), value))


@pytest.mark.parametrize("make", [deep, shared])
@pytest.mark.parametrize("call", [check, check_built, print_kernel])
def test_deep_and_shared_parts_are_refused_at_once(make: Any, call: Any) -> None:
    kernel = KERNELS["vector_add_reference"]
    built = dataclasses.replace(kernel, body=(ir.Let("n", make(3000)), *kernel.body))
    with pytest.raises(LimitError, match="E50[23]"):
        call(built)
    with pytest.raises(TypeError, match="Const.value must be"):
        call(dataclasses.replace(kernel, body=(ir.Let("n", ir.Const(make(3000))),)))


def test_a_tunable_beyond_the_literals_is_refused() -> None:
    kernel = KERNELS["matmul_expert"]
    number = next(n for n, param in enumerate(kernel.params) if param.kind == "tunable")
    with pytest.raises(LimitError, match="E504 the integer"):
        check(put(kernel, ("params", number, "default"), 2**40))


def test_a_long_dimension_is_refused() -> None:
    text = print_kernel(KERNELS["vector_add_reference"])
    for length in (199, 200):
        name = "R" * length
        kernel = put_name(KERNELS["vector_add_reference"], "R", name)
        if length == 199:
            assert parse(print_kernel(kernel)) == kernel
            continue
        with pytest.raises(LanguageError, match="E107 a dimension of `x` is longer than 199"):
            check(kernel)
        with pytest.raises(LanguageError, match="E107"):
            parse(text.replace('"R"', f'"{name}"'))


def put_name(kernel: ir.Kernel, old: str, new: str) -> ir.Kernel:
    for path, node in list(nodes(kernel)):
        if node == ir.Name(old):
            kernel = put(kernel, (*path, "id"), new)
    return kernel


def test_subclass_of_a_kernel_is_refused() -> None:
    kernel = KERNELS["vector_add_reference"]
    sly = Sly(kernel.name, kernel.params, kernel.body)
    for call in (check, check_built, print_kernel):
        with pytest.raises(TypeError, match="kernel must be a Kernel, not a value of type Sly"):
            call(sly)


def test_checked_kernel_is_checked_again_where_a_field_changed() -> None:
    kernel = parse(print_kernel(KERNELS["vector_add_reference"]))
    check_built(kernel)
    object.__setattr__(kernel, "body", (None,))
    with pytest.raises(TypeError, match="Kernel.body must be a tuple of statements, not None"):
        check_built(kernel)
