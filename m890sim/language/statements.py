"""From Python's syntax tree to statements; every other node is refused."""

from __future__ import annotations

import ast
import math

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.language.advice import base_of, written
from m890sim.language.assignments import Assignments, free
from m890sim.language.report import HOLE
from m890sim.language.reserved import BLOCKS, DECLARATIONS, FUNCTIONS, MAX_STAGE
from m890sim.messages import shown

_HOLE = ir.Name(HOLE)
_REFUSED: dict[type[ast.AST], tuple[str, str]] = {
    ast.While: ("`while`", "use `for ... in range(...)`"),
    ast.Break: ("`break`", "compute the loop's bounds before it"),
    ast.Continue: ("`continue`", "use `if`"),
    ast.Return: ("`return`", "store results with store()"),
    ast.FunctionDef: (
        "a function inside the kernel",
        "the language has no functions: write its instructions where it is called",
    ),
    ast.AsyncFunctionDef: ("`async`", "the sequencer overlaps instructions by itself"),
    ast.AsyncFor: ("`async`", "the sequencer overlaps instructions by itself"),
    ast.AsyncWith: ("`async`", "the sequencer overlaps instructions by itself"),
    ast.ClassDef: ("a class", "a kernel holds statements only"),
    ast.Import: ("an import", "the file's one import is `from m890sim.lang import *`"),
    ast.ImportFrom: (
        "an import inside the kernel",
        "the file's one import stands above the kernel",
    ),
    ast.Try: ("`try`", "nothing in a kernel raises"),
    ast.TryStar: ("`try`", "nothing in a kernel raises"),
    ast.Raise: ("`raise`", "nothing in a kernel raises"),
    ast.Assert: ("`assert`", "the checker compares shapes by itself"),
    ast.Delete: ("`del`", "a name ends with its block"),
    ast.Global: ("`global`", "names belong to their block"),
    ast.Nonlocal: ("`nonlocal`", "names belong to their block"),
    ast.Match: ("`match`", "use if, elif and else"),
    ast.AugAssign: ("an assignment like `+=`", "a name is assigned once: use a new name"),
    ast.AnnAssign: ("an annotation on an assignment", "write `name = value`"),
}


