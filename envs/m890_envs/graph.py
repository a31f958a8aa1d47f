"""A kernel as a graph of fixed size: statements and tensors, and how they hang together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from m890_envs.features import Floats
from m890_envs.features import log_size as log
from m890_envs.fields import (
    CONTAINS,
    EDGE,
    EDGES_A_NODE,
    FLOWS,
    FOLLOWS,
    NODE,
    READ_BY,
    TENSOR_NODE,
    WRITES,
)
from m890_envs.operands import NO_PIECE, HbmTensor, OperandTable, OperandUse
from m890sim.kernel import ir

_COLUMN = {field.name: number for number, field in enumerate(NODE)}
_Edge = tuple[int, int, tuple[float, ...]]  # from, to, features


def graph_arrays(own: Floats, operands: OperandTable, nodes: int) -> dict[str, Any]:
    """The arrays of a graph, by name.

    "nodes" (n, len(NODE)); "edges" int32 (2, e), from and to; "edge_features" (e, len(EDGE));
    "counts" int32 (3,). n is up to `nodes`, e up to EDGES_A_NODE * nodes.

    Node n is the statement at place n, 0 the kernel; the tensors among the parameters follow. What
    has no room is left out. own: `program_features` of all statements.
    """
    room = EDGES_A_NODE * nodes
    place_of = _places(operands, len(own))
    total = len(own) + sum(tensor.row is None for tensor in operands.tensors)
    found = np.zeros((min(total, nodes), len(NODE)), dtype=np.float32)
    statements = own[:nodes]
    found[: len(statements)] = statements
    for place, tensor in zip(place_of, operands.tensors, strict=True):
        if tensor.row is None and place < nodes:
            _describe(found[place], tensor)
    kept = [edge for edge in _edges(operands, place_of) if edge[0] < nodes and edge[1] < nodes][
        :room
    ]
    edges = np.array([edge[:2] for edge in kept], dtype=np.int32).reshape(-1, 2).T
    features = np.array([edge[2] for edge in kept], dtype=np.float32).reshape(-1, len(EDGE))
    counts = np.array([min(total, nodes), len(kept), total], dtype=np.int32)
    return {"nodes": found, "edges": edges, "edge_features": features, "counts": counts}


def _places(operands: OperandTable, statements: int) -> list[int]:
    """The node of every tensor."""
    found, place = [], statements
    for tensor in operands.tensors:
        found.append(place if tensor.row is None else tensor.row)
        place += tensor.row is None
    return found


def _describe(row: Floats, tensor: HbmTensor) -> None:
    row[_COLUMN["statement"]] = TENSOR_NODE
    row[_COLUMN["rows"]] = log(tensor.dims[0]) if tensor.dims else 1
    row[_COLUMN["columns"]] = log(tensor.dims[-1]) if tensor.dims else 1
    row[_COLUMN["dtype"]] = ir.DTYPES[tensor.dtype]


def _edges(operands: OperandTable, place_of: list[int]) -> Iterator[_Edge]:
    """In the order of the text: first the tree, then the operands."""
    blank = (0.0, 0.0, *map(float, NO_PIECE))
    for row, (parent, before) in enumerate(zip(operands.parents, operands.before, strict=True)):
        if row:
            yield parent, row, (float(CONTAINS), *blank)
        if before:
            yield before, row, (float(FOLLOWS), *blank)
    wrote: dict[int, int] = {}  # the declaration or tensor -> the last instruction that wrote it
    pending: tuple[int, int] | None = None  # a write counts for the instructions behind it alone
    for operand in operands.operands:
        if pending is not None and pending[1] != operand.row:
            wrote[pending[0]] = pending[1]
            pending = None
        node = _node(operand, place_of)
        rest = (
            float(min(operand.position, 15)),
            float(operand.transposed),
            *map(log, operand.piece),
        )
        if operand.position == 0:
            pending = node, operand.row
            yield operand.row, node, (float(WRITES), *rest)
            continue
        yield node, operand.row, (float(READ_BY), *rest)
        if node in wrote:
            yield wrote[node], operand.row, (float(FLOWS), *rest)


def _node(operand: OperandUse, place_of: list[int]) -> int:
    if operand.tile is not None:
        return operand.tile
    assert operand.tensor is not None
    return place_of[operand.tensor]
