"""Forms that the tables of operators share.

Patterns name tiles as the built-in kernels do: `s` scores, `p` weights, `m` and `new_m` maxima, `l`
and `block_l` sums, `alpha` the factor of what was summed before, `out` and `ot` the output; `b`,
`h` and `i` are sequence, head and query block.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from m890sim.judge.mutation.forms import (
    Around,
    Body,
    Rewrite,
    after,
    before,
    destination,
    expression,
    from_row,
    gathers,
    instead,
    operands,
    source,
    tile_dtype,
)
from m890sim.kernel.ir import (
    FULL,
    Const,
    Cores,
    Gather,
    If,
    Instr,
    Loop,
    Name,
    Op,
    Operand,
    Slice,
    Stmt,
    TableRef,
    TensorRef,
    TileDecl,
    TileRef,
)

SCORES = r"(?:s|st)\d?"
CACHED = r"^load\(.*_cache"
KEYS_AND_VALUES = r"^load\((?:kt|vt).* (?:k|v|k_cache|v_cache)\["
STORE = r"^store\([oczy]\["
RESCALE = r"^mul\(out\d?\b.*alpha"
ONE = Slice(Const(0), Const(1))
MINUS_INFINITY = Op("-", (Const(0), Name("inf")))


def fill_for_max(value: float) -> Rewrite:
    """A number in place of a block's maximum."""
    return instead(
        r"^row_max", lambda instr, _: [Instr("fill", (destination(instr), Const(value)))]
    )


def first_only(instr: Instr, around: Around) -> list[Stmt]:
    """A maximum of a loop's first block alone; -inf, which changes nothing, in the others."""
    loop = next((s for s in reversed(around) if isinstance(s, Loop)), None)
    if loop is None:
        return [instr]
    nothing = Instr("fill", (destination(instr), MINUS_INFINITY))
    return [If(Op("==", (Name(loop.var), loop.start)), (instr,), (nothing,))]


def without_first(operand: Operand) -> Operand | None:
    """Scores but for the first key, where there is more than one."""
    if isinstance(operand, TileRef) and re.fullmatch(SCORES, operand.tile):
        start = expression("min(1, cols - 1)")
        return replace(operand, cols=replace(operand.cols, start=start))
    return None


def contiguous(gather: Gather) -> Slice:
    """The slots from the first one on."""
    first = TableRef(gather.table, gather.start)
    return Slice(first, Op("+", (first, Op("-", (gather.stop, gather.start)))))


def moved(text: str) -> Rewrite:
    """Begin and end of the entries of a table that a load follows."""
    return gathers(
        CACHED,
        lambda g: replace(
            g, start=expression(text, value=g.start), stop=expression(text, value=g.stop)
        ),
    )


def keys_for_values(operand: Operand) -> Operand | None:
    """The keys' tensor for the values'."""
    names = {"v": "k", "v_cache": "k_cache"}
    if isinstance(operand, TensorRef) and operand.tensor in names:
        return replace(operand, tensor=names[operand.tensor])
    return None


def one_row_late(instr: Instr, around: Around) -> list[Stmt]:
    """A mask in two: for the first row one key later."""
    (tile,) = instr.operands
    assert isinstance(tile, TileRef)
    first = replace(tile, rows=ONE)
    later = tuple(
        (key, Op("+", (value, Const(1))) if key == "row" else value)  # type: ignore[arg-type]
        for key, value in instr.keywords
    )
    rest = replace(from_row(instr, 1), keywords=later)
    return [replace(instr, operands=(first,), keywords=later), rest]


def added_mask(instr: Instr, around: Around) -> list[Stmt]:
    """A number that is added to masked scores, through a tile of zeros."""
    tile = destination(instr)
    mask = replace(tile, tile="added")
    return [
        TileDecl("added", "sram", Name("BQ"), Name("BK"), "f32"),
        Instr("fill", (mask, Const(0.0))),
        replace(instr, operands=(mask,)),
        Instr("max", (mask, mask, Const(-30000.0))),
        Instr("add", (tile, tile, mask)),
    ]


def shared_maximum(instr: Instr, around: Around) -> list[Stmt]:
    """A maximum of all rows of a tile of one item, and then another row's for half of them."""
    tile = destination(instr)
    half, all_rows = expression("rows // 2"), Name("rows")
    first = replace(tile, rows=Slice(Const(0), half))
    second = replace(tile, rows=Slice(Op("-", (all_rows, half)), all_rows))
    both = (Instr("max", (first, first, second)), Instr("copy", (second, first)))
    return [instr, If(expression("rows > 1"), both)]


