"""What to write instead of numpy's, torch's or triton's way of saying it, as lines of a kernel."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from m890sim.isa import OPS
from m890sim.language.foreign import ABSENT
from m890sim.language.idioms import BY_NAME, TILES, Idiom
from m890sim.messages import shown

MOST_LINES = 10  # of an advice
_TEXT = 48  # characters of an operand in it
_SCRATCH = ("t", "u", "v", "w", "t1", "t2", "t3", "t4", "t5")
_WORDS = re.compile(rf"\b({'|'.join(TILES)})\b")
_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Gt: "greater",
    ast.Lt: "less",
    ast.GtE: "greater_equal",
    ast.LtE: "less_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}


NO_KINDS: Mapping[str, str] = {}


class _NoWay(Exception):
    """There is no short way to say it in the language."""


def mentions(node: ast.AST, names: frozenset[str] | set[str]) -> bool:
    """Whether one of the names stands anywhere in a piece of syntax."""
    return any(isinstance(child, ast.Name) and child.id in names for child in ast.walk(node))


def base_of(node: ast.AST) -> str:
    """The name that `name`, `name[...]` and `name.T` begin with, or nothing."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def called(node: ast.Call) -> str:
    """The last name of what is called: `exp` of `np.exp(a)`; nothing where there is none."""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def find_idiom(name: str, dotted: bool = False) -> Idiom | None:
    """The idiom of a name; dotted: it stood behind a dot, as `sum` does in `np.sum`."""
    return (BY_NAME.get(f".{name}") if dotted else None) or BY_NAME.get(name)


def written(node: ast.AST, most: int = 40) -> str:
    """The text of a piece of syntax, on one line of at most so many characters."""
    try:
        return shown(ast.unparse(node), most)
    except (ValueError, RecursionError):  # f-strings that Python itself cannot write down
        return "..."


def gives(node: ast.Call) -> bool:
    """Whether a call is of something that an instruction or an idiom does."""
    name, dotted = called(node), isinstance(node.func, ast.Attribute)
    return name in OPS or find_idiom(name, dotted) is not None


def floats(idiom: Idiom, tile: str) -> bool:
    """Whether a float may stand for a tile of an idiom, wherever the lines name it."""
    for line in idiom.lines:
        name, _, arguments = line.removesuffix(")").partition("(")
        positional = [operand for operand in OPS[name].operands if not operand.keyword]
        for operand, text in zip(positional, arguments.split(", "), strict=False):
            if text.split(".")[0].split("[")[0] == tile and not operand.value:
                return False
    return True


def remedy(name: str, arguments: Sequence[str] = (), dotted: bool = False) -> str:
    """What to do instead of calling a name that is no instruction; nothing where none is known.

    arguments: the texts of the call's, the result's tile first.
    """
    idiom = find_idiom(name, dotted)
    if idiom is None:
        return ABSENT.get(name, "")
    if len(arguments) == 1 and idiom.takes == ("dst", "a"):
        arguments = [*arguments, *arguments]  # meant in place
    given = dict(zip(idiom.takes, arguments, strict=False))
    if len(arguments) != len(idiom.takes):
        given = {}
    writer = AdviceWriter(frozenset(), frozenset(), set(given.values()))
    writer.idiom(idiom, given)
    text = writer.text(idiom.note)
    return text if given else f"for `{name}({', '.join(idiom.takes)})` {text}"


