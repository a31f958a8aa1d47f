"""Cache keys for the integer facts at a site: while they are the same, so is every proof."""

from __future__ import annotations

from collections.abc import Iterable

from m890sim.kernel import ir
from m890sim.kernel.transform import header
from m890sim.schedule.core.effects import defined_by
from m890sim.schedule.core.tree import find_home, latest, levels, node
from m890sim.schedule.edit import Site


def surroundings(kernel: ir.Kernel, site: Site) -> tuple[object, ...]:
    """What is known of integers at a place whatever the values of the tunables.

    Dimensions, scalars and scratch defined above it, and the headers of the blocks around it.
    """
    index = latest(kernel)
    if index is None:
        return _surroundings(kernel, site)
    known = index.known.get(site)
    if known is None:
        known = index.known[site] = _surroundings(kernel, site)
    return known


def _surroundings(kernel: ir.Kernel, site: Site) -> tuple[object, ...]:
    found: list[object] = [param.dims for param in kernel.params]
    for at, body, place in reversed([*levels(kernel, site)]):
        found += [stmt for stmt in body[:place] if isinstance(stmt, (ir.Let, ir.HbmDecl))]
        if len(at) < len(site):
            around = body[place]
            found += (type(around), *header(around), *defined_by(around))
            if isinstance(around, ir.If):
                found.append(site[len(at)] < len(around.then))
    return tuple(found)


def extents(kernel: ir.Kernel, site: Site, names: Iterable[str]) -> list[object]:
    """The extents of the tiles of these names that are visible at a place."""
    found: list[object] = []
    for name in names:
        home = find_home(kernel, site, name)
        tile = None if home is None else node(kernel, home)
        found += (tile.rows, tile.cols) if isinstance(tile, ir.TileDecl) else (None,)
    return found
