"""Tiles and their pieces: values, and exactly which elements were written.

Kernels write rectangles that grow, so a tile remembers one written rectangle; only where the
written elements are no rectangle does it keep a boolean mask. Checking a read is then a few
comparisons.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m890sim.errors import ExecutionError
from m890sim.execute.domain import Array, Domain
from m890sim.execute.scalars import Code, Env, Scalar, Site, as_code


class Tile:
    """A declared tile. Each pass through its declaration makes it undefined again (`renew`).

    Written elements: rows top to bottom - 1 of columns left to right - 1, or `mask` where that is
    not None. `whole`: all of them, which is what most reads want to know. `lent`: `array` shows a
    tensor's elements, in runs in batches.
    """

    __slots__ = (
        "name",
        "rows",
        "cols",
        "dtype",
        "array",
        "top",
        "bottom",
        "left",
        "right",
        "mask",
        "whole",
        "turn",
        "lent",
    )

    def __init__(self, name: str, rows: int, cols: int, dtype: str, array: Array) -> None:
        self.name, self.rows, self.cols, self.dtype, self.array = name, rows, cols, dtype, array
        self.top = self.bottom = self.left = self.right = 0
        self.mask: NDArray[np.bool_] | None = None
        self.whole = self.lent = False
        self.turn = 0

    def renew(self, env: Env) -> None:
        """A new tile in the same memory, since nobody can name the old one: nothing is written."""
        self.turn += 1
        self.whole = False
        self.mask = None
        self.top = self.bottom = 0

    def covers(self, r0: int, r1: int, step: int, c0: int, c1: int) -> bool:
        """Whether every element of a piece has been written."""
        if self.whole or r0 >= r1 or c0 >= c1:
            return True
        if self.mask is None:
            last = r1 - (r1 - r0 - 1) % step  # one behind the last row that is read
            return self.top <= r0 and last <= self.bottom and self.left <= c0 and c1 <= self.right
        return bool(self.mask[r0:r1:step, c0:c1].all())

    def mark(self, r0: int, r1: int, step: int, c0: int, c1: int) -> None:
        """Note that a piece is written."""
        if self.whole or r0 >= r1 or c0 >= c1:
            return
        if self.mask is None and (step == 1 or r1 - r0 == 1):
            if self.top == self.bottom or (
                r0 <= self.top and self.bottom <= r1 and c0 <= self.left and self.right <= c1
            ):
                self.top, self.bottom, self.left, self.right = r0, r1, c0, c1
            elif self.left == c0 and self.right == c1 and r0 <= self.bottom and self.top <= r1:
                self.top, self.bottom = min(self.top, r0), max(self.bottom, r1)
            elif self.top == r0 and self.bottom == r1 and c0 <= self.right and self.left <= c1:
                self.left, self.right = min(self.left, c0), max(self.right, c1)
            elif not (
                self.top <= r0 and r1 <= self.bottom and self.left <= c0 and c1 <= self.right
            ):
                self._mark_mask(r0, r1, step, c0, c1)
                return
            self.whole = self.bottom - self.top == self.rows and self.right - self.left == self.cols
        elif not self.covers(r0, r1, step, c0, c1):
            self._mark_mask(r0, r1, step, c0, c1)

    def _mark_mask(self, r0: int, r1: int, step: int, c0: int, c1: int) -> None:
        mask = self.written() if self.mask is None else self.mask
        mask[r0:r1:step, c0:c1] = True
        self.mask = mask
        if mask.all():
            self.whole, self.mask = True, None

    def written(self) -> NDArray[np.bool_]:
        """A mask of the elements that have been written: shape (rows, cols)."""
        if self.mask is not None:
            return self.mask.copy()
        mask = np.full((self.rows, self.cols), self.whole)
        mask[self.top : self.bottom, self.left : self.right] = True
        return mask

    def unwritten_rows(self, r0: int, r1: int, step: int, c0: int, c1: int) -> str:
        """The rows of a piece that hold unwritten elements, for a message: `rows 3, 64 to 127`."""
        holes = ~self.written()[r0:r1:step, c0:c1].all(axis=1)
        rows = np.arange(r0, r1, step)[holes]
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        runs = [f"{r[0]} to {r[-1]}" if len(r) > 1 else f"{r[0]}" for r in np.split(rows, cuts)]
        shown = ", ".join(runs[:4]) + (f" and {len(runs) - 4} more runs" if len(runs) > 4 else "")
        return f"row{'s' if len(rows) > 1 else ''} {shown}"


class TilePiece:
    """A slice of a tile as one instruction names it.

    Its bounds rarely change from one time to the next, so the view stays until they do.
    """

    __slots__ = ("tile", "view", "bounds", "_pick", "_site", "_codes", "_moving", "_key")

    def __init__(
        self,
        tile: Tile,
        domain: Domain,
        site: Site,
        rows: tuple[Scalar, Scalar, Scalar],
        cols: tuple[Scalar, Scalar],
    ) -> None:
        """rows: start, stop, step; cols: start, stop."""
        self.tile, self._pick, self._site = tile, domain.pick, site
        self._codes = tuple(as_code(code) for code in (*rows, *cols))
        self.view: Array = None
        self.bounds = (0, 0, 1, 0, 0)
        self._key: Any = None
        self._moving = _key_code([code for code in (*rows, *cols) if not isinstance(code, int)])
        if self._moving is None:
            try:
                self._move([])
            except ExecutionError:
                # To be raised when the instruction runs, if it does: no key will ever be right.
                self._moving = lambda env: 0

    def read(self, env: Env) -> Array:
        """The piece's values. Raises: E401 where an element was never written."""
        moving, tile = self._moving, self.tile
        if moving is not None:
            key = moving(env)
            if key != self._key:
                self._move(env)
                self._key = key
        if not tile.whole and not tile.covers(*self.bounds):
            raise self._undefined(env)
        return self.view

    def target(self, env: Env) -> Array:
        """The piece to write to; it counts as written from now on."""
        moving, tile = self._moving, self.tile
        if moving is not None:
            key = moving(env)
            if key != self._key:
                self._move(env)
                self._key = key
        if not tile.whole:
            tile.mark(*self.bounds)
        return self.view

    def _move(self, env: Env) -> None:
        """Take the view that the bounds say. Raises: E403, E405, E415."""
        tile = self.tile
        r0, r1, step, c0, c1 = (code(env) for code in self._codes)
        if not 0 <= r0 <= r1 <= tile.rows and r0 != r1:
            raise self._beyond(r0, r1, "row", tile.rows, env)
        if not 0 <= c0 <= c1 <= tile.cols and c0 != c1:
            raise self._beyond(c0, c1, "column", tile.cols, env)
        if step < 1:
            raise self._site.error(
                "E415", f'the row step of tile "{tile.name}" is {step}; it must be at least 1', env
            )
        if r0 == r1 or c0 == c1:  # empty, and legal wherever it lies
            r0, r1, c0, c1 = 0, r1 - r0, 0, c1 - c0
        self.bounds = (r0, r1, step, c0, c1)
        self.view = self._pick(tile.array, (slice(r0, r1, step), slice(c0, c1)))

    def _beyond(self, start: int, stop: int, axis: str, extent: int, env: Env) -> ExecutionError:
        name = f'{start}:{stop} of tile "{self.tile.name}"'
        if stop < start:
            detail = (
                f"{axis}s {name} have the negative extent {stop - start}; bound it with max(0, ...)"
            )
            return self._site.error("E405", detail, env)
        return self._site.error(
            "E403",
            f"{axis}s {name} are beyond its {extent} {axis}s; bound the slice with min(...)",
            env,
        )

    def _undefined(self, env: Env) -> ExecutionError:
        tile, (r0, r1, step, c0, c1) = self.tile, self.bounds
        rows = tile.unwritten_rows(r0, r1, step, c0, c1)
        return self._site.error(
            "E401",
            f'tile "{tile.name}" ({tile.rows} x {tile.cols}) is read in rows {r0}:{r1}, columns '
            f"{c0}:{c1}, but elements of {rows} were never written; write them first (load, "
            "fill, matmul) or read less",
            env,
        )


def _key_code(moving: list[Code]) -> Callable[[Env], Any] | None:
    """What to compare in order to know that no bound has changed; None if none can."""
    if not moving:
        return None
    if len(moving) == 1:
        return moving[0]
    if len(moving) == 2:
        a, b = moving
        return lambda env: (a(env), b(env))
    return lambda env: tuple([code(env) for code in moving])
