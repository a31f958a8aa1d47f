"""Paths into a kernel: read, replace and walk statements; nodes are shared with the old kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.schedule.edit import EditError, Site

Body = tuple[ir.Stmt, ...]


def node(kernel: ir.Kernel, site: Site) -> ir.Stmt:
    """The statement at a site. Raises: EditError where there is none."""
    body: Body = kernel.body
    found: ir.Stmt | None = None
    for index in site:
        if not 0 <= index < len(body):
            raise EditError(f"there is no statement at {'.'.join(map(str, site))}")
        found = body[index]
        body = ir.children(found)
    if found is None:
        raise EditError("the edit acts on a statement, not on the kernel")
    return found


def sites(kernel: ir.Kernel) -> Iterator[tuple[Site, ir.Stmt]]:
    """Every statement with its site, in source order, parents first."""

    def below(body: Body, prefix: Site) -> Iterator[tuple[Site, ir.Stmt]]:
        for index, stmt in enumerate(body):
            yield (*prefix, index), stmt
            yield from below(ir.children(stmt), (*prefix, index))

    yield from below(kernel.body, ())


def parents(kernel: ir.Kernel, site: Site) -> list[ir.Stmt]:
    """The statements around a site, outermost first."""
    return [node(kernel, site[:n]) for n in range(1, len(site))]


def block(kernel: ir.Kernel, site: Site) -> tuple[Body, int]:
    """The block that a statement stands in (a body, or one branch of an If) and its place there."""
    if len(site) == 1:
        return kernel.body, site[0]
    parent = node(kernel, site[:-1])
    if isinstance(parent, ir.If):
        branch = parent.then if site[-1] < len(parent.then) else parent.orelse
        return branch, site[-1] - (0 if branch is parent.then else len(parent.then))
    return ir.children(parent), site[-1]


def with_children(stmt: ir.Stmt, body: Body, first: int, removed: int, added: Body) -> ir.Stmt:
    """A statement whose children `first` to `first + removed` are replaced by `added`."""
    if isinstance(stmt, ir.If):
        split = len(stmt.then)
        changed = body[:first] + added + body[first + removed :]
        # What replaces children of a branch stays in that branch.
        if first < split or (first == split and removed == 0 and not stmt.orelse):
            split += len(added) - removed
        return dataclasses.replace(stmt, then=changed[:split], orelse=changed[split:])
    if isinstance(stmt, (ir.Loop, ir.Stage, ir.Cores)):
        return dataclasses.replace(stmt, body=body[:first] + added + body[first + removed :])
    raise EditError("this statement has no statements inside")


def replace(kernel: ir.Kernel, site: Site, *added: ir.Stmt, count: int = 1) -> ir.Kernel:
    """The kernel with `count` statements from `site` on replaced by `added` (none: removed)."""
    return _splice(kernel, site, count, added)


def insert(kernel: ir.Kernel, site: Site, *added: ir.Stmt) -> ir.Kernel:
    """The kernel with statements put before the one at `site`."""
    return _splice(kernel, site, 0, added)


def _splice(kernel: ir.Kernel, site: Site, count: int, added: Body) -> ir.Kernel:
    if not site:
        raise EditError("the edit acts on a statement, not on the kernel")

    def inside(body: Body, path: Site, parent: ir.Stmt | None) -> Body | ir.Stmt:
        index = path[0]
        if len(path) == 1:
            if parent is None:
                return body[:index] + added + body[index + count :]
            return with_children(parent, body, index, count, added)
        child = body[index]
        changed = inside(ir.children(child), path[1:], child)
        if isinstance(changed, tuple):
            raise EditError("this statement has no statements inside")
        if parent is None:
            return (*body[:index], changed, *body[index + 1 :])
        return with_children(parent, body, index, 1, (changed,))

    body = inside(kernel.body, site, None)
    if not isinstance(body, tuple):
        raise EditError("the edit left no kernel")
    return dataclasses.replace(kernel, body=body)


# ---- expressions and names ----


def substitute(expr: ir.Expr, names: dict[str, ir.Expr]) -> ir.Expr:
    """The expression with names replaced by expressions."""
    if isinstance(expr, ir.Name):
        return names.get(expr.id, expr)
    if isinstance(expr, ir.Op):
        return ir.Op(expr.op, tuple(substitute(a, names) for a in expr.args))
    if isinstance(expr, ir.TableRef):
        return ir.TableRef(expr.table, substitute(expr.index, names))
    return expr


def names_of(kernel: ir.Kernel) -> set[str]:
    """Every name that the kernel uses for anything."""
    found = {p.name for p in kernel.params} | set(kernel.symbols)
    for _, stmt in sites(kernel):
        if isinstance(stmt, (ir.Let, ir.TileDecl, ir.HbmDecl)):
            found.add(stmt.name)
        elif isinstance(stmt, ir.Loop):
            found.add(stmt.var)
        elif isinstance(stmt, ir.Cores):
            found.update(stmt.vars)
    return found


def fresh(kernel: ir.Kernel, stem: str) -> str:
    """A name that the kernel does not use: the stem, or the stem and a number."""
    used = names_of(kernel)
    if stem not in used:
        return stem
    number = 2
    while f"{stem}_{number}" in used:
        number += 1
    return f"{stem}_{number}"