class Statements(Assignments):
    """Reads blocks of statements."""

    def block(self, body: list[ast.stmt]) -> tuple[ir.Stmt, ...]:
        """The statements of a block, less `pass` and those that were refused."""
        outside = set(self.names.here)
        statements = [self.statement(node) for node in body if not isinstance(node, ast.Pass)]
        self.names.here = outside
        return tuple(stmt for stmt in statements if stmt is not None)

    def statement(self, node: ast.stmt) -> ir.Stmt | None:
        """One statement; None where it was refused, with the names it defines marked as such."""
        if isinstance(node, ast.Assign):
            return self._assign(node)
        if isinstance(node, ast.For):
            return self._for(node)
        if isinstance(node, ast.With):
            return self._with(node)
        if isinstance(node, ast.AugAssign) and base_of(node.target) in self.names.tensors:
            found = f"`{written(node.target)}` is changed in place: a tensor is loaded or stored"
            advice = "add up in a tile and store it once (column_sums in docs/language.md)"
            self.report.add("E204", f"{found}; {advice}", self.loc(node))
            return None
        if isinstance(node, ast.AugAssign) and self._of_arrays(node.target):
            value = ast.BinOp(node.target, node.op, node.value)
            self._tile_assignment(node, node.target, ast.copy_location(value, node))
            return None
        if isinstance(node, ast.If):
            return ir.If(
                self._condition(node.test),
                self.block(node.body),
                self.block(node.orelse),
                self.notes(node),
                self.loc(node),
            )
        if isinstance(node, ast.Expr):
            return self._instruction(node)
        what, instead = _REFUSED.get(
            type(node), (f"`{type(node).__name__}`", "see the language manual for what there is")
        )
        self.report.add("E104", f"{what} is not part of the language; {instead}", self.loc(node))
        if isinstance(node, ast.FunctionDef):
            self.report.unknown.add(node.name)
        self._poison(node)
        return None

    def _assign(self, node: ast.Assign) -> ir.Stmt | None:
        target = node.targets[0]
        if len(node.targets) == 1 and self._assigns_tile(target, node.value):
            self._tile_assignment(node, target, node.value)
            return None
        if len(node.targets) > 1 or not isinstance(target, ast.Name):
            found = (
                "an assignment to several names"
                if len(node.targets) > 1
                else "this target of an assignment"
            )
            if isinstance(target, ast.Tuple | ast.List):
                found = "an assignment to several names"
            each = "write `name = value`, one a line"
            self.report.add("E104", f"{found} is not part of the language; {each}", self.loc(node))
            self._poison_new(node)
            return None
        value, name = node.value, target.id
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Name)
            and value.func.id not in FUNCTIONS
        ):
            if value.func.id in DECLARATIONS:
                return self._declaration(name, value, node)
            if value.func.id in OPS or value.func.id in BLOCKS:
                found = f"`{value.func.id}` gives no value to assign"
                self.report.add(
                    "E108", f"{found}; write it as a statement of its own", self.loc(value)
                )
                self._poison(node)
                return None
            self._call_assignment(node, name, value)
            return None
        number = value.value if isinstance(value, ast.Constant) else None
        if isinstance(number, float) and math.isfinite(number):
            found = f"the float {written(value)} stands in an integer expression"
            tile = f"`{free(name)} = sram(rows, 1, f32)`"
            advice = f"write an integer, or, for values that change, declare {tile} and fill it"
            self.report.add("E227", f"{found}; {advice}", self.loc(value))
            self._poison_new(node)
            self.names.here.add(name)
            return None
        return ir.Let(name, self.expression(value), self.notes(node), self.loc(node))

    def _declaration(self, name: str, call: ast.Call, node: ast.Assign) -> ir.Stmt | None:
        space = call.func.id if isinstance(call.func, ast.Name) else ""
        arguments = self._positional(call)
        keywords = self._keywords(call)
        if arguments is None or keywords is None:
            self._poison(node)
            return None
        if self._misdeclared(name, space, call):
            self.names.here.add(name)
            self._poison(node)
            return None
        dtype = "f32" if space == "acc" else ""
        if (
            arguments
            and isinstance(arguments[-1], ast.Name)
            and self._is_dtype(arguments[-1], space, arguments)
        ):
            dtype = arguments[-1].id
            arguments = arguments[:-1]
        if not dtype:
            found = f"`{shown(name)}` has no dtype"
            remedy = f"write one of {', '.join(ir.DTYPES)} after its dimensions"
            self.report.add("E108", f"{found}; {remedy}", self.loc(call))
            dtype = HOLE
        allowed = ("slots", "at") if space == "sram" else ("slots",) if space == "acc" else ()
        for key, value in keywords.items():
            if key not in allowed:
                self._unknown_keyword(space, key, allowed, value)
        dims = tuple(self.expression(argument) for argument in arguments)
        notes, loc = self.notes(node), self.loc(node)
        if space == "hbm":
            return ir.HbmDecl(name, dims, dtype, notes, loc)
        if len(dims) != 2:
            found = f"`{shown(name)}` is declared with {len(dims)} dimensions, a tile has two"
            self.report.add("E108", f"{found}; write {space}(rows, columns, dtype)", self.loc(call))
            dims = (_HOLE, _HOLE)
        slots = self.expression(keywords["slots"]) if "slots" in keywords else ir.Const(1)
        self.names.here.add(name)
        self.names.kinds[name] = _kind_of(dims[0], dims[1])
        at = self.expression(keywords["at"]) if "at" in keywords and space == "sram" else None
        return ir.TileDecl(name, space, dims[0], dims[1], dtype, slots, at, notes, loc)

    def _is_dtype(self, node: ast.Name, space: str, arguments: list[ast.expr]) -> bool:
        """Whether the last argument is meant as a dtype: it is one, or stands where one belongs."""
        if node.id in ir.DTYPES:
            return True
        misplaced = (
            len(arguments) == 3
            if space != "hbm"
            else node.id not in self.names.bound and len(arguments) > 1
        )
        return misplaced

    def _for(self, node: ast.For) -> ir.Stmt | None:
        if node.orelse:
            found = "`else` after a loop is not part of the language"
            self.report.add(
                "E104", f"{found}; put its body behind the loop", self.loc(node.orelse[0])
            )
        names = self._targets(node.target)
        call = node.iter
        kind = (
            call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
        )
        notes, loc = self.notes(node), self.loc(node)
        if kind == "cores" and isinstance(call, ast.Call):
            extents, order = self._cores(call, len(names))
            return ir.Cores(names, extents, order, self.block(node.body), notes, loc)
        if kind != "range" or not isinstance(call, ast.Call):
            found = "this loop runs over something that is neither range(...) nor cores(...)"
            self.report.add("E108", f"{found}; write `for i in range(...)`", self.loc(call))
            bounds: tuple[ir.Expr, ir.Expr, ir.Expr] = (_HOLE, _HOLE, _HOLE)
        else:
            bounds = self._range(call)
        if len(names) != 1:
            found = f"a range has one loop variable, not {len(names)}"
            self.report.add("E108", f"{found}; write `for i in range(...)`", self.loc(node.target))
            self.report.unknown.update(names)
        return ir.Loop(names[0], *bounds, self.block(node.body), notes, loc)

    def _targets(self, node: ast.expr) -> tuple[str, ...]:
        entries = list(node.elts) if isinstance(node, ast.Tuple | ast.List) else [node]
        names = []
        for entry in entries:
            if isinstance(entry, ast.Name):
                names.append(entry.id)
            else:
                self.hole("E108", "a loop variable must be a name; write `for i in ...`", entry)
                names.append(HOLE)
        return tuple(names) or (HOLE,)

    def _range(self, call: ast.Call) -> tuple[ir.Expr, ir.Expr, ir.Expr]:
        arguments, keywords = self._positional(call), self._keywords(call)
        if arguments is None or keywords is None:
            return (_HOLE, _HOLE, _HOLE)
        if keywords or not 1 <= len(arguments) <= 3:
            found = f"range is called with {len(arguments) + len(keywords)} arguments"
            remedy = (
                "write range(stop), range(start, stop) or "
                "range(start, stop, step), without keywords"
            )
            self.report.add("E108", f"{found}; {remedy}", self.loc(call))
            return (_HOLE, _HOLE, _HOLE)
        bounds = [self.expression(argument) for argument in arguments]
        if len(bounds) == 1:
            bounds.insert(0, ir.Const(0))
        return (bounds[0], bounds[1], bounds[2] if len(bounds) == 3 else ir.Const(1))

    def _cores(self, call: ast.Call, variables: int) -> tuple[tuple[ir.Expr, ...], str]:
        arguments, keywords = self._positional(call), self._keywords(call)
        if arguments is None or keywords is None:
            return (_HOLE,) * variables, "block"
        order = "block"
        for key, value in keywords.items():
            if key != "order":
                self._unknown_keyword("cores", key, ("order",), value)
            elif isinstance(value, ast.Constant) and isinstance(value.value, str):
                order = value.value
                if order not in ir.ORDERS:
                    hint = self.report.suggest(order, ir.ORDERS)
                    found = f'order="{shown(order)}" is no order of work'
                    self.report.add(
                        "E224", f"{found}; use one of {', '.join(ir.ORDERS)}{hint}", self.loc(value)
                    )
                    order = "block"
            else:
                found = "the order of work must be written as a string"
                advice = f"use one of {', '.join(ir.ORDERS)}"
                if isinstance(value, ast.Name) and value.id in ir.ORDERS:
                    advice = f'write order="{value.id}"'
                self.report.add("E224", f"{found}; {advice}", self.loc(value))
        if len(arguments) != variables or not arguments:
            found = f"cores has {len(arguments)} extents and {variables} loop variables"
            self.report.add("E108", f"{found}; write one extent for each variable", self.loc(call))
            return (_HOLE,) * variables, order
        return tuple(self.expression(argument) for argument in arguments), order

    def _with(self, node: ast.With) -> ir.Stmt | None:
        body = self.block(node.body)
        item = node.items[0]
        call = item.context_expr
        right = (
            len(node.items) == 1
            and item.optional_vars is None
            and isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id == "stage"
        )
        if not right or not isinstance(call, ast.Call):
            found = "`with` is only for `with stage(n):`"
            self.report.add("E104", f"{found}; write it so, one stage a block", self.loc(node))
            self._poison(node)
            return ir.If(_HOLE, body, (), self.notes(node), self.loc(node))
        index = (
            call.args[0].value
            if len(call.args) == 1 and isinstance(call.args[0], ast.Constant)
            else None
        )
        if (
            call.keywords
            or not isinstance(index, int)
            or isinstance(index, bool)
            or index > MAX_STAGE
        ):
            found = "a stage's number must be a literal"
            self.report.add(
                "E108", f"{found} from 0 to {MAX_STAGE}; write `with stage(0):`", self.loc(call)
            )
            return ir.If(_HOLE, body, (), self.notes(node), self.loc(node))
        return ir.Stage(index, body, self.notes(node), self.loc(node))


def _kind_of(rows: ir.Expr, cols: ir.Expr) -> str:
    if cols == ir.Const(1):
        return "r"
    return "i" if rows == ir.Const(1) else "t"