class AdviceWriter:
    """Lines that leave the value of an expression over tiles in a tile.

    tiles, tensors: the names that stand for them. taken: names that no scratch tile may have.
    kinds: "r" for tiles of one column, "i" of one row. integers: names that stand for some.
    """

    def __init__(
        self,
        tiles: frozenset[str] | set[str],
        tensors: frozenset[str],
        taken: set[str],
        kinds: Mapping[str, str] = NO_KINDS,
        integers: frozenset[str] = frozenset(),
    ) -> None:
        self.kinds, self.integers = kinds, integers
        self.tiles, self.tensors = frozenset(tiles), frozenset(tensors)
        self.arrays = self.tiles | self.tensors
        self.taken = taken
        self.lines: list[str] = []
        self.legend: dict[str, str] = {}
        self.shape = "rows, columns"  # of the result
        self.dtype = "f32"
        self.remarks: dict[str, None] = {}

    def text(self, note: str = "") -> str:
        """The lines as advice, with what their scratch tiles are."""
        lines = ", ".join(f"`{line}`" for line in self.lines)
        alike: dict[str, list[str]] = {}
        for name, what in self.legend.items():
            alike.setdefault(what, []).append(name)
        notes = [f"{', '.join(names)}: {what}" for what, names in alike.items()]
        notes += [*self.remarks, *([note] if note else [])]
        return f"write {lines}" + (f" ({'; '.join(notes)})" if notes else "")

    def scratch(self, kind: str = "t") -> str:
        """A new name for a further tile."""
        names = _SCRATCH if kind in "tu" else (kind, f"{kind}1", f"{kind}2", f"{kind}3")
        name = next((n for n in names if n not in self.taken), None)
        if name is None:
            raise _NoWay
        self.taken.add(name)
        self.legend[name] = TILES[kind]
        return name

    def emit(self, name: str, *arguments: str) -> None:
        """One more line."""
        self.lines.append(f"{name}({', '.join(arguments)})")
        if len(self.lines) > MOST_LINES:
            raise _NoWay

    def kind(self, node: ast.AST) -> str:
        """ "t" for a value with rows and columns, "r" for a column, "i" for a row, "" for a float.

        As far as the text shows it.
        """
        if not mentions(node, self.arrays):
            return ""
        if isinstance(node, ast.Name | ast.Subscript):
            return self.kinds.get(base_of(node), "t")
        if isinstance(node, ast.Attribute):
            turned = self.kind(node.value)
            return {"r": "i", "i": "r"}.get(turned, turned) if node.attr == "T" else turned
        if isinstance(node, ast.Call):
            dotted = isinstance(node.func, ast.Attribute)
            row, idiom = OPS.get(called(node)), find_idiom(called(node), dotted)
            if row is not None and idiom is None and row.operands[0].shape != "MN":
                return {"M1": "r", "1N": "i"}.get(row.operands[0].shape, "t")
            if idiom is not None and idiom.takes[0] in "ri":
                return idiom.takes[0]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            return "t"
        parts = {self.kind(part) for part in ast.iter_child_nodes(node)} - {""}
        return parts.pop() if len(parts) == 1 else "t"

    def idiom(self, idiom: Idiom, given: dict[str, str], like: str = "t") -> None:
        """The lines of an idiom with `given` in the place of its tiles; like: their kind."""
        names = given | {
            tile: self.scratch(like if tile in "tu" else tile)
            for tile in idiom.scratch
            if tile not in given
        }
        for line in idiom.lines:
            self.lines.append(_WORDS.sub(lambda found: names.get(found[1], found[1]), line))
        if len(self.lines) > MOST_LINES:
            raise _NoWay

    def into(self, node: ast.expr, target: str) -> None:
        """Lines that leave the value of `node` in the tile `target`. Raises: _NoWay."""
        if not mentions(node, self.arrays):
            self.emit("fill", target, self.value(node))
        elif self.is_leaf(node):
            load = base_of(node) in self.tensors
            self.dtype = "bf16" if load else self.dtype
            self.emit("load" if load else "copy", target, self.name(node))
        elif isinstance(node, ast.UnaryOp):
            self.unary(node, target)
        elif isinstance(node, ast.BinOp):
            self.binary(node, target)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            if type(node.ops[0]) not in _COMPARE:
                raise _NoWay
            self.named(_COMPARE[type(node.ops[0])], target, [node.left, *node.comparators])
        elif isinstance(node, ast.BoolOp) and len(node.values) == 2:
            name = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
            self.named(name, target, node.values)
        elif isinstance(node, ast.IfExp):
            self.named("where", target, [node.test, node.body, node.orelse])
        elif isinstance(node, ast.Attribute) and node.attr == "T":
            self.emit("transpose", target, self.operand(node.value))
        elif isinstance(node, ast.Call):
            self.call(node, target)
        else:
            raise _NoWay

    def unary(self, node: ast.UnaryOp, target: str) -> None:
        if isinstance(node.op, ast.USub):
            self.emit("mul", target, self.operand(node.operand), "-1.0")
        elif isinstance(node.op, ast.Not | ast.Invert):
            self.named("logical_not", target, [node.operand])
        else:
            self.emit("copy", target, self.operand(node.operand))

    def binary(self, node: ast.BinOp, target: str) -> None:
        left, right, op = node.left, node.right, node.op
        if isinstance(op, ast.BitAnd | ast.BitOr):
            name = "logical_and" if isinstance(op, ast.BitAnd) else "logical_or"
            self.named(name, target, [left, right])
        elif isinstance(op, ast.MatMult):
            self.named("dot", target, [left, right])
        elif isinstance(op, ast.Pow):
            self.power(left, right, target)
        elif type(op) not in _BINARY:
            raise _NoWay
        elif isinstance(op, ast.Add | ast.Mult) and not mentions(left, self.arrays):
            self.binary(ast.BinOp(right, op, left), target)
        elif isinstance(op, ast.Add) and _is_product(left):
            self.fused(left, right, target)
        elif isinstance(op, ast.Add) and _is_product(right):
            self.fused(right, left, target)
        elif isinstance(op, ast.Div) and isinstance(right, ast.Call) and called(right) == "sqrt":
            self.by_root(left, right, target)
        elif mentions(left, self.arrays):
            texts = self.operand(left), self.operand(right)
            self.emit(_BINARY[type(op)], target, *texts)
        elif isinstance(op, ast.Sub):
            self.emit("fma", target, self.operand(right), "-1.0", self.value(left))
        else:
            self.emit("recip", target, self.operand(right))
            if self.value(left) != "1.0":
                self.emit("mul", target, target, self.value(left))

    def by_root(self, left: ast.expr, root: ast.Call, target: str) -> None:
        """A quotient by a square root: the SFU has its inverse."""
        if len(root.args) != 1:
            raise _NoWay
        inner, value = root.args[0], not mentions(left, self.arrays)
        place = target if value else self.scratch(self.kind(inner) or "t")
        self.emit("rsqrt", place, self.operand(inner, True))
        if not value:
            self.emit("mul", target, self.operand(left), place)
        elif self.value(left) != "1.0":
            self.emit("mul", target, target, self.value(left))

    def fused(self, product: ast.expr, addend: ast.expr, target: str) -> None:
        assert isinstance(product, ast.BinOp)
        left, right = product.left, product.right
        if not mentions(left, self.arrays):
            left, right = right, left
        self.emit("fma", target, *(self.operand(each) for each in (left, right, addend)))

    def power(self, left: ast.expr, right: ast.expr, target: str) -> None:
        exponent = right.value if isinstance(right, ast.Constant) else None
        if exponent == 2:
            text = self.operand(left, True)
            self.emit("mul", target, text, text)
        elif exponent == 0.5:
            self.named("sqrt", target, [left])
        else:
            self.named("pow", target, [left, right])

    def call(self, node: ast.Call, target: str) -> None:
        """A call that is meant to give a value."""
        name, arguments = called(node), list(node.args)
        dotted = isinstance(node.func, ast.Attribute)
        if isinstance(node.func, ast.Attribute) and mentions(node.func.value, self.arrays):
            arguments.insert(0, node.func.value)
        row = OPS.get(name)
        if name in ("max", "min") and dotted and len(arguments) == 1:
            row = None  # a reduction, as numpy has it
        if row is not None:
            positional = [o for o in row.operands if not o.keyword]
            if len(arguments) == len(positional):
                arguments = arguments[1:]
            if len(arguments) != len(positional) - 1 or name == "store":
                raise _NoWay
            keywords = [f"{k.arg}={self.value(k.value)}" for k in node.keywords if k.arg]
            given = [
                self.name(each) if row.family == "dma" else self.operand(each, not spec.value)
                for each, spec in zip(arguments, positional[1:], strict=True)
            ]
            self.dtype = "bf16" if name == "load" else self.dtype
            self.emit(name, target, *given, *keywords)
            return
        if find_idiom(name, dotted) is None:
            raise _NoWay
        self.named(name, target, arguments, dotted)

    def named(
        self, name: str, target: str, arguments: Sequence[ast.expr], dotted: bool = False
    ) -> None:
        """An idiom by its name, over these operands."""
        idiom = find_idiom(name, dotted)
        if idiom is None or len(arguments) < len(idiom.takes) - 1:
            raise _NoWay
        given = {idiom.takes[0]: target}
        for tile, node in zip(idiom.takes[1:], arguments, strict=False):
            turned = idiom.names[0] == "dot" and isinstance(node, ast.Attribute)
            given[tile] = (
                self.factor(node) if turned else self.operand(node, not floats(idiom, tile))
            )
        kinds = {self.kind(node) for node in arguments} - {""}
        self.idiom(idiom, given, kinds.pop() if len(kinds) == 1 else "t")

    def operand(self, node: ast.expr, tile: bool = False) -> str:
        """The text of an operand, after lines that put it into a scratch tile if it has none.

        tile: it must be one, no float.
        """
        if not tile and not mentions(node, self.arrays):
            return self.value(node)
        if self.is_leaf(node) and base_of(node) in self.tiles:
            return self.name(node)
        name = self.scratch(self.kind(node) or "t")
        if self.is_leaf(node) and base_of(node) in self.tensors:
            self.legend[name] = "a tile of the piece's shape and dtype"
        self.into(node, name)
        return name

    def factor(self, node: ast.expr) -> str:
        """The text of an operand of matmul, which takes a transposed one."""
        turned = isinstance(node, ast.Attribute) and node.attr == "T" and self.is_leaf(node.value)
        return self.name(node) if turned else self.operand(node)

    def is_leaf(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Subscript):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.arrays

    def name(self, node: ast.expr) -> str:
        """The text of a tile or tensor; of a tile with slices for its indices."""
        if not isinstance(node, ast.Subscript) or base_of(node) not in self.tiles:
            return self.short(node)
        index = node.slice
        parts = list(index.elts) if isinstance(index, ast.Tuple) else [index]
        if any(isinstance(part, ast.Compare) or mentions(part, self.tiles) for part in parts):
            raise _NoWay
        texts = [
            self.short(part) if isinstance(part, ast.Slice) else _as_slice(part) for part in parts
        ]
        return f"{self.short(node.value)}[{', '.join(texts)}]"

    def value(self, node: ast.expr) -> str:
        """The text of a float. Raises: _NoWay for what no float is written as."""
        kinds = ast.Constant | ast.Name | ast.UnaryOp | ast.BinOp | ast.operator | ast.USub
        if not all(isinstance(c, kinds | ast.expr_context) for c in ast.walk(node)):
            raise _NoWay
        for child in ast.walk(node):
            if isinstance(child, ast.Name) and child.id in self.integers:
                self.remarks[f"{child.id} is an integer: pass it as a Scalar parameter too"] = None
        inner = node.operand if isinstance(node, ast.UnaryOp) else node
        if isinstance(inner, ast.Constant) and type(inner.value) is int:
            return f"{self.short(node)}.0"
        return self.short(node)

    def short(self, node: ast.expr) -> str:
        """The text of an operand. Raises: _NoWay where it would make no readable line."""
        text = written(node, _TEXT)
        if text.endswith("..."):
            raise _NoWay
        return text


def _as_slice(node: ast.expr) -> str:
    """An index as the slice of one."""
    text = written(node, 20)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return f"{node.value}:{node.value + 1}"
    return f"{text} : {text} + 1"


def _is_product(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)


def write(writer: AdviceWriter, node: ast.expr, target: str, piece: ast.expr | None = None) -> bool:
    """Whether there are lines that leave the value of `node` in `target`; `writer` has them.

    piece: of a tile, which then is the target.
    """
    kind = writer.kind(node)
    writer.shape = {"r": "rows, 1", "i": "1, columns"}.get(kind, "rows, columns")
    try:
        if isinstance(piece, ast.Subscript):
            target = writer.name(piece)
        writer.into(node, target)
    except _NoWay:
        return False
    return True
