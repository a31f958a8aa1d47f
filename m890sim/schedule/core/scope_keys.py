"""Cache keys for the integer facts at a site: while they are the same, so is every proof."""

from __future__ import annotations

from collections.abc import Iterable

from m890sim.kernel import ir
from m890sim.schedule.core.tree import find_home, node
from m890sim.schedule.edit import Site


def extents(kernel: ir.Kernel, site: Site, names: Iterable[str]) -> list[object]:
    """The extents of the tiles of these names that are visible at a place."""
    found: list[object] = []
    for name in names:
        home = find_home(kernel, site, name)
        tile = None if home is None else node(kernel, home)
        found += (tile.rows, tile.cols) if isinstance(tile, ir.TileDecl) else (None,)
    return found
