"""Sizes of kernels, remembered for the statements that edited kernels share."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from m890sim.kernel import ir
from m890sim.language.limits import Limits
from m890sim.language.measure import measure, refuse_long_text

_BLOCKS = (ir.Loop, ir.Stage, ir.If, ir.Cores)
_STATEMENTS = (ir.Let, ir.TileDecl, ir.HbmDecl, ir.Instr, *_BLOCKS)


def measure_known(kernel: ir.Kernel, limits: Limits) -> None:
    """As `measure`, of a kernel whose parts have the right types. Raises: LimitError."""
    size = size_of(kernel, limits)
    if size is None:
        measure(kernel, limits)
    elif 160 * size.nodes + size.characters > limits.source_bytes:
        refuse_long_text(kernel, limits)


class NodeSize(NamedTuple):
    """How large a node and all below it are."""

    nodes: int
    characters: int  # of names, texts and comments as they print, at most
    blocks: int  # nested, itself counted
    operators: int  # nested, itself counted
    literal: int  # the largest integer, without its sign


_SIZES: dict[int, tuple[ir.Stmt, NodeSize]] = {}  # id -> (the statement, kept alive; its size)
_MOST_SIZES = 50_000
_MOST_RECURSION = 100  # blocks in blocks


def size_of(node: object, limits: Limits, around: int = 0) -> NodeSize | None:
    """The size of a kernel or statement; None where it breaks a limit, texts apart, or may do so.

    Remembered for statements, which an edited kernel shares with the one before. around: the blocks
    around it.
    """
    known = _SIZES.get(id(node))
    if known is not None and known[0] is node:
        size = known[1]
        return size if _is_within(size, limits, around) else None
    nodes = characters = literal = below = deepest = 0
    block = around + isinstance(node, _BLOCKS)
    if block > min(limits.nesting, _MOST_RECURSION):
        return None
    stack: list[tuple[object, int]] = [(node, 0)]  # (node, operators around it)
    while stack:
        each, operators = stack.pop()
        if type(each) is ir.Name:  # most nodes are names, constants and operators
            nodes += 1
            characters += 10 * len(each.id)
            continue
        if type(each) is ir.Op:
            nodes += 1
            if nodes > limits.nodes:
                return None
            operators += 1
            deepest = max(deepest, operators)
            characters += 10 * len(each.op)
            for argument in each.args:
                stack.append((argument, operators))
            continue
        if each is not node and isinstance(each, _STATEMENTS):
            if not isinstance(node, (ir.Kernel, *_BLOCKS)):
                return None  # a statement in an expression: code alone can build it
            inner = size_of(each, limits, block)
            if inner is None:
                return None
            nodes += inner.nodes
            characters += inner.characters
            literal = max(literal, inner.literal)
            deepest = max(deepest, inner.operators + operators)
            below = max(below, inner.blocks)
            continue
        nodes += 1
        if nodes > limits.nodes:
            return None
        if each is ir.FULL:
            continue
        if isinstance(each, ir.TableRef):
            operators += 1
            deepest = max(deepest, operators)
        if isinstance(each, ir.Const):
            if isinstance(each.value, int):
                literal = max(literal, abs(each.value))
            continue
        if isinstance(each, ir.Param):
            literal = max(literal, abs(each.default))
        elif isinstance(each, ir.Stage):
            literal = max(literal, abs(each.index))
        children: list[object] = []
        for name in _field_names(type(each)):
            characters += _parts(getattr(each, name), children)
        stack += [(child, operators) for child in children]
    size = NodeSize(nodes, characters, below + block - around, deepest, literal)
    if isinstance(node, _STATEMENTS):
        if len(_SIZES) >= _MOST_SIZES:
            _SIZES.clear()
        _SIZES[id(node)] = (node, size)
    return size if _is_within(size, limits, around) else None


def _is_within(size: NodeSize, limits: Limits, around: int) -> bool:
    return (
        size.nodes <= limits.nodes
        and max(size.blocks + around, size.operators) <= limits.nesting
        and size.literal <= limits.literal
    )


_LEAVES = (type(None), bool, int, float)
_FIELD_NAMES: dict[type, tuple[str, ...]] = {}


def _field_names(kind: type) -> tuple[str, ...]:
    names = _FIELD_NAMES.get(kind)
    if names is None:
        names = tuple(entry.name for entry in dataclasses.fields(kind) if entry.name != "loc")
        _FIELD_NAMES[kind] = names
    return names


def _parts(value: object, children: list[object]) -> int:
    """Adds the nodes in a field to `children`; the characters that its texts print as, at most."""
    kind = type(value)
    if kind is str:
        return 10 * len(value)  # type: ignore[arg-type]  # 10: an escape in a docstring
    if kind in _LEAVES:
        return 0
    if isinstance(value, tuple):
        return sum(_parts(element, children) for element in value)
    if value is ir.NO_COMMENTS:
        return 0
    if isinstance(value, ir.Comments):
        return sum(160 + 4 * len(line) for line in (*value.above, value.beside) if line)
    if dataclasses.is_dataclass(value):
        children.append(value)
    return 0