def operation(where: str, op: str) -> Rewrite:
    """Another instruction with the same operands."""
    return instead(where, lambda instr, _: [replace(instr, op=op)])


def scaled(tile: TileRef, factor: float, rows: Slice | None = None) -> Instr:
    """Rows of a tile times a factor."""
    chosen = tile if rows is None else replace(tile, rows=rows)
    return Instr("mul", (chosen, chosen, Const(factor)))


def stored_times(factor: float, *, element: bool = False) -> Rewrite:
    """The first row of what is stored, or its first element, is multiplied by a factor."""

    def make(instr: Instr, around: Around) -> list[Stmt]:
        tile = source(instr)
        return [scaled(replace(tile, cols=ONE) if element else tile, factor, ONE)]

    return before(STORE, make)


def zeros_unless(text: str) -> Rewrite:
    """Zeros are stored unless the condition holds."""
    chosen = Op("not", (expression(text),))

    def make(instr: Instr, around: Around) -> list[Stmt]:
        return [If(chosen, (Instr("fill", (source(instr), Const(0.0))),))]

    return before(STORE, make)


def uncounted(instr: Instr, around: Around) -> list[Stmt]:
    """A sum without the factor of what was summed before."""
    total, old, _, added = instr.operands
    return [Instr("add", (total, old, added))]


def with_quotient(make: Callable[[TileRef, TileRef], Instr]) -> Rewrite:
    """An instruction on dividend and sum in front of their quotient."""

    def change(instr: Instr, around: Around) -> list[Stmt]:
        out, total = instr.operands[-2:]
        assert isinstance(out, TileRef) and isinstance(total, TileRef)
        return [make(out, total)]

    return before(r"^(?:div|recip)\(", change)


def values_in_f16(body: Body, index: int, around: Around) -> Iterator[Body]:
    """Weights and values as f16: values are copied, weights written so."""
    yield from tile_dtype("p", "f16")(body, index, around)

    def copied(instr: Instr, around: Around) -> list[Stmt]:
        values = destination(instr)
        small = replace(values, tile="small")
        declared = TileDecl("small", "sram", Name("BK"), Name("D"), "f16")
        return [instr, declared, Instr("copy", (small, values))]

    yield from instead(r"^load\(vt", copied)(body, index, around)

    def renamed(operand: Operand) -> Operand | None:
        if isinstance(operand, TileRef) and operand.tile == "vt":
            return replace(operand, tile="small")
        return None

    yield from operands(r"^matmul\(out", renamed)(body, index, around)


def value_row(factor: float) -> Rewrite:
    """The first row of loaded values is multiplied by a factor."""
    return after(r"^load\(vt", lambda instr, _: [scaled(destination(instr), factor, ONE)])


def narrowed(where: str, dtype: str) -> Rewrite:
    """What an instruction writes goes through a tile of a narrower dtype."""

    def make(instr: Instr, around: Around) -> list[Stmt]:
        tile = destination(instr)
        small = replace(tile, tile="narrow")
        declared = TileDecl("narrow", "sram", Name("BQ"), Name("BK"), dtype)
        return [instr, declared, Instr("copy", (small, tile)), Instr("copy", (tile, small))]

    return instead(where, make)


def half_rows(instr: Instr, around: Around) -> list[Stmt]:
    """A store of the first 32 elements of every row."""
    target = instr.operands[0]
    assert isinstance(target, TensorRef)
    few = Slice(None, Const(32))
    return [
        replace(
            instr,
            operands=(
                replace(target, index=(*target.index[:-1], few)),
                replace(source(instr), cols=few),
            ),
        )
    ]


def last_phase(body: Body, index: int, around: Around) -> Iterator[Body]:
    """A small phase behind the last one: the output of the first token is its own value."""
    if index == len(body) - 1 and isinstance(body[index], Cores):
        item, head = Name("x"), expression("x // (HQ // HKV)")
        tile = TileRef("one")
        yield (
            *body,
            Cores(
                ("x",),
                (Name("HQ"),),
                "block",
                (
                    TileDecl("one", "sram", Const(1), Name("D"), "bf16"),
                    Instr("load", (tile, TensorRef("v", (Const(0), head, FULL)))),
                    Instr("store", (TensorRef("o", (Const(0), item, FULL)), tile)),
                ),
            ),
        )
