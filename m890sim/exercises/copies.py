"""A digest that copies with other names share."""

from __future__ import annotations

from dataclasses import replace

from m890sim.kernel import digest, ir
from m890sim.kernel.transform import Body, Transformer


def canonical_digest(kernel: ir.Kernel) -> str:
    """SHA-256, in hex, of what a kernel does and where, whatever its own names are.

    The kernel's name, comments, and the names of tiles, scratch, scalars, loops and tunables do not
    count; queues, slots, banks, fences, stages and the order of instructions do. Names of the
    task's parameters and symbols stay.
    """
    names = _Renumbering(kernel)
    body = names.block(kernel.body)
    params = tuple(
        replace(p, name=names.known.get(p.name, p.name))
        for p in kernel.params
        if p.kind != "tunable" or p.name in names.known
    )
    return digest(
        replace(kernel, name="k", params=tuple(sorted(params, key=lambda p: p.name)), body=body)
    )


class _Renumbering(Transformer):
    """Names by numbers in the order of the text, each in its block; tunables by their first use."""

    def __init__(self, kernel: ir.Kernel) -> None:
        self.tunables = {p.name for p in kernel.params if p.kind == "tunable"}
        self.known: dict[str, str] = {}
        self.count = 0

    def define(self, name: str) -> str:
        self.count += 1
        self.known[name] = f"n{self.count}"
        return self.known[name]

    def name(self, name: str) -> str:
        return self.known.get(name, name)

    def use(self, name: ir.Name) -> ir.Expr:
        if name.id in self.tunables and name.id not in self.known:
            self.define(name.id)
        return ir.Name(self.known.get(name.id, name.id))

    def block(self, body: Body) -> Body:
        before = dict(self.known)
        found = super().block(body)
        kept = {name: number for name, number in self.known.items() if name in self.tunables}
        self.known = before | kept
        return found

    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        if isinstance(stmt, (ir.Let, ir.TileDecl, ir.HbmDecl)):
            self.define(stmt.name)
        elif isinstance(stmt, ir.Loop):
            self.define(stmt.var)
        elif isinstance(stmt, ir.Cores):
            for var in stmt.vars:
                self.define(var)
        return super().statement(stmt)
