"""Which statement an author's comment belongs to.

Alone on its line: above the next statement, or the file's footer. At the end of a statement (of a
block's first line): beside it. Inside a statement that spans lines: above it. Up to the end of the
`def` line: the header.
"""

from __future__ import annotations

import ast
import bisect
from collections import defaultdict
from dataclasses import dataclass

from m890sim.kernel import ir
from m890sim.language.source import Source


@dataclass(frozen=True, slots=True)
class PlacedComments:
    """Comments by the place (line, byte offset) of their statement, and those of no statement."""

    statements: dict[tuple[int, int], ir.Comments]
    header: tuple[str, ...]
    footer: tuple[str, ...]


def place_comments(
    source: Source, function: ast.FunctionDef, body: list[ast.stmt]
) -> PlacedComments:
    """Gives every comment of the source its place."""
    anchors = sorted(_anchors(body))
    starts = [line for line, _ in anchors]
    header_end = source.span(function.lineno)[1]
    header: list[str] = []
    footer: list[str] = []
    above: dict[tuple[int, int], list[str]] = defaultdict(list)
    beside: dict[tuple[int, int], str] = {}
    for comment in source.comments:
        if comment.line <= header_end:
            header.append(comment.text)
            continue
        first, last = source.span(comment.line)
        here = anchors[bisect.bisect_left(starts, first) : bisect.bisect_right(starts, last)]
        # Alone on its line inside a span means inside the statement's brackets.
        if here and comment.line == last and not comment.alone:
            beside[here[-1]] = comment.text
        elif here and (first < comment.line or not comment.alone):
            above[here[0]].append(comment.text)
        else:
            number = bisect.bisect_left(starts, comment.line)
            target = above[anchors[number]] if number < len(anchors) else footer
            target.append(comment.text)
    places = above.keys() | beside.keys()
    statements = {
        place: ir.Comments(tuple(above[place]), beside.get(place, "")) for place in places
    }
    return PlacedComments(statements, tuple(header), tuple(footer))


def _anchors(body: list[ast.stmt]) -> list[tuple[int, int]]:
    """Places of all statements that end up in the IR."""
    found = []
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Pass):
            found.append((node.lineno, node.col_offset))
        stack += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found
