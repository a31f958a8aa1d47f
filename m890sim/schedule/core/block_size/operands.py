"""Whether the operands of an instruction are blocks of a tunable's size, or pieces of blocks."""

from __future__ import annotations

from collections.abc import Mapping

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import same_value, simplify
from m890sim.kernel.transform import names_in, substitute
from m890sim.schedule.core.block_size.extents import at_most
from m890sim.schedule.core.block_size.kinds import FREE, Kind, factors, kind_of, length_of, uncut
from m890sim.schedule.core.block_size.parts import Own, Part, Span
from m890sim.schedule.core.effects import operand_roles
from m890sim.schedule.core.memo import by_node
from m890sim.schedule.edit import EditError, refuse

Axis = tuple[ir.Expr, Kind]  # an operand's extent along one axis
ONE = ir.Const(1)
_PLACES = ("queue", "engine")  # keywords that say where an instruction runs, not what it does


class Operands:
    """What is known of names and tiles at a statement, and whether instructions there are right.

    sizes: those that the tunable may be given; refused: those of them that are wrong, and why.
    """

    def __init__(self, kernel: ir.Kernel, name: str, *sizes: int) -> None:
        self.kernel, self.name, self.sizes = kernel, name, sizes
        self.values = kernel.tunables
        self.multiples = frozenset(size for size in sizes if size % self.values[name] == 0)
        self.refused: dict[int, EditError] = {}
        self.used = False  # whether anything depends on the tunable
        self.kinds: dict[str, Kind] = {name: Kind("size")}
        self.sized = {name}  # scalars that depend on the tunable in any way
        self.lets: dict[str, ir.Expr] = {}
        self.tiles: dict[str, ir.TileDecl] = {}
        self.dims = {p.name: p.dims for p in kernel.params if p.kind == "tensor"}
        self.bounds: dict[str, ir.Expr] = {}  # block variable -> what cut extents meet
        self.strides: dict[str, ir.Expr] = {}  # block variable -> what a position moves by
        self.steps = frozenset().union(*map(_steps, kernel.body))
        self.symbols = frozenset(kernel.symbols)
        # While names keep their values: the axis, the sizes that it allows, whether it uses them.
        self.axes: dict[tuple[ir.Slice, ir.Expr], tuple[Axis, dict[int, EditError], bool]] = {}
        self.guards: list[ir.Expr] = []  # end - point, where an `if` says point < end
        self.items: set[str] = set()  # block variables of the phase
        self.open: list[str] = []  # all block variables around the statement
        self.reduced: frozenset[str] = frozenset()  # block variables that were reduced over

    def keep(self, sizes: frozenset[int], stmt: ir.Stmt, reason: str) -> None:
        """Only these sizes may still be legal, for that reason."""
        gone = [size for size in self.sizes if size not in sizes]
        if gone:
            self.add(dict.fromkeys(gone, self.refuse(stmt, reason)))

    def add(self, refused: Mapping[int, EditError]) -> None:
        """Sizes that are not legal. Raises: EditError where none is left."""
        for size, error in refused.items():
            self.refused.setdefault(size, error)
        if refused and all(size in self.refused for size in self.sizes):
            raise next(iter(refused.values()))

    def refuse(self, stmt: ir.Stmt, reason: str) -> EditError:
        return refuse(stmt, f"{self.name} is not only the size of a block: {reason}")

    def kind(self, expr: ir.Expr, stmt: ir.Stmt) -> Kind:
        """The kind of an expression; where it is no assignment, with what it cuts off checked."""
        found = kind_of(expr, self.kinds)
        if found is None:
            raise self.refuse(stmt, "an expression is neither a position nor an extent")
        if found.exact:
            self.keep(
                self.multiples, stmt, "a position is divided, which only a multiple keeps whole"
            )
        if found is not FREE:
            self.used = True
            if not isinstance(stmt, (ir.Let, ir.If)):
                for part in ir.walk_expr(self.inline(expr)):
                    if isinstance(part, ir.Op) and part.op == "min":
                        self.cut(part, stmt)
        return found

    def cut(self, expr: ir.Op, stmt: ir.Stmt) -> None:
        """A min(size, rest): the rest must not be below zero, whatever the size."""
        words = [kind_of(arg, self.kinds) for arg in expr.args]
        pair = [None if k is None else k.word for k in words]
        if sorted(str(word) for word in pair) != ["point", "size"]:
            return
        rest = expr.args[pair.index("point")]
        deps = words[pair.index("point")]
        assert deps is not None
        for variable in deps.deps:
            # Not there: a count of blocks of several kinds, of which flags select.
            if variable not in self.bounds or same_value(rest, self.bounds[variable]):
                return
        if any(same_value(rest, bound) for bound in self.guards):
            return
        raise self.refuse(stmt, "what min() cuts off belongs to no loop, phase or `if` around it")

    def free(self, expr: ir.Expr, stmt: ir.Stmt, what: str) -> None:
        if self.kind(expr, stmt).word != "free":
            raise self.refuse(stmt, f"it stands in {what}")

    def inline(self, expr: ir.Expr) -> ir.Expr:
        return substitute(expr, self.lets)

    def is_sized(self, *exprs: ir.Expr | None) -> bool:
        """Whether expressions depend on the size of a block."""
        return any(name in self.sized for expr in exprs for name in names_in(expr))

    # ---- instructions ----

    def instruction(self, stmt: ir.Instr) -> tuple[Part | None, frozenset[str]]:
        """An instruction as one on a part of a block, and the tiles of which it touches no part.

        Raises: EditError where it is none on blocks of any size.
        """
        self.settings(stmt)
        letter = {"row": "N", "col": "M", "matmul": "K"}.get(stmt.op.split("_")[0])
        reduced = "N" if stmt.keyword("row_sum") is not None else letter
        shapes = {operand.name: operand.shape for operand in OPS[stmt.op].operands}
        axes: dict[str, list[Axis]] = {}
        whole: set[str] = set()
        does: list[object] = [stmt.op]
        spans: list[Span] = []
        for name, _, written, operand in operand_roles(stmt):
            if not isinstance(operand, (ir.TileRef, ir.TensorRef)):
                does.append(operand)
                continue
            letters, pieces = shapes[name][:2], self.pieces_of(operand)
            if isinstance(operand, ir.TileRef):
                pair = [self.tile_axis(piece, dim, stmt) for piece, dim in pieces]
                if operand.transposed:
                    letters = letters[::-1]
            else:
                pair = self.tensor_axes(operand, stmt, written)
            for letter, axis in zip(letters, pair, strict=True):
                if not (shapes[name].endswith("b") and axis[0] == ONE):
                    axes.setdefault(letter, []).append(axis)
            found = [self.span(piece, dim) for piece, dim in pieces]
            spans += (span for span in found if span is not None)
            if not isinstance(operand, ir.TileRef):
                does.append(operand.tensor)
            elif reduced in [letters[n] for n, span in enumerate(found) if span is not None]:
                raise self.refuse(stmt, f"{stmt.op} runs over a part of a block")
            elif any(found):
                does.append(Own(self.tiles[operand.tile]))
            else:
                does.append(operand.tile)
                whole.add(operand.tile)
            does += (None if found[n] else piece for n, (piece, _) in enumerate(pieces))
        for key, value in stmt.keywords:
            if key not in _PLACES and not isinstance(value, (ir.TileRef, ir.TensorRef)):
                does.append((key, value))
        for letter, along in axes.items():
            self.agree(along if letter != "1" else [*along, (ONE, FREE)], stmt)
        for _, kind in axes.get(reduced, ()) if reduced else ():
            if kind.word == "size":
                raise self.refuse(stmt, f"{stmt.op} runs over a whole block, also where it is cut")
            # An axis that ends with the item's block is masked: the loop around it was asked.
            if kind.deps & self.items and kind.word != "point":
                raise self.refuse(stmt, f"{stmt.op} runs over the block of a work item")
            self.reduced |= kind.deps - self.items
        return Part(stmt, tuple(does), tuple(spans)) if spans else None, frozenset(whole)

    def settings(self, stmt: ir.Instr) -> None:
        """Refuses numbers of an instruction that depend on the size otherwise than by position."""
        kinds = {setting.name: setting.kind for setting in OPS[stmt.op].settings}
        for name, value in stmt.keywords:
            if name in kinds and not isinstance(value, (str, bool, ir.TileRef)):
                word = self.kind(value, stmt).word
                place = kinds[name] == "int" and name not in ("group", "window")
                if word != "free" and not (place and word in ("point", "clip")):
                    raise self.refuse(stmt, f"it stands in {name}=")

    def pieces_of(
        self, ref: ir.TileRef | ir.TensorRef
    ) -> list[tuple[ir.Slice | ir.Gather, ir.Expr | None]]:
        """The slices of an operand, with the extents of what they are cut from, if it is a tile."""
        if isinstance(ref, ir.TileRef):
            tile = self.tiles[ref.tile]
            return [(ref.rows, tile.rows), (ref.cols, tile.cols)]
        return [(entry, None) for entry in ref.index if isinstance(entry, (ir.Slice, ir.Gather))]

    def span(self, piece: ir.Slice | ir.Gather, dim: ir.Expr | None) -> Span | None:
        """Where a piece lies, if it is a part of a block; None where it is whole."""
        if piece == ir.FULL or not self.is_sized(piece.start, piece.stop):
            return None
        start = ir.Const(0) if piece.start is None else self.inline(piece.start)
        stop = piece.stop if piece.stop is not None else dim
        if stop is None:
            return None
        span = (start, self.inline(stop))
        return None if self.is_whole(span) else span

    def is_whole(self, span: Span) -> bool:
        """Whether a piece has the extent of a block, cut off at the end of the data or not."""
        start, stop = span
        extent = stop if start == ir.Const(0) else simplify(ir.Op("-", (stop, start)))
        while isinstance(extent, ir.Op) and extent.op == "*":
            sized = [arg for arg in extent.args if self.is_sized(arg)]
            if len(sized) != 1:
                break
            extent = sized[0]
        if isinstance(extent, ir.Op) and extent.op == "min" and self.is_sized(extent):
            # A block of another loop may be cut off where the block of a work item ends.
            return all(
                self.is_sized(arg) or any(same_value(arg, step) for step in self.steps)
                for arg in extent.args
            )
        return extent == ir.Name(self.name)

    def tile_axis(self, piece: ir.Slice | ir.Gather, dim: ir.Expr | None, stmt: ir.Instr) -> Axis:
        """One axis of a piece of a tile."""
        assert isinstance(piece, ir.Slice) and dim is not None
        found = self.axes.get((piece, dim))
        if found is None:
            used, self.used = self.used, False
            refused, self.refused = self.refused, {}
            axis = self.piece(piece, dim, stmt)
            found = self.axes[piece, dim] = (axis, self.refused, self.used)
            self.used, self.refused = used, refused
        self.used = self.used or found[2]
        self.add(found[1])
        return found[0]

    def piece(self, piece: ir.Slice, dim: ir.Expr, stmt: ir.Instr) -> Axis:
        """One axis of a piece of a tile, which must stay within the tile."""
        size = self.kind(dim, stmt)
        if piece == ir.FULL:
            return self.inline(dim), size
        kinds = [
            self.kind(part, stmt)
            for part in (piece.start, piece.stop, piece.step)
            if part is not None
        ]
        if all(k == FREE for k in kinds):
            if size != FREE:
                raise self.refuse(stmt, "a fixed piece of a block is not one of every block")
            return length_of(piece, self.inline(dim), self.lets), FREE
        if piece.step is not None or any(k.word == "reach" for k in kinds):
            raise self.refuse(stmt, "a slice of a tile has a step, or may leave the tile")
        stop = piece.stop if piece.stop is not None else dim
        if piece.stop is not None and piece.stop != dim:
            inside = self.within(piece.stop, dim)
            self.keep(inside, stmt, "a slice is not certain to stay within its tile")
        word = "clip" if any(k != FREE for k in kinds) else "free"
        if kinds and kinds[-1].word in ("size", "point") and piece.start is None:
            word = kinds[-1].word
        deps = frozenset().union(*(k.deps for k in kinds)) if kinds else frozenset()
        return length_of(ir.Slice(piece.start, stop), self.inline(dim), self.lets), Kind(word, deps)

    def within(self, stop: ir.Expr, dim: ir.Expr) -> frozenset[int]:
        """The sizes for which a slice certainly ends within its dimension."""
        end, extent, tunables = self.inline(stop), self.inline(dim), self.kernel.tunables
        return frozenset(
            size
            for size in self.sizes
            if at_most(end, extent, {**tunables, self.name: size}, self.symbols)
        )

    def tensor_axes(self, ref: ir.TensorRef, stmt: ir.Instr, written: bool) -> list[Axis]:
        extents: list[Axis] = []
        deps: set[str] = set()
        for entry, dim in zip(ref.index, self.dims[ref.tensor], strict=True):
            if not isinstance(entry, (ir.Slice, ir.Gather)):
                self.free(entry, stmt, f"a single index of {ref.tensor}")
                continue
            start, stop = (
                FREE if part is None else self.kind(part, stmt)
                for part in (entry.start, entry.stop)
            )
            deps |= start.deps if start.exact else self.moved_by(entry.start)
            if start == FREE and stop == FREE:
                extents.append((length_of(entry, dim, self.lets), FREE))
                continue
            if any(k.word not in ("free", "point", "clip") for k in (start, stop)):
                raise self.refuse(stmt, f"a piece of {ref.tensor} is not cut off by min()")
            self.strided(entry.start, start, stmt)
            length = length_of(entry, dim, self.lets)
            extents.append((length, Kind("clip", start.deps | stop.deps)))
        if written:
            missing = [name for name in self.open if name not in deps]
            if missing:
                raise self.refuse(stmt, f"a store does not follow {missing[0]}")
            if not self.reduced.isdisjoint(self.open):
                raise self.refuse(stmt, "a loop that reduces over its blocks stores")
        columns = extents.pop() if extents else (ONE, FREE)
        rows: Axis = (ONE, FREE)
        for number, (extent, kind) in enumerate(extents):
            both = extent if not number else ir.Op("*", (rows[0], extent))
            rows = (both, kind if kind != FREE else rows[1])
        return [rows, columns]

    def strided(self, start: ir.Expr | None, kind: Kind, stmt: ir.Instr) -> None:
        """Blocks must follow one another: a position moves by one block's size, up or down."""
        if start is None or kind.exact:
            return
        place = uncut(self.inline(start))
        for name in self.moved_by(start):
            stride = self.strides[name]
            following = substitute(place, {name: self.following(name)})
            if not (
                same_value(ir.Op("-", (following, place)), stride)
                or same_value(ir.Op("-", (place, following)), stride)
            ):
                raise self.refuse(stmt, f"blocks of {name} do not follow one another")

    def moved_by(self, start: ir.Expr | None) -> frozenset[str]:
        """The block variables that move a position.

        What is added as a share of something cut off, `j + cols // 2`, divides a block of another
        size: it moves nothing.
        """
        if isinstance(start, ir.Op) and start.op in ("+", "-"):
            return frozenset().union(*map(self.moved_by, start.args))
        kind = None if start is None else kind_of(start, self.kinds)
        return frozenset() if kind is None or kind.cut else kind.deps

    def following(self, name: str) -> ir.Expr:
        """The next value of a block variable."""
        step = self.strides[name] if self.kinds[name].word == "point" else ir.Const(1)
        return ir.Op("+", (ir.Name(name), step))

    def agree(self, axes: list[Axis], stmt: ir.Instr) -> None:
        """Extents that an instruction wants equal must be equal for every size."""
        if all(kind == FREE for _, kind in axes):
            return
        first, kind = axes[0]
        for extent, other in axes[1:]:
            if extent == first or same_value(extent, first):
                continue
            # Rows of whole groups, (rows // G) * G: equal for multiples if they are equal now.
            alike = kind.word == other.word == "clip" and kind.deps == other.deps
            self.keep(
                self.multiples if alike else frozenset(),
                stmt,
                "extents are equal only for its present value",
            )


@by_node
def _steps(stmt: ir.Stmt) -> frozenset[ir.Expr]:
    """What loops and phases in a statement count their blocks by, and the factors of that."""
    steps: list[ir.Expr] = []
    if isinstance(stmt, ir.Loop):
        steps.append(stmt.step)
    elif isinstance(stmt, ir.Cores):
        for extent in stmt.extents:
            if isinstance(extent, ir.Op) and extent.op == "ceil_div":
                steps.append(extent.args[1])
    own = (factor for step in steps for factor in factors(step))
    return frozenset(own).union(*map(_steps, ir.children(stmt)))
