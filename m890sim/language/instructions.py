"""Rules of instructions: every call is compared with its row in `isa.OPS`, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from m890sim import isa
from m890sim.chip import M890
from m890sim.kernel import ir
from m890sim.kernel.forms import ONE, ZERO, Form
from m890sim.kernel.printer import print_operand
from m890sim.kernel.transform import name_of
from m890sim.language.advice import remedy
from m890sim.language.report import HOLE
from m890sim.language.reserved import MAX_QUEUE
from m890sim.language.scalars import ScalarChecker
from m890sim.language.scopes import KINDS, TUNABLE, Binding
from m890sim.messages import shown

_QUEUES = M890.dma_queues
_SPACES = {"sram": "SRAM", "acc": "ACC", "hbm": "HBM"}


@dataclass(slots=True)
class CheckedPiece:
    """A checked tile or tensor operand: what it is a piece of, and its extents."""

    row: isa.Operand
    binding: Binding
    shape: tuple[Form, Form]
    value: ir.Operand
    loc: ir.SourceLoc

    @property
    def text(self) -> str:
        """The operand for a message."""
        return shown(print_operand(self.value), 60)

    @property
    def empty(self) -> bool:
        """Whether it certainly has no elements."""
        return ZERO in self.shape


@dataclass(slots=True)
class TileAccess:
    """What an instruction does to one tile or tensor."""

    piece: CheckedPiece
    reads: bool
    writes: bool


class Instructions:
    """Checks instructions in the scope of `scalars`."""

    def __init__(self, scalars: ScalarChecker) -> None:
        self.scalars = scalars
        self.report = scalars.report
        self.forms = scalars.forms

    def check(self, stmt: ir.Instr) -> list[TileAccess]:
        """Reports what is wrong with an instruction; what it reads and writes."""
        row = isa.OPS.get(stmt.op)
        if row is None:
            if stmt.op not in self.report.unknown:
                texts = [shown(print_operand(value), 48) for value in stmt.operands]
                advice = remedy(stmt.op, texts)
                hint = f"; {advice}" if advice else self.report.suggest(stmt.op, isa.OPS)
                hint = hint or "; `m890 isa` lists them, and the language has no functions"
                self.report.add("E205", f"`{shown(stmt.op)}` is no instruction{hint}", stmt.loc)
            return []
        positional = [operand for operand in row.operands if not operand.keyword]
        if len(stmt.operands) != len(positional):
            found = (
                f"{row.name} is called with {len(stmt.operands)} "
                f"operands, it takes {len(positional)}"
            )
            self.report.add("E206", f"{found}; write {row.signature}", stmt.loc)
        pairs: list[tuple[isa.Operand, ir.Operand]] = list(
            zip(positional, stmt.operands, strict=False)
        )
        pairs += self._keywords(row, stmt)
        pieces = [self._operand(row, spec, value, stmt) for spec, value in pairs]
        found_pieces = [piece for piece in pieces if piece is not None]
        self._shapes(row, found_pieces)
        self._dtypes(row, found_pieces)
        self._written_once(row, found_pieces)
        accumulate = stmt.keyword("accumulate", False) is True
        return [
            TileAccess(
                piece,
                piece.row.role in ("read", "readwrite")
                or (piece.row.role == "update" and accumulate),
                piece.row.role != "read",
            )
            for piece in found_pieces
        ]

    def _keywords(self, row: isa.OpSpec, stmt: ir.Instr) -> list[tuple[isa.Operand, ir.Operand]]:
        """Checks settings; gives the operands among the keywords."""
        operands = {operand.name: operand for operand in row.operands if operand.keyword}
        settings = {setting.name: setting for setting in row.settings}
        pairs: list[tuple[isa.Operand, ir.Operand]] = []
        for name, value in stmt.keywords:
            if name in operands and not isinstance(value, str | bool | ir.TableRef):
                pairs.append((operands[name], value))
            elif name in settings:
                self._setting(row, settings[name], value, stmt.loc)
            elif name == "engine" and isinstance(value, str):
                if value not in row.engines:
                    found = f"{row.name} cannot run on `{shown(value)}`"
                    self.report.add(
                        "E217", f"{found}; its engines are: {', '.join(row.engines)}", stmt.loc
                    )
            else:
                found = f"{row.name} has no keyword `{shown(name)}` with such a value"
                self.report.add("E207", f"{found}; write {row.signature}", stmt.loc)
        given = {name for name, _ in stmt.keywords}
        missing = [
            name
            for name, setting in settings.items()
            if setting.default is None and name not in given
        ]
        if missing:
            names = ", ".join(f"`{name}=`" for name in missing)
            self.report.add("E207", f"{row.name} lacks {names}; write {row.signature}", stmt.loc)
        return pairs

    def _setting(
        self, row: isa.OpSpec, setting: isa.Setting, value: ir.Keyword, loc: ir.SourceLoc
    ) -> None:
        what = f"`{setting.name}` of {row.name}"
        place = self.report.where(value, loc)
        if setting.kind == "bool":
            if not isinstance(value, bool):
                self.report.add("E217", f"{what} must be True or False; write one of them", place)
            return
        if isinstance(value, str | bool | ir.TileRef):
            self.report.add("E217", f"{what} must be an integer expression; write one", place)
            return
        if setting.kind != "queue":
            form = self.scalars.integer(value, loc)
            # A default of 1 marks a setting that counts something: it must be at least that.
            if (
                setting.default == 1
                and self.forms.positive(self.forms.subtract(ONE, form))
                and self.scalars.alive
            ):
                found = f"{what} is {self.scalars.text(form)}, the least is 1"
                self.report.add("E217", f"{found}; use a larger number", place)
            return
        form = self.scalars.integer(value, loc, TUNABLE, what, "E217")
        if form.value is not None and not 0 <= form.value <= MAX_QUEUE:
            found = f"{what} is {form.value}, no chip has more than queues 0 to {MAX_QUEUE}"
            few = f"how many there are depends on the chip: m890 has 0 to {_QUEUES - 1}"
            self.report.add("E217", f"{found}; {few}, `m890 chips` lists others", place)

    def _operand(
        self, row: isa.OpSpec, spec: isa.Operand, value: ir.Operand, stmt: ir.Instr
    ) -> CheckedPiece | None:
        loc = self.report.where(value, getattr(value, "loc", stmt.loc))
        if loc == ir.NOWHERE:
            loc = stmt.loc
        if not isinstance(value, ir.TileRef | ir.TensorRef):
            if not spec.value and value != ir.Name(HOLE):
                found = (
                    f"`{shown(print_operand(value))}` is no tile, "
                    f"`{spec.name}` of {row.name} must be one"
                )
                self.report.add("E204", f"{found}; {_float_first(row, stmt)}", loc)
            else:
                self.scalars.real(value, loc)
            return None
        name = name_of(value)
        kinds = ("tensor", "hbm") if spec.spaces == ("hbm",) else ("tile",)
        binding = self.scalars.scope.find(name, loc, (*kinds, "scalar") if spec.value else kinds)
        if binding is None:
            return None
        tile = isinstance(value, ir.TileRef)
        if (binding.kind == "tile") != tile or binding.kind not in ("tile", "tensor", "hbm"):
            due = (
                "a tile" + (" or a float" if spec.value else "")
                if spec.spaces != ("hbm",)
                else "a tensor"
            )
            code = "E227" if spec.value and binding.kind == "int" else "E204"
            found = (
                f"`{shown(name)}` is {KINDS[binding.kind]}, "
                f"`{spec.name}` of {row.name} must be {due}"
            )
            remedy = "load it into a tile first" if binding.kind in ("tensor", "hbm") else "use one"
            if binding.kind == "scalar" and spec.spaces != ("hbm",):
                remedy = _float_first(row, stmt)
            self.report.add(code, f"{found}; {remedy}", loc)
            return None
        if binding.space not in spec.spaces:
            allowed = " or ".join(_SPACES[space] for space in spec.spaces)
            found = (
                f"`{shown(name)}` lies in {_SPACES[binding.space]}, "
                f"`{spec.name}` of {row.name} must lie in {allowed}"
            )
            remedy = _where_to(row, spec, binding.space)
            self.report.add("E208", f"{found}; {remedy}", loc)
        if isinstance(value, ir.TileRef):
            shape = self._tile_shape(value, binding, loc)
            if value.transposed and not spec.transposable:
                found = f"`{spec.name}` of {row.name} takes no `.T`"
                whole = f"`transpose(t, {shown(name, 40)})`, and {row.name} takes `t`"
                self.report.add("E214", f"{found}; write the instruction {whole}", loc)
        else:
            shape = self._tensor_shape(value, binding, loc)
        return CheckedPiece(spec, binding, shape, value, loc)

    def _tile_shape(self, ref: ir.TileRef, tile: Binding, loc: ir.SourceLoc) -> tuple[Form, Form]:
        if ref.cols.step is not None:
            found = f"`{shown(print_operand(ref))}` has a step in its columns"
            self.report.add(
                "E213", f"{found}; only rows of a tile take one", self.report.where(ref.cols, loc)
            )
        rows = self._extent(ref.rows, tile.dims[0], f"rows of `{shown(tile.name)}`", loc)
        cols = self._extent(ref.cols, tile.dims[1], f"columns of `{shown(tile.name)}`", loc)
        return (cols, rows) if ref.transposed else (rows, cols)

    def _tensor_shape(
        self, ref: ir.TensorRef, tensor: Binding, loc: ir.SourceLoc
    ) -> tuple[Form, Form]:
        if len(ref.index) != len(tensor.dims):
            found = (
                f"`{shown(ref.tensor)}` has {len(tensor.dims)} dimensions, "
                f"here it has {len(ref.index)} indices"
            )
            entries = [*ref.index, *[ir.FULL] * len(tensor.dims)][: len(tensor.dims)]
            text = print_operand(ir.TensorRef(ref.tensor, tuple(entries)))
            few = len(ref.index) < len(tensor.dims) and HOLE not in text and len(text) < 60
            remedy = f"write `{shown(text)}`" if few else "write one index or `:` for each"
            self.report.add("E213", f"{found}; {remedy}", loc)
            return self.forms.unknown(), self.forms.unknown()
        if ir.Name(HOLE) in ref.index:
            return self.forms.unknown(), self.forms.unknown()
        extents = []
        for number, (entry, dim) in enumerate(zip(ref.index, tensor.dims, strict=True)):
            what = f"dimension {number} of `{shown(tensor.name)}`"
            if isinstance(entry, ir.Slice):
                if entry.step is not None:
                    found = f"`{shown(print_operand(ref))}` has a step"
                    self.report.add(
                        "E213", f"{found}; load rows without one", self.report.where(entry, loc)
                    )
                extents.append(self._extent(entry, dim, what, loc))
            elif isinstance(entry, ir.Gather):
                extents.append(self._gather(entry, loc))
            else:
                self._index(entry, dim, what, loc)
        columns = extents.pop() if extents else ONE
        rows = extents[0] if extents else ONE
        for extent in extents[1:]:
            rows = self.forms.multiply(rows, extent)
        return rows, columns

    def _index(self, entry: ir.Expr, dim: Form, what: str, loc: ir.SourceLoc) -> None:
        index = self.scalars.integer(entry, loc)
        outside = self.forms.negative(index) or self.forms.positive(
            self.scalars.shifted(index, dim)
        )
        if outside and self.scalars.alive:
            found = (
                f"index {self.scalars.text(index)} is outside {what}, "
                f"which has {self.scalars.text(dim)}"
            )
            self.report.add("E212", f"{found}; count from 0", self.report.where(entry, loc))

    def _gather(self, entry: ir.Gather, loc: ir.SourceLoc) -> Form:
        place = self.report.where(entry, loc)
        table = self.scalars.table(entry.table, place)
        size = self.forms.unknown() if table is None else table.dims[0]
        return self._extent(
            ir.Slice(entry.start, entry.stop), size, f"elements of `{shown(entry.table)}`", place
        )

    def _extent(self, piece: ir.Slice, dim: Form, what: str, loc: ir.SourceLoc) -> Form:
        """Extent of a slice of something that has `dim`; reports what certainly leaves it."""
        loc = self.report.where(piece, loc)
        start = ZERO if piece.start is None else self.scalars.integer(piece.start, loc)
        stop = dim if piece.stop is None else self.scalars.integer(piece.stop, loc)
        length = self.forms.subtract(stop, start)
        if self.scalars.alive:
            if self.forms.negative(start):
                found = f"the slice of the {what} starts at {self.scalars.text(start)}, before 0"
                self.report.add("E212", f"{found}; positions are not counted from the end", loc)
            elif self.forms.negative(length):
                found = (
                    f"the slice of the {what} has the extent "
                    f"{self.scalars.text(length)}, the least is 0"
                )
                self.report.add("E211", f"{found}; its stop must not lie before its start", loc)
            elif self.forms.positive(self.forms.subtract(stop, dim)):
                found = (
                    f"the slice of the {what} ends at {self.scalars.text(stop)}, "
                    f"beyond {self.scalars.text(dim)}"
                )
                self.report.add("E212", f"{found}; end it earlier or declare more", loc)
        if piece.step is None:
            return length
        step = self.scalars.integer(piece.step, loc)
        if self.forms.positive(self.forms.subtract(ONE, step)):
            found = (
                f"the slice of the {what} has the step {self.scalars.text(step)}, the least is 1"
            )
            self.report.add(
                "E223", f"{found}; use a larger step", self.report.where(piece.step, loc)
            )
            return self.forms.unknown()
        return self.forms.divide("ceil_div", length, step)

    def _shapes(self, row: isa.OpSpec, pieces: list[CheckedPiece]) -> None:
        if not self.scalars.alive:
            return
        bound: dict[str, tuple[Form, CheckedPiece, int]] = {}
        for piece in sorted(pieces, key=lambda piece: piece.row.shape.endswith("b")):
            broadcast = piece.row.shape.endswith("b")
            for axis, letter in enumerate(piece.row.shape[:2]):
                extent = piece.shape[axis]
                if letter == "1":
                    self._one(row, piece, axis, extent)
                elif broadcast and not self.forms.differ(extent, ONE):
                    continue
                elif letter not in bound:
                    bound[letter] = (extent, piece, axis)
                elif self.forms.differ(extent, bound[letter][0]):
                    self._mismatch(row, piece, axis, *bound[letter], broadcast)

    def _one(self, row: isa.OpSpec, piece: CheckedPiece, axis: int, extent: Form) -> None:
        if self.forms.differ(extent, ONE):
            found = (
                f"`{piece.text}` has {self._count(extent, axis)}, "
                f"`{piece.row.name}` of {row.name} has one"
            )
            self.report.add("E210", f"{found}; slice it", piece.loc)

    def _mismatch(
        self,
        row: isa.OpSpec,
        piece: CheckedPiece,
        axis: int,
        other: Form,
        first: CheckedPiece,
        first_axis: int,
        broadcast: bool,
    ) -> None:
        mine, theirs = self._count(piece.shape[axis], axis), self._count(other, first_axis)
        found = (
            f"`{piece.text}` has {mine}, `{first.text}` has "
            f"{theirs}, and {row.name} needs them equal"
        )
        remedy = "slice them to one extent" + (", or use 1 to broadcast" if broadcast else "")
        self.report.add("E210", f"{found}; {remedy}", piece.loc)

    def _count(self, extent: Form, axis: int) -> str:
        return f"{self.scalars.text(extent)} {'columns' if axis else 'rows'}"

    def _written_once(self, row: isa.OpSpec, pieces: list[CheckedPiece]) -> None:
        written = [piece for piece in pieces if piece.row.role != "read"]
        for number, piece in enumerate(written):
            if any(piece.binding is other.binding for other in written[:number]):
                found = f"{row.name} writes two results into `{shown(piece.binding.name)}`"
                self.report.add("E231", f"{found}; declare a tile for each", piece.loc)

    def _dtypes(self, row: isa.OpSpec, pieces: list[CheckedPiece]) -> None:
        same = [
            piece
            for piece in pieces
            if piece.row.name in row.same_dtype and piece.binding.dtype in ir.DTYPES
        ]
        for piece in same[1:]:
            if piece.binding.dtype != same[0].binding.dtype:
                found = (
                    f"`{shown(piece.binding.name)}` is {piece.binding.dtype}, "
                    f"`{shown(same[0].binding.name)}` is {same[0].binding.dtype}, "
                    f"and {row.name} needs one dtype"
                )
                self.report.add(
                    "E209", f"{found}; declare both alike and convert with copy", piece.loc
                )


def _float_first(row: isa.OpSpec, stmt: ir.Instr) -> str:
    """What to write where a float stands for an operand that must be a tile."""
    if row.name in ("add", "mul", "max", "min") and len(stmt.operands) == 3:
        dst, a, b = (shown(print_operand(value), 40) for value in stmt.operands)
        if isinstance(stmt.operands[2], ir.TileRef):
            return f"write the tile first: `{row.name}({dst}, {b}, {a})`"
    if row.name == "sub" and len(stmt.operands) == 3:
        dst, a, b = (shown(print_operand(value), 40) for value in stmt.operands)
        return f"write `fma({dst}, {b}, -1.0, {a})`"
    if row.name == "div":
        return "write `recip(dst, b)`, then `mul(dst, dst, a)` with the float for a"
    return "fill a tile with the value first"


def _where_to(row: isa.OpSpec, spec: isa.Operand, space: str) -> str:
    """How an operand that lies in the wrong memory gets to where it must be."""
    if row.family == "dma" and "hbm" in (space, *spec.spaces):
        order = "the tile first, then the tensor" if row.name == "load" else "the tensor first"
        return f"{row.name}(dst, src) takes {order}"
    if space == "hbm":
        return "load it into a tile first"
    if spec.role == "read":
        return "copy it into a tile of sram(...) first"
    if spec.spaces == ("acc",):
        return "declare it with acc(rows, columns)"
    return "load into a tile of sram(...), then copy"
