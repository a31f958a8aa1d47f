"""Hypothesis strategies: valid kernels as IR, with every kind of statement, operand and comment.

Integers that the checker must not decide come from a launch table (`t[...]`), so that slices may
have any form; every tile is filled where it is declared, so that no read is undefined.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import instruction
from tests.instructions import ELEMENTWISE, SFU, operands_read

_TEXT = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\u061c")
_DIRECTIONS = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Tiles are ROWS x COLS, accumulators ROWS x ROWS, columns ROWS x 1, rows 1 x COLS.
ROWS, COLS, ONE = ir.Name("BR"), ir.Name("BC"), ir.Const(1)
PARAMS = (
    ir.Param("x", "tensor", (ir.Name("T"), ir.Name("H"), ir.Name("D")), "bf16"),
    ir.Param("w", "tensor", (ir.Name("T"), ir.Const(64)), "f16"),
    ir.Param("y", "tensor", (ir.Op("+", (ir.Name("T"), ir.Const(1))), ir.Name("D")), "bf16"),
    ir.Param("t", "table", (ir.Op("-", (ir.Name("E"), ir.Const(1))),)),
    ir.Param("scale", "scalar"),
    ir.Param("length", "size"),
    ir.Param("BR", "tunable", default=64),
    ir.Param("BC", "tunable", default=128),
    ir.Param("Q", "tunable", default=2),
)
SYMBOLS = ("T", "H", "D", "length", "BR", "BC", "Q")


@st.composite
def comment_lines(draw: st.DrawFn) -> str:
    """One comment, as the parser keeps it."""
    text = draw(st.text(_TEXT, max_size=12))
    return ("#" + "".join(c for c in text if c not in _DIRECTIONS)).rstrip()


def _comments() -> st.SearchStrategy[ir.Comments]:
    """Mostly none; else lines above and one beside."""
    some = st.builds(
        ir.Comments,
        st.lists(comment_lines(), max_size=2).map(tuple),
        st.one_of(st.just(""), comment_lines()),
    )
    return st.one_of(st.just(ir.NO_COMMENTS), st.just(ir.NO_COMMENTS), some)


COMMENTS = _comments()


_NUMBERS = st.integers(-3, 300)
_BYTE = st.integers(0, 255)
_PLAIN = ("+", "-", "*", "+", "-", "*", "min", "max", *ir.COMPARISONS, "and", "or")
_DIVIDED = ("//", "%", "ceil_div")
_REALS = st.floats(allow_nan=False, allow_infinity=False)
_DIVISORS = st.floats(0.5, 8.0)


def integer(draw: st.DrawFn, names: tuple[str, ...], depth: int = 3) -> ir.Expr:
    """An integer expression over the names; divisors are positive constants."""
    kind = draw(_BYTE) % (10 if depth else 4)
    if kind < 2:
        return ir.Name(names[draw(_BYTE) % len(names)])
    if kind == 2:
        return ir.Const(draw(_NUMBERS))
    if kind == 3:
        return ir.TableRef("t", ir.Name(SYMBOLS[draw(_BYTE) % len(SYMBOLS)]))
    inner = integer(draw, names, depth - 1)
    if kind == 4:
        return ir.Op("not", (inner,))
    if kind == 5:
        return ir.Op("-", (ir.Const(0), inner))
    if kind == 6:
        return ir.Op(_DIVIDED[draw(_BYTE) % 3], (inner, ir.Const(1 + draw(_BYTE))))
    return ir.Op(_PLAIN[draw(_BYTE) % len(_PLAIN)], (inner, integer(draw, names, depth - 1)))


def real(draw: st.DrawFn, depth: int = 2) -> ir.Const | ir.Name | ir.Op:
    """A float expression."""
    kind = draw(_BYTE) % (6 if depth else 2)
    if kind == 0:
        return ir.Const(draw(_REALS))
    if kind == 1:
        return ir.Name(("scale", *ir.FLOAT_NAMES)[draw(_BYTE) % 4])
    inner = real(draw, depth - 1)
    if kind == 2:
        return ir.Op("-", (ir.Const(0), inner))
    if kind == 3:
        return ir.Op("/", (inner, ir.Const(draw(_DIVISORS))))
    return ir.Op("+-*"[draw(_BYTE) % 3], (inner, real(draw, depth - 1)))


@dataclass
class Visible:
    """What a statement may use; blocks get a copy."""

    tiles: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> shape, space
    bf16: set[str] = field(default_factory=set)  # tiles that transfers may touch
    names: tuple[str, ...] = SYMBOLS
    free: list[str] = field(default_factory=list)  # integers of which nothing is known

    def copy(self) -> Visible:
        return Visible(dict(self.tiles), set(self.bf16), self.names, list(self.free))

    def of(self, shapes: str, *spaces: str) -> list[str]:
        wanted = shapes.split()
        return [
            name
            for name, (shape, space) in self.tiles.items()
            if shape in wanted and space in spaces
        ]


class Writer:
    """Draws the statements of one kernel."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.count = 0

    def pick(self, *values: object) -> object:
        return values[self.draw(_BYTE) % len(values)]

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def rows(self, visible: Visible) -> ir.Slice:
        """A slice of rows whose extent is not decided, or the whole."""
        if not visible.free or self.draw(st.booleans()):
            return ir.FULL
        low: ir.Expr = ir.Name(self.draw(st.sampled_from(visible.free)))
        kind = self.draw(st.integers(0, 3))
        if kind == 0:
            return ir.Slice(None, low)
        high = ir.Op("+", (low, ir.Const(self.draw(st.integers(0, 9)))))
        step = ir.Const(self.draw(st.integers(1, 3))) if kind == 1 else None
        return ir.Slice(low, None if kind == 3 else high, step)

    def piece(self, tiles: list[str], rows: ir.Slice) -> ir.TileRef:
        return ir.TileRef(tiles[self.draw(_BYTE) % len(tiles)], rows)

    def value(self, tiles: list[str], rows: ir.Slice) -> ir.Operand:
        return self.piece(tiles, rows) if self.draw(st.booleans()) else real(self.draw)

    # Blocks.

    def block(self, visible: Visible, depth: int, most: int = 4) -> tuple[ir.Stmt, ...]:
        inside = visible.copy()
        body: list[ir.Stmt] = []
        for _ in range(self.draw(st.integers(0, most))):
            body += self.statement(inside, depth)
        return tuple(body)

    def statement(self, visible: Visible, depth: int) -> list[ir.Stmt]:
        kinds = ["let", "tile", "instruction", "instruction", "transfer"]
        if depth < 3:
            kinds += ["loop", "if", "stages"]
        kind = self.pick(*kinds)
        if kind == "let":
            return [self.let(visible)]
        if kind == "tile":
            return self.tile(visible)
        if kind == "loop":
            return [self.loop(visible, depth)]
        if kind == "if":
            return [self.branch(visible, depth)]
        if kind == "stages":
            return [self.staged(visible, depth)]
        return [self.transfer(visible) if kind == "transfer" else self.instruction(visible)]

    def let(self, visible: Visible) -> ir.Let:
        name = self.fresh("n")
        if self.draw(st.booleans()):
            index = ir.Name(self.draw(st.sampled_from(SYMBOLS)))
            visible.free.append(name)
            value: ir.Expr = ir.TableRef("t", index)
        else:
            value = integer(self.draw, visible.names)
        visible.names = (*visible.names, name)
        return ir.Let(name, value, self.draw(COMMENTS))

    def tile(self, visible: Visible, slots: int = 1) -> list[ir.Stmt]:
        name = self.fresh("tile")
        space = str(self.pick("sram", "sram", "acc"))
        shape = str(self.pick("MN", "MM", "M1", "1N"))
        dims = {"MN": (ROWS, COLS), "MM": (ROWS, ROWS), "M1": (ROWS, ONE), "1N": (ONE, COLS)}[shape]
        dtype = "f32" if space == "acc" else str(self.pick(*ir.DTYPES))
        at = ir.Const(self.draw(st.integers(0, 9))) if space == "sram" and slots == 1 else None
        copies: ir.Expr = (
            ir.Const(slots)
            if slots > 1
            else self.draw(st.sampled_from((ir.Const(1), ir.Const(3), ir.Name("Q"))))
        )
        visible.tiles[name] = (shape, space)
        if dtype == "bf16":
            visible.bf16.add(name)
        note = self.draw(COMMENTS)
        declaration = ir.TileDecl(name, space, dims[0], dims[1], dtype, copies, at, note)
        fill = ir.Instr("fill", (ir.TileRef(name), real(self.draw)))
        return [declaration, fill]

    def loop(self, visible: Visible, depth: int) -> ir.Loop:
        inside = visible.copy()
        var = self.fresh("i")
        start, stop = integer(self.draw, visible.names), integer(self.draw, visible.names)
        step = self.draw(st.sampled_from((ir.Const(1), ir.Const(7), ir.Name("BR"))))
        inside.names = (*inside.names, var)
        note = self.draw(COMMENTS)
        return ir.Loop(var, start, stop, step, self.block(inside, depth + 1), note)

    def branch(self, visible: Visible, depth: int) -> ir.If:
        condition = integer(self.draw, visible.names)
        orelse: tuple[ir.Stmt, ...] = ()
        kind = self.draw(st.integers(0, 2))
        if kind == 1:
            orelse = self.block(visible, depth + 1, 2)
        elif kind == 2:
            orelse = (self.branch(visible, depth + 1),)
        then = self.block(visible, depth + 1, 2)
        return ir.If(condition, then, orelse, self.draw(COMMENTS))

    def staged(self, visible: Visible, depth: int) -> ir.Loop:
        # Tiles from outside stay out: what touches them in two stages would be refused.
        inside = Visible({}, set(), visible.names, list(visible.free))
        var = self.fresh("i")
        inside.names = (*inside.names, var)
        body: list[ir.Stmt] = [self.let(inside)]
        fills: list[ir.Stmt] = []
        for _ in range(2):
            declaration, fill = self.tile(inside, slots=8)
            body.append(declaration)
            fills.append(fill)
        stages = sorted(self.draw(st.sets(st.integers(0, 7), min_size=1, max_size=3)))
        stored = False
        for number, index in enumerate(stages):
            content = self.block(inside, depth + 1, 2)
            stores = any(isinstance(s, ir.Instr) and s.op == "store" for s in ir.walk(content))
            if stored and stores:
                continue  # the scratch of two stages would be refused
            stored = stored or stores
            if number == 0:
                content = (*fills, *content)
            body.append(ir.Stage(index, content, self.draw(COMMENTS)))
        stop = integer(self.draw, visible.names)
        return ir.Loop(var, ir.Const(0), stop, ir.Const(1), tuple(body), self.draw(COMMENTS))

    # Instructions.

    def transfer(self, visible: Visible) -> ir.Stmt:
        tiles = [name for name in visible.of("MN M1", "sram") if name in visible.bf16]
        if not tiles or not visible.free:
            return ir.Instr("fence", comments=self.draw(COMMENTS))
        tile = self.piece(tiles, self.rows(visible))
        low = ir.Name(self.draw(st.sampled_from(visible.free)))
        high = ir.Op("+", (low, ir.Name(self.draw(st.sampled_from(visible.free)))))
        piece = self.draw(
            st.sampled_from((ir.FULL, ir.Slice(low, high), ir.Gather("t", low, high)))
        )
        columns = ir.Slice(None, low)
        queue = {"queue": self.draw(st.sampled_from((ir.Const(0), ir.Const(3), ir.Name("Q"))))}
        note = self.draw(COMMENTS)
        if self.draw(st.booleans()):
            target = ir.TensorRef("scratch", (piece, columns))
            return instruction("store", (target, tile), queue, note)
        index = self.draw(st.sampled_from((low, ir.TableRef("t", low), ir.FULL)))
        return instruction("load", (tile, ir.TensorRef("x", (piece, index, columns))), queue, note)

    def instruction(self, visible: Visible) -> ir.Stmt:
        both = ("sram", "acc")
        tiles = visible.of("MN", *both)
        note = self.draw(COMMENTS)
        squares, inputs = visible.of("MM", "acc"), visible.of("MN", "sram")
        if squares and inputs and self.draw(st.booleans()):
            dst, source = self.draw(st.sampled_from(squares)), self.draw(st.sampled_from(inputs))
            rows = self.rows(visible)
            operands = (
                ir.TileRef(dst, rows),
                ir.TileRef(source, rows),
                ir.TileRef(source, transposed=True),
            )
            keywords: dict[str, ir.Keyword] = {"accumulate": self.draw(st.booleans())}
            return instruction("matmul", operands, keywords, note)
        if not tiles:
            return ir.Instr("fence", comments=note)
        rows = self.rows(visible)
        dst, src = self.piece(tiles, rows), self.piece(tiles, rows)
        kind = self.draw(st.integers(0, 3))
        if kind == 0:
            op = str(self.pick(*ELEMENTWISE))
            more = (self.value(tiles, rows) for _ in range(operands_read(op) - 1))
            return instruction(op, (dst, src, *more), {}, note)
        if kind == 1:
            return instruction(
                "fma", (dst, src, self.value(tiles, rows), self.value(tiles, rows)), {}, note
            )
        if kind == 2:
            given = {key: integer(self.draw, visible.names) for key in ("row", "col", "window")} | {
                "group": ir.Name("BC")
            }
            op = str(self.pick("causal_mask", "window_mask"))
            known = {setting.name for setting in OPS[op].settings}
            kept = {key: value for key, value in given.items() if key in known}
            return instruction(op, (dst,), kept, note)
        keywords = {"scale": self.value(tiles, rows), "bias": self.value(tiles, rows)}
        columns = visible.of("M1", *both)
        if columns:
            keywords["row_sum"] = ir.TileRef(self.draw(st.sampled_from(columns)), rows)
        op = str(self.pick(*SFU))
        if "vector" in OPS[op].engines:
            keywords["engine"] = str(self.pick("sfu", "vector"))
        return instruction(op, (dst, src), keywords, note)


@st.composite
def kernels(draw: st.DrawFn) -> ir.Kernel:
    """A valid kernel."""
    writer = Writer(draw)
    top = Visible()
    body: list[ir.Stmt] = [ir.HbmDecl("scratch", (ir.Name("T"), ir.Name("D")), "bf16")]
    for _ in range(draw(st.integers(0, 2))):
        body.append(writer.let(top))
    for _ in range(draw(st.integers(1, 2))):
        inside = top.copy()
        names = tuple(writer.fresh("item") for _ in range(draw(st.integers(1, 3))))
        extents = tuple(integer(draw, top.names) for _ in names)
        inside.names = (*inside.names, *names)
        order = draw(st.sampled_from(ir.ORDERS))
        content = writer.block(inside, 0, 5)
        body.append(ir.Cores(names, extents, order, content, draw(COMMENTS)))
    return ir.Kernel(
        draw(st.sampled_from(("k", "attention", "a_kernel_with_a_long_name"))),
        PARAMS,
        tuple(body),
        draw(
            st.one_of(st.just(""), st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
        ),
        draw(st.lists(comment_lines(), max_size=2).map(tuple)),
        draw(st.lists(comment_lines(), max_size=2).map(tuple)),
    )
