"""Assignments of values to tiles, which numpy has and the language has not."""

from __future__ import annotations

import ast

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.language.advice import (
    base_of,
    called,
    find_idiom,
    gives,
    mentions,
    remedy,
    write,
    written,
)
from m890sim.language.calls import Calls
from m890sim.language.foreign import ABSENT, DTYPE_NAMES, INTEGERS
from m890sim.language.reserved import BLOCKS, DECLARATIONS, FUNCTIONS, RESERVED
from m890sim.messages import shown


def free(name: str) -> str:
    """A name for messages that proposes no word of the language."""
    return f"{name}_tile" if name in RESERVED else shown(name, 48)


class Assignments(Calls):
    """Reports assignments and conditions that ask for the values of tiles."""

    def _assigns_tile(self, target: ast.expr, value: ast.expr) -> bool:
        """Whether an assignment is one of values to a tile, which the language does not have."""
        function = value.func if isinstance(value, ast.Call) else None
        if isinstance(function, ast.Name) and function.id in (*DECLARATIONS, *BLOCKS):
            return False
        if isinstance(target, ast.Subscript):
            return self._of_arrays(target)
        if not isinstance(target, ast.Name):
            return False
        literal = isinstance(value, ast.Constant) and type(value.value) in (int, float)
        return (literal and target.id in self.names.here) or self._is_tile_value(value)

    def _misdeclared(self, name: str, space: str, call: ast.Call) -> bool:
        """Reports a declaration with a tuple for its shape, or with names for its arguments."""
        keywords = {keyword.arg or "": keyword.value for keyword in call.keywords}
        first = call.args[0] if call.args else keywords.get("shape")
        shape, rest = [*call.args[:2]], [*call.args[2:]]
        if isinstance(first, ast.Tuple | ast.List):
            shape, rest = list(first.elts), [*call.args[1:]]
        named = [keywords[key] for key in ("rows", "cols", "columns") if key in keywords]
        dtypes = [*rest, *([keywords["dtype"]] if "dtype" in keywords else [])]
        usual = (
            not named and "dtype" not in keywords and not isinstance(first, ast.Tuple | ast.List)
        )
        if usual or space == "hbm":
            return False
        sizes = [written(each) for each in (*shape, *named)] or ["rows", "columns"]
        dtype = [written(each) for each in dtypes] if space == "sram" else []
        dtype = [DTYPE_NAMES.get(each.split(".")[-1], each) for each in dtype]
        others = [f"{key}={written(keywords[key])}" for key in ("slots", "at") if key in keywords]
        dtype = dtype or (["bf16"] if space == "sram" else [])
        text = f"{shown(name, 40)} = {space}({', '.join([*sizes, *dtype, *others])})"
        found = f"`{shown(name, 40)}` is declared with names or a tuple for its arguments"
        self.report.add("E108", f"{found}; write `{text}`", self.loc(call))
        return True

    def _condition(self, node: ast.expr) -> ir.Expr:
        if not mentions(node, self.names.here):
            return self.expression(node)
        found = f"the condition `{written(node)}` asks for values in a tile"
        remedy = "values never decide what runs: compute both sides and choose by a mask, as in "
        return self.hole("E204", f"{found}; {remedy}`where` of docs/language.md, Idioms", node)

    def _of_arrays(self, node: ast.expr) -> bool:
        """Whether an assignment to this would change a tile or a tensor."""
        return base_of(node) in self.names.here or (
            isinstance(node, ast.Subscript) and base_of(node) in self.names.tensors
        )

    def _is_tile_value(self, value: ast.expr) -> bool:
        """Whether a name is meant to get the values of tiles, or a piece of a tensor."""
        if isinstance(value, ast.Call):
            function = value.func
            if isinstance(function, ast.Name) and function.id in OPS:
                return function.id not in FUNCTIONS or mentions(value, self.names.here)
            arrays = {*self.names.here, *self.names.tensors}
            known = gives(value) or called(value) in ABSENT
            return known and mentions(value, arrays)
        whole = value.value if isinstance(value, ast.Subscript) else None
        if isinstance(whole, ast.Name) and whole.id in self.names.tensors:
            return True
        if isinstance(value, ast.Name | ast.Subscript):
            return base_of(value) in self.names.here
        return self.computes(value) or (
            isinstance(value, ast.Attribute) and value.attr == "T" and self.computes(value.value)
        )

    def _tile_assignment(self, node: ast.stmt, target: ast.expr, value: ast.expr) -> None:
        """Reports an assignment of values to a tile: instructions write tiles."""
        writer = self.writer()
        name = free(written(target, 48))
        tensor = base_of(target) in self.names.tensors
        place = writer.scratch() if tensor else name
        new = not self._of_arrays(target)
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Subscript):
            known = False
        elif tensor and isinstance(value, ast.Name) and value.id in self.names.here:
            writer.legend.clear()
            place = value.id
            known = True
        else:
            known = write(writer, value, place, target if not tensor else None)
        if tensor:
            writer.lines.append(f"store({name}, {place})")
        if base_of(value) in {*self.names.here, *self.names.tensors} and not isinstance(
            value, ast.Attribute
        ):
            found = f"`{written(value)}` cannot be assigned: a name is no copy"
        elif not mentions(value, {*self.names.here, *self.names.tensors}) and not isinstance(
            value, ast.Call
        ):
            found = "a tile is not assigned to: an instruction fills it"
        else:
            found = self.working(value)
        code = "E108" if isinstance(value, ast.Call) else "E204"
        kind = f"sram({writer.shape}, {writer.dtype})"
        declare = f"declare `{name} = {kind}` first, then " if new else ""
        self._poison_new(node)
        if isinstance(target, ast.Name) and new:
            self.names.here.add(name)  # meant as a tile: what follows is read so
            self.names.kinds[name] = writer.kind(value)
        if known:
            self.report.add(code, f"{found}; {declare}{writer.text()}", self.loc(value))
            return
        advice = ""
        if isinstance(value, ast.IfExp) and not mentions(value.test, self.names.here):
            branches = [f"`copy({name}, {written(each)})`" for each in (value.body, value.orelse)]
            advice = f"write `if {written(value.test)}:` with {branches[0]} in it, "
            advice += f"and {branches[1]} below `else:`"
        elif isinstance(value, ast.Call):
            advice = remedy(called(value), (), isinstance(value.func, ast.Attribute))
            row = OPS.get(called(value))
            if row is not None and not advice:
                advice = f"write {row.signature} as a statement, with the result's tile first"
        if isinstance(target, ast.Subscript) and mentions(target.slice, self.names.here):
            advice = "an index is no mask: choose by a tile of 1 and 0, as in `where` of "
            advice += "docs/language.md, Idioms"
        advice = advice or "compute it by instructions, one a line (`m890 isa` lists them)"
        self.report.add(code, f"{found}; {advice}", self.loc(value))

    def _poison_new(self, node: ast.stmt) -> None:
        """As `_poison`, but for tiles and tensors, which are declared elsewhere."""
        known = self.report.unknown & {*self.names.here, *self.names.tensors}
        self._poison(node)
        self.report.unknown -= {*self.names.here, *self.names.tensors} - known

    def _call_assignment(self, node: ast.Assign, name: str, call: ast.Call) -> None:
        """Reports the assignment of a call that gives no integer and is of no tile."""
        function = called(call)
        idiom = find_idiom(function)
        if idiom is not None and idiom.takes == ("dst",):
            lines = remedy(function, [free(name)])
            found = f"`{shown(function)}(...)` gives no value"
            declare = f"declare `{free(name)} = sram(rows, columns, f32)` first, then {lines}"
            self.report.add("E108", f"{found}; {declare}", self.loc(call))
            self._poison_new(node)
            self.names.here.add(name)
            return
        known = (*DECLARATIONS, *FUNCTIONS)
        hint = self.report.suggest(function, known)
        advice = INTEGERS.get(function) or ABSENT.get(function)
        if advice is None and idiom is not None:
            advice = f"declare the tile `{shown(name)}` first, then {remedy(function)}"
        if advice is None:
            advice = f"what can is {', '.join(known)}{hint}"
        found = f"`{shown(function)}(...)` cannot be assigned"
        self.report.add("E104", f"{found}; {advice}", self.loc(call))
        self._poison_new(node)
