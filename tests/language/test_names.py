"""A name has one meaning, whatever kinds of definition clash and in whatever order they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.errors import LanguageError
from m890sim.kernel import ir
from m890sim.language import check, parse

NAMES = st.sampled_from(["a", "b", "D"])
ONE = ir.Const(1)
DIMS = NAMES.map(ir.Name) | NAMES.map(lambda name: ir.Op("+", (ir.Name(name), ONE)))


def _param(name: str, kind: str, dims: tuple[ir.Expr, ...]) -> ir.Param:
    if kind == "tensor":
        return ir.Param(name, kind, dims=dims, dtype="bf16")
    if kind == "table":
        return ir.Param(name, kind, dims=dims[:1])
    return ir.Param(name, kind, default=2) if kind == "tunable" else ir.Param(name, kind)


PARAMS = st.builds(
    _param,
    NAMES,
    st.sampled_from(["tensor", "table", "scalar", "size", "tunable"]),
    st.tuples(DIMS, DIMS),
)
TILE = ir.TileDecl("t", "sram", ONE, ONE, "bf16")
FILL = ir.Instr("fill", (ir.TileRef("t"), ir.Const(0.0)))


def _kernel(
    params: list[ir.Param], top: str | None, scratch: str | None, item: str, loop: str, tile: str
) -> ir.Kernel:
    """Defines names in every place where a kernel may; None: nothing."""
    body: list[ir.Stmt] = []
    if top is not None:
        body.append(ir.Let(top, ONE))
    if scratch is not None:
        body.append(ir.HbmDecl(scratch, (ONE, ONE), "bf16"))
    decl = ir.TileDecl(tile, "sram", ONE, ONE, "bf16")
    inner = (decl, ir.Instr("fill", (ir.TileRef(tile), ir.Const(0.0))))
    nest = ir.Loop(loop, ir.Const(0), ONE, ONE, inner)
    body.append(ir.Cores((item,), (ONE,), "block", (TILE, FILL, nest)))
    return ir.Kernel("k", tuple(params), tuple(body))


@given(
    st.lists(PARAMS, max_size=4),
    st.none() | NAMES,
    st.none() | NAMES,
    st.sampled_from(["a", "b", "i"]),
    st.sampled_from(["a", "i", "n"]),
    st.sampled_from(["b", "n", "w"]),
)
def test_a_name_defined_twice_is_refused_and_nothing_else(
    params: list[ir.Param], top: str | None, scratch: str | None, item: str, loop: str, tile: str
) -> None:
    params = sorted(params, key=lambda param: param.kind == "tunable")  # which come last
    kernel = _kernel(params, top, scratch, item, loop, tile)
    dims = {n.id for p in params for d in p.dims for n in ir.walk_expr(d) if isinstance(n, ir.Name)}
    sizes = {p.name for p in params if p.kind == "size"}
    # A size may be a dimension too; everything else defines its own name.
    names = [p.name for p in params] + sorted(dims - sizes)
    names += [name for name in (top, scratch, item, loop, tile) if name is not None]
    twice = len(names) > len(set(names))
    try:
        check(kernel)
    except LanguageError as error:
        assert twice
        assert any(d.code == "E202" for d in error.diagnostics)
    else:
        assert not twice


@pytest.mark.parametrize(
    ("params", "first"),
    [
        ('a: Table["B + 1"], a: Size', "a launch table"),
        ('a: Tensor["B", "D"], a: Size', "a tensor"),
        ("a: Scalar, a: Size", "a float"),
        ('a: Size, a: Table["B"]', "an integer"),
        ("a: Size, a: Size", "an integer"),
    ],
)
def test_a_size_named_like_another_parameter_says_what_the_name_is(params: str, first: str) -> None:
    text = "from m890sim.lang import *\n\n\n@kernel\n"
    text += f"def k({params}):\n    for i in cores(1):\n        fence()\n"
    with pytest.raises(LanguageError) as caught:
        parse(text)
    expected = f"`a` is {first} (line 5) already, a name has one meaning; use another name"
    assert [(d.code, d.message) for d in caught.value.diagnostics] == [("E202", expected)]
