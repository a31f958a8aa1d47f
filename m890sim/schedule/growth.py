"""How much longer edits make a kernel, so that it stays within what an agent can see or reach."""

from __future__ import annotations

from collections.abc import Callable

from m890sim.kernel import ir
from m890sim.schedule.edit import Site

# Edits that change, move or remove statements and add none.
_NONE = frozenset(
    (
        *("set_tunable", "set_slots", "set_queue", "set_bank", "set_order", "set_engine"),
        *("set_dtype", "remove_fence", "drop_tile", "drop_copy", "drop_dead", "coalesce"),
        *("move_up", "move_down", "move_up_far", "move_down_far", "swap_order_of_items"),
        *("fuse_row_sum", "fuse_cast", "recip_to_div", "swap_dims"),
    )
)
_ONE = frozenset(("add_fence", "split_transfer", "split_rows", "split_fma"))  # these add one
# These add so many at most.
_FEW = 8
_SHORT = frozenset(
    (
        *("hoist", "sink", "stage_later", "stage_earlier", "unstage", "guard_mask", "drop_guard"),
        *("reverse_items", "fuse_scale", "fuse_subtract", "fuse_add", "exp_to_exp2"),
        *("fuse_mul_add", "fuse_mul_mul", "accumulate", "div_to_recip", "scale_through_max"),
        *("cse", "scale_operand", "merge_rows", "normalise_last"),
    )
)
# These add a copy of the loop, less what is known in the copy.
_COPY = frozenset(("unroll", "peel_last", "peel_first", "split_loop"))
# All others repeat the statement that they act on so many times at most, with some around it.
_REPEATS = 3
_AROUND = 40


def statements_of(kernel: ir.Kernel) -> int:
    """How many statements a kernel has."""
    found, stack = 0, [kernel.body]
    while stack:
        body = stack.pop()
        found += len(body)
        for stmt in body:
            stack += ir.blocks(stmt)
    return found


def added(name: str, inside: int) -> tuple[int, int]:
    """Bounds of the number of statements that an edit of this name adds at a place.

    inside: statements from the place down, itself counted; those of the kernel where the edit acts
    on the kernel as a whole. The lower bound is far below 0 where an edit may remove statements.
    """
    if name in _NONE:
        return -inside, 0
    if name in _ONE:
        return 1, 1
    if name in _SHORT:
        return -inside, _FEW
    if name in _COPY:
        return inside // 2, inside + _FEW
    return inside // 4 if name == "unroll_jam" else -inside, _AROUND + _REPEATS * inside


class Room:
    """Which edits leave a kernel with `most` statements at most, or no longer than it is.

    Only where the bounds of what an edit adds do not tell, the kernel after it is made.
    """

    __slots__ = ("_inside", "count", "kernel", "left", "most")

    def __init__(self, kernel: ir.Kernel, most: int) -> None:
        self.kernel, self.most = kernel, most
        self.count = statements_of(kernel)
        self.left = max(0, most - self.count)
        self._inside: dict[Site, int] = {}

    def __str__(self) -> str:
        return f"it has {self.count} statements, and room for {self.left} more"

    @property
    def ample(self) -> bool:
        """Whether there is room for any edit."""
        return self.left >= _AROUND + _REPEATS * self.count

    def has(self, name: str, site: Site, after: Callable[[], ir.Kernel]) -> bool:
        """Whether a legal edit fits. after: makes the kernel after it."""
        if name in _NONE:
            return True
        if not self._inside:
            self._inside = _inside(self.kernel)
        least, most = added(name, self._inside.get(site, self.count))
        if most <= self.left or least > self.left:
            return most <= self.left
        return statements_of(after()) <= self.count + self.left


def _inside(kernel: ir.Kernel) -> dict[Site, int]:
    """Statements from each one down, itself counted, by site; of the kernel at ()."""
    found: dict[Site, int] = {}

    def block(body: tuple[ir.Stmt, ...], prefix: Site) -> int:
        count = 0
        for place, stmt in enumerate(body):
            site = (*prefix, place)
            found[site] = 1 + block(ir.children(stmt), site)
            count += found[site]
        return count

    found[()] = block(kernel.body, ())
    return found
