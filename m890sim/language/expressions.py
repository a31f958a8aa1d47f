"""From Python's syntax tree to expressions, slices and operands; every other node is refused."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.language.advice import AdviceWriter, called, gives, mentions, remedy, write, written
from m890sim.language.foreign import ABSENT, INTEGERS
from m890sim.language.report import HOLE, Report
from m890sim.language.source import Source
from m890sim.messages import shown

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_CALLS = {"min": 2, "max": 2, "ceil_div": 2}  # name -> least number of arguments

# What a user wrote, in words, and what to write instead.
_REFUSED: dict[type[ast.AST], tuple[str, str]] = {
    ast.Attribute: ("an attribute", "the only attribute is `.T` on a tile that matmul reads"),
    ast.Subscript: ("an index on something that is no name", "index a tile, tensor or table"),
    ast.Call: ("a call of the result of a call", "call a word of the language by its name"),
    ast.Lambda: ("a lambda", "write the expression where it is used"),
    ast.NamedExpr: ("`:=`", "write an assignment on a line of its own"),
    ast.ListComp: ("a comprehension", "write a loop"),
    ast.SetComp: ("a comprehension", "write a loop"),
    ast.DictComp: ("a comprehension", "write a loop"),
    ast.GeneratorExp: ("a generator", "write a loop"),
    ast.IfExp: ("a conditional expression", "use `if` or min and max"),
    ast.JoinedStr: ("an f-string", "there are no strings in expressions"),
    ast.FormattedValue: ("an f-string", "there are no strings in expressions"),
    ast.Starred: ("`*` before an argument", "write the arguments one by one"),
    ast.List: ("a list", "use scalars or a launch table"),
    ast.Tuple: ("a tuple", "write its elements one by one"),
    ast.Dict: ("a dict", "use scalars or a launch table"),
    ast.Set: ("a set", "use scalars or a launch table"),
    ast.Await: ("`await`", "use plain statements"),
    ast.Yield: ("`yield`", "use plain statements"),
    ast.YieldFrom: ("`yield from`", "use plain statements"),
    ast.Slice: ("a slice", "slices stand only inside the brackets of a tile or a tensor"),
}


@dataclass(slots=True)
class Names:
    """Which names of the file stand for what; enough to tell operands apart, checked later."""

    tensors: dict[str, int] = field(
        default_factory=dict
    )  # parameters and HBM scratch -> dimensions
    tables: set[str] = field(default_factory=set)
    tiles: set[str] = field(default_factory=set)
    bound: frozenset[str] = frozenset()  # every name that the file defines
    kinds: dict[str, str] = field(default_factory=dict)  # tiles of one column "r", of one row "i"
    integers: set[str] = field(default_factory=set)  # of the parameters and their dimensions
    here: set[str] = field(default_factory=set)  # tiles visible at the statement that is read


class Expressions:
    """Reads expressions and operands, reporting what it refuses."""

    def __init__(self, source: Source, report: Report, names: Names) -> None:
        self.source = source
        self.report = report
        self.names = names

    def loc(self, node: ast.AST) -> ir.SourceLoc:
        return self.source.loc(node)

    def hole(self, code: str, message: str, node: ast.AST) -> ir.Name:
        """Reports an error and stands in for the part that has it."""
        self.report.add(code, message, self.loc(node))
        return ir.Name(HOLE)

    def refuse(self, node: ast.AST) -> ir.Name:
        """Reports a node that the language does not have."""
        if isinstance(node, ast.Attribute) and node.attr in ABSENT:
            found = f"`.{node.attr}` is not part of the language; {ABSENT[node.attr]}"
            return self.hole("E104", found, node)
        what, instead = _REFUSED.get(
            type(node), (f"`{type(node).__name__}`", "see the language manual for what there is")
        )
        return self.hole("E104", f"{what} is not part of the language; {instead}", node)

    def expression(self, node: ast.expr, real: bool = False) -> ir.Expr:
        """An integer expression, or with `real` a float one."""
        result = self._expression(node, real)
        self.report.place(result, self.loc(node))
        return result

    def _expression(self, node: ast.expr, real: bool) -> ir.Expr:
        if isinstance(node, ast.Constant):
            return self._literal(node, node.value, real)
        if isinstance(node, ast.Name):
            return ir.Name(node.id)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node, real)
        if isinstance(node, ast.BinOp):
            operator = _BINARY.get(type(node.op))
            if operator is None:
                found = f"the operator `{_symbol(node.op)}` is not part of the language"
                return self.hole("E104", f"{found}; use + - * // % min max ceil_div", node)
            return ir.Op(
                operator, (self.expression(node.left, real), self.expression(node.right, real))
            )
        if isinstance(node, ast.BoolOp):
            return self._left(
                "and" if isinstance(node.op, ast.And) else "or", node, list(node.values), real
            )
        if isinstance(node, ast.Compare):
            return self._comparison(node, real)
        if isinstance(node, ast.Call):
            return self._call(node, real)
        if isinstance(node, ast.Subscript):
            return self._table(node)
        return self.refuse(node)

    def _literal(self, node: ast.expr, value: object, real: bool) -> ir.Expr:
        if isinstance(value, float) and not math.isfinite(value):
            return self.hole("E110", "this literal is too large for a float; write inf", node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            if value is Ellipsis:
                return self.hole(
                    "E104", "`...` is not part of the language; complete the code", node
                )
            if isinstance(value, str) and value.isidentifier() and len(value) < 40:
                found = "a string cannot stand here"
                return self.hole("E110", f"{found}; write {value} without quotes", node)
            kind = {str: "a string", bytes: "a string", complex: "a complex number"}.get(
                type(value), f"`{value}`"
            )
            return self.hole("E110", f"{kind} cannot stand here; write a number", node)
        return ir.Const(float(value) if real else value)

    def _unary(self, node: ast.UnaryOp, real: bool) -> ir.Expr:
        operand = node.operand
        if isinstance(node.op, ast.Not):
            return ir.Op("not", (self.expression(operand, real),))
        if not isinstance(node.op, ast.USub):
            found = f"the operator `{_symbol(node.op)}` is not part of the language"
            return self.hole("E104", f"{found}; leave it out", node)
        if isinstance(operand, ast.Constant):
            value = operand.value
            if isinstance(value, int | float) and not isinstance(value, bool):
                return self._literal(node, -value, real)
        return ir.Op("-", (ir.Const(0), self.expression(operand, real)))

    def _left(self, name: str, node: ast.expr, values: list[ast.expr], real: bool) -> ir.Expr:
        """An operator of several operands, nested to the left."""
        result = self.expression(values[0], real)
        for value in values[1:]:
            result = ir.Op(name, (result, self.expression(value, real)))
            self.report.place(result, self.loc(node))
        return result

    def _comparison(self, node: ast.Compare, real: bool) -> ir.Expr:
        operator = _COMPARE.get(type(node.ops[0]))
        if operator is None:
            found = "`in` and `is` are not part of the language"
            return self.hole("E104", f"{found}; use < <= > >= == !=", node)
        if len(node.ops) > 1:
            found = "a chain of comparisons is not part of the language"
            return self.hole("E104", f"{found}; write `a < b and b < c`", node)
        left, right = self.expression(node.left, real), self.expression(node.comparators[0], real)
        return ir.Op(operator, (left, right))

    def _call(self, node: ast.Call, real: bool) -> ir.Expr:
        if isinstance(node.func, ast.Attribute) and node.func.attr in INTEGERS:
            found = f"`{written(node.func)}` is not part of the language"
            return self.hole("E104", f"{found}; {INTEGERS[node.func.attr]}", node)
        if isinstance(node.func, ast.Attribute):
            name, found = node.func.attr, f"`{written(node.func)}` is not part of the language"
            advice = remedy(name, (), True)
            if name in OPS and not real:
                advice = f"write {OPS[name].signature} on a line of its own"
            if advice:
                return self.hole("E104", f"{found}; {advice}", node)
        if not isinstance(node.func, ast.Name):
            return self.refuse(node.func)
        name = node.func.id
        if name not in _CALLS:
            found = f"the call of `{shown(name)}` cannot stand in an expression"
            advice = INTEGERS["float"] if real else instead_of_call(name)
            return self.hole("E104", f"{found}; {advice}", node)
        arguments = list(node.args)
        for argument in arguments:
            if isinstance(argument, ast.Starred):
                return self.refuse(argument)
        many = name != "ceil_div" and len(arguments) > 2
        if node.keywords or not (len(arguments) == 2 or many):
            found = f"{name} is called with {len(arguments) + len(node.keywords)} arguments"
            number = "two" if name == "ceil_div" else "two or more"
            return self.hole("E108", f"{found}; it takes {number}, without keywords", node)
        return self._left(name, node, arguments, real)

    def _table(self, node: ast.Subscript) -> ir.Expr:
        if not isinstance(node.value, ast.Name):
            return self.refuse(node.value)
        name = node.value.id
        if isinstance(node.slice, ast.Slice | ast.Tuple):
            found = f"`{shown(name)}[...]` with a slice or several indices is no scalar"
            return self.hole("E109", f"{found}; write one integer index into a launch table", node)
        return ir.TableRef(name, self.expression(node.slice))

    def operand(self, node: ast.expr, value: bool) -> ir.Operand:
        """A tile, tensor or (where `value` says so) float operand."""
        result = self._operand(node, value)
        self.report.place(result, self.loc(node))
        return result

    def _operand(self, node: ast.expr, value: bool) -> ir.Operand:
        loc = self.loc(node)
        if self.computes(node):
            return self._computed(node)
        if isinstance(node, ast.Attribute):
            return self._transposed(node, value)
        if isinstance(node, ast.Name):
            if node.id in self.names.tensors:
                return ir.TensorRef(node.id, (ir.FULL,) * self.names.tensors[node.id], loc)
            if value and node.id not in self.names.tiles:
                return ir.Name(node.id)
            return ir.TileRef(node.id, loc=loc)
        if isinstance(node, ast.Subscript):
            return self._indexed(node, loc)
        expression = self._expression(node, True)
        if isinstance(expression, ir.TableRef):  # pragma: no cover - a Subscript, handled above
            return ir.Name(HOLE)
        return expression

    def computes(self, node: ast.expr) -> bool:
        """Whether an expression asks for the values of tiles: an operator or a call on them."""
        if isinstance(node, ast.Call):
            known = gives(node) or called(node) in ABSENT
            return known and mentions(node, self.names.here)
        kinds = ast.UnaryOp | ast.BinOp | ast.Compare | ast.BoolOp | ast.IfExp
        return isinstance(node, kinds) and mentions(node, self.names.here)

    def writer(self) -> AdviceWriter:
        """For advice with the names of this file."""
        names = self.names
        taken = {*names.bound, *names.tiles}
        tensors = frozenset(names.tensors)
        return AdviceWriter(names.here, tensors, taken, names.kinds, frozenset(names.integers))

    def working(self, node: ast.expr) -> str:
        """What is wrong with an expression on tiles, in words."""
        if isinstance(node, ast.Call):
            name = written(node.func)
            if not gives(node):
                return f"`{name}(...)` is not part of the language"
            return f"`{name}(...)` gives no value: an instruction leaves its result in a tile"
        if isinstance(node, ast.Attribute):
            return f"`{written(node)}` is not part of the language"
        return f"`{written(node)}` works on tiles, and tiles have no operators"

    def _computed(self, node: ast.expr) -> ir.Name:
        """Reports an operand that must first be computed into a tile."""
        writer = self.writer()
        target = writer.scratch(writer.kind(node) or "t")
        found = self.working(node)
        if write(writer, node, target):
            return self.hole("E204", f"{found}; {writer.text()} and give `{target}`", node)
        if isinstance(node, ast.Call):
            known = remedy(called(node), (), isinstance(node.func, ast.Attribute))
            if known:
                return self.hole("E204", f"{found}; {known}", node)
        found += "; compute it into a tile of its own by instructions (`m890 isa` lists them)"
        return self.hole("E204", found, node)

    def _transposed(self, node: ast.Attribute, value: bool) -> ir.Operand:
        if node.attr != "T":
            return self.refuse(node)
        inner = self._operand(node.value, False)
        if isinstance(inner, ir.TileRef) and not inner.transposed:
            return ir.TileRef(inner.tile, inner.rows, inner.cols, True, self.loc(node))
        if inner == ir.Name(HOLE):
            return inner
        return self.hole("E104", "`.T` can follow a tile once, nothing else; leave it out", node)

    def _indexed(self, node: ast.Subscript, loc: ir.SourceLoc) -> ir.Operand:
        if not isinstance(node.value, ast.Name):
            return self.refuse(node.value)
        name = node.value.id
        entries = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name in self.names.tensors:
            return ir.TensorRef(name, tuple(self._index(entry) for entry in entries), loc)
        if name in self.names.tables:
            found = (
                f"an element of the launch table `{name}` is an "
                "integer, here a tile or a float is due"
            )
            return self.hole("E227", f"{found}; pass it as a Scalar parameter instead", node)
        if len(entries) > 2:
            found = f"`{shown(name)}` has {len(entries)} indices, a tile has rows and columns"
            return self.hole("E109", f"{found}; write at most two", node)
        slices = [self._tile_slice(name, entry) for entry in entries]
        return ir.TileRef(name, slices[0], slices[1] if len(slices) > 1 else ir.FULL, False, loc)

    def _tile_slice(self, name: str, node: ast.expr) -> ir.Slice:
        if isinstance(node, ast.Slice):
            return self.slice(node)
        found = f"`{shown(name)}` has an index that is no slice"
        at = written(node, 24)
        plain = isinstance(node, ast.Constant | ast.Name)
        example = f"`{at} : {at} + 1`" if plain else "`start : stop`"
        self.hole("E109", f"{found}; a piece of a tile is written with slices: {example}", node)
        return ir.Slice(ir.Name(HOLE), ir.Name(HOLE))

    def slice(self, node: ast.Slice) -> ir.Slice:
        """`start:stop:step`, each an integer expression or absent."""
        parts = [
            None if part is None else self.expression(part)
            for part in (node.lower, node.upper, node.step)
        ]
        result = ir.Slice(*parts)
        self.report.place(result, self.loc(node))
        return result

    def _index(self, node: ast.expr) -> ir.Slice | ir.Gather | ir.Expr:
        if isinstance(node, ast.Slice):
            return self.slice(node)
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and isinstance(node.slice, ast.Slice)
        ):
            return self._gather(node.value.id, node.slice, node)
        if isinstance(node, ast.Constant) and node.value is Ellipsis:
            found = "`...` is no index"
            return self.hole("E109", f"{found}; write one index or slice a dimension", node)
        return self.expression(node)

    def _gather(self, table: str, node: ast.Slice, whole: ast.expr) -> ir.Gather | ir.Name:
        if node.upper is None or node.step is not None:
            found = f"the gather through `{shown(table)}` has " + (
                "no end" if node.upper is None else "a step"
            )
            return self.hole("E109", f"{found}; write `{shown(table)}[start : stop]`", whole)
        start = ir.Const(0) if node.lower is None else self.expression(node.lower)
        result = ir.Gather(table, start, self.expression(node.upper))
        self.report.place(result, self.loc(whole))
        return result


def instead_of_call(name: str) -> str:
    """What to do instead of calling a name in an expression, where no tile stands."""
    return INTEGERS.get(name) or ABSENT.get(name) or "the functions are min, max and ceil_div"


def expression_depth(node: ast.AST) -> tuple[int, ast.AST]:
    """Depth of the deepest expression in the tree, and where it is; without recursion."""
    deepest, place = 0, node
    stack: list[tuple[ast.AST, int]] = [(node, 0)]
    while stack:
        current, depth = stack.pop()
        if depth > deepest:
            deepest, place = depth, current
        for child in ast.iter_child_nodes(current):
            stack.append((child, depth + 1 if isinstance(child, ast.expr) else depth))
    return deepest, place


_SYMBOLS: Mapping[type[ast.AST], str] = {
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitOr: "|",
    ast.BitAnd: "&",
    ast.BitXor: "^",
    ast.UAdd: "+",
    ast.Invert: "~",
}


def _symbol(node: ast.AST) -> str:
    return _SYMBOLS.get(type(node), type(node).__name__)
