"""Names for copies of blocks, and what a block may do at another place of the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from m890sim.kernel import ir
from m890sim.kernel.transform import copied_block, rename_block
from m890sim.language.limits import DEFAULT_LIMITS
from m890sim.schedule.core.effects import defined_by, effects_of, known_effects
from m890sim.schedule.core.memo import by_node
from m890sim.schedule.core.sizes import nodes, size_of, statements
from m890sim.schedule.core.tree import Body, contents
from m890sim.schedule.edit import Site, refuse

# Well inside the language's limits of 10,000 nodes and 32 nested blocks, so that a chain of edits
# cannot grow a kernel out of them.
MOST_STATEMENTS = 400
MOST_NODES = 9_000
MOST_NESTING = 24


class Namer:
    """Gives names that the kernel does not use, each once."""

    def __init__(self, kernel: ir.Kernel) -> None:
        self.used = {p.name for p in kernel.params} | set(kernel.symbols)
        self.used |= known_effects(*kernel.body).defines

    def fresh(self, stem: str) -> str:
        """The stem, or the stem and the least number from 2 on."""
        name, number = stem, 2
        while name in self.used:
            name = f"{stem}_{number}"
            number += 1
        self.used.add(name)
        return name


def top_names(body: Iterable[ir.Stmt]) -> list[str]:
    """Names that a block's own statements define, visible to its end."""
    return [stmt.name for stmt in body if isinstance(stmt, ir.Let | ir.TileDecl)]


def all_names(body: Iterable[ir.Stmt]) -> Iterator[str]:
    """Names that a block defines at any depth."""
    for stmt in body:
        yield from _names(stmt)


@by_node(20_000)
def _names(stmt: ir.Stmt) -> tuple[str, ...]:
    own = () if isinstance(stmt, ir.Cores) else defined_by(stmt)
    return own + tuple(name for child in ir.children(stmt) for name in _names(child))


def staged(loop: ir.Loop) -> bool:
    """Whether the loop's body stands in stages."""
    return contents(loop.body).staged


def without_stages(namer: Namer, body: Body) -> Body:
    """A block in which the statements of stages stand one after the other, in sequence."""
    if not any(isinstance(child, ir.Stage) for child in body):
        return body
    counts = Counter(all_names(body))
    flat: list[ir.Stmt] = []
    for child in body:
        if isinstance(child, ir.Stage):
            # Names of one stage are free again in the next; in one block they are not.
            names = {n: namer.fresh(n) for n in top_names(child.body) if counts[n] > 1}
            flat += copied_block(child.body, names) if names else child.body
        else:
            flat.append(child)
    return tuple(flat)


def inlined(kernel: ir.Kernel, namer: Namer, body: Body, others: int = 1) -> Body:
    """A nested block's statements as part of the block around it, under names that are free there.

    A name stays where nothing else in the whole kernel is called so: where the kernel defines it
    `others` times, which are the block itself or do no harm.
    """
    own = top_names(body)
    if not own:
        return body
    counts = Counter(all_names(kernel.body))
    clashes = {name: namer.fresh(name) for name in own if counts[name] > others}
    if not clashes:
        return body
    return rename_block(body, clashes)


def require_room(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt, copies: int, nesting: int = 1
) -> None:
    """Refuses an edit after which the kernel would be too large or too deep."""
    size = size_of(stmt)
    total = statements(kernel.body) + copies * (size.statements + 2)
    if total > MOST_STATEMENTS:
        found = f"the kernel would have {total} statements, the most is {MOST_STATEMENTS}"
        raise refuse(stmt, f"{found} for edits that copy")
    # Guards and new bounds repeat the old bounds.
    require_nodes(stmt, nodes(kernel) + copies * (size.nodes + 3 * size.own))
    depth = len(site) + size.depth + nesting
    if depth > MOST_NESTING:
        raise refuse(stmt, f"blocks would nest {depth} deep, the most is {MOST_NESTING} for edits")


def require_nodes(stmt: ir.Stmt, total: int) -> None:
    """Refuses an edit after which the kernel would have as many nodes."""
    if total > MOST_NODES:
        found = f"the kernel would have {total} nodes of the IR, the most is {MOST_NODES}"
        raise refuse(stmt, f"{found} for edits that copy")


def require_shallow(stmt: ir.Stmt, *exprs: ir.Expr) -> None:
    """Refuses expressions that are too deep for a text, or soon would be, or have large numbers."""
    if max(map(operators, exprs)) > MOST_NESTING:
        raise refuse(stmt, f"operators would nest deeper than {MOST_NESTING}, the most for edits")
    largest = max(map(_largest, exprs))
    if largest > DEFAULT_LIMITS.literal:
        found = f"the number {largest} would stand in the kernel"
        raise refuse(stmt, f"{found}, the most is {DEFAULT_LIMITS.literal}")


def operators(expr: ir.Expr) -> int:
    """How deep operators and tables stand in one another."""
    if isinstance(expr, ir.TableRef):
        return 1 + operators(expr.index)
    return 1 + max(map(operators, expr.args)) if isinstance(expr, ir.Op) else 0


def _largest(expr: ir.Expr) -> int:
    if isinstance(expr, ir.Const):
        return abs(int(expr.value))
    if isinstance(expr, ir.TableRef):
        return _largest(expr.index)
    return max(map(_largest, expr.args)) if isinstance(expr, ir.Op) else 0


def touched(body: Body) -> tuple[set[str], set[str]]:
    """Tiles and tensors that a block reads, and those that it writes; the caller's own sets."""
    reads: set[str] = set()
    writes: set[str] = set()
    for stmt in body:
        found = effects_of(stmt)
        reads |= found.reads
        writes |= found.writes
    return reads, writes
