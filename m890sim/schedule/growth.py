"""How much longer edits make a kernel, so that it stays within what an agent can see or reach."""

from __future__ import annotations

from m890sim.kernel import ir
from m890sim.schedule import EDITS, rewrite
from m890sim.schedule.core.fingerprints import of_kernel
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.room import size_of
from m890sim.schedule.core.tree import index
from m890sim.schedule.edit import Context, Edit

_FAR = 100_000
# Edit -> how many statements it adds: so many times those from its place down, and from so many to
# so many more. Of an edit that is not here, nothing is known before it is made.
_ADDED: dict[str, tuple[int, int, int]] = {
    **dict.fromkeys(
        (
            *("set_tunable", "set_slots", "set_queue", "set_bank", "set_order", "set_engine"),
            *("set_dtype", "remove_fence", "drop_tile", "drop_copy", "drop_dead", "coalesce"),
            *("move_up", "move_down", "move_up_far", "move_down_far", "swap_order_of_items"),
            *("fuse_row_sum", "fuse_cast", "recip_to_div", "swap_dims"),
        ),
        (0, -_FAR, 0),
    ),
    **dict.fromkeys(("add_fence", "split_transfer", "split_rows", "coarser_items"), (0, 1, 1)),
    **dict.fromkeys(
        (
            *("hoist", "sink", "stage_later", "stage_earlier", "unstage", "guard_mask"),
            *("reverse_items", "fuse_scale", "fuse_subtract", "fuse_add", "exp_to_exp2"),
            *("fuse_mul_add", "fuse_mul_mul", "accumulate", "div_to_recip", "scale_through_max"),
            *("cse", "scale_operand", "merge_rows", "normalise_last", "drop_guard", "share_rows"),
            *("finer_items", "pack_heads", "pair_heads"),
        ),
        (0, -_FAR, 12),
    ),
    "split_fma": (0, 1, 2),
    "pipeline": (0, -_FAR, 40),
    "split_range": (0, 20, 60),
    "unroll_jam": (0, 1, _FAR),
    # A copy of the loop, less what is known in the copy.
    **dict.fromkeys(("unroll", "peel_last", "peel_first", "split_loop"), (1, -8, 2)),
}


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

    inside: statements from the place down, itself counted. Far from 0 where little is known.
    """
    times, least, most = _ADDED.get(name, (0, -_FAR, _FAR))
    return times * inside + least, times * inside + most


# How many statements an edit adds, at a statement whose scope is these objects.
_GROWN: Memo[int] = Memo()


class Room:
    """Which edits leave a kernel with `most` statements at most, or no longer than it is.

    Only where the bounds of what an edit adds do not tell, the kernel after it is made.
    """

    __slots__ = ("context", "count", "kernel", "left", "most")

    def __init__(self, kernel: ir.Kernel, most: int, context: Context) -> None:
        self.kernel, self.most, self.context = kernel, most, context
        self.count = statements_of(kernel)
        self.left = max(0, most - self.count)

    def __str__(self) -> str:
        return f"it has {self.count} statements, and room for {self.left} more"

    def has(self, edit: Edit) -> bool:
        """Whether a legal edit fits."""
        inside = self.count
        if edit.site:
            inside = size_of(index(self.kernel).nodes[edit.site]).statements
        least, most = added(edit.name, inside)
        if most <= self.left or least > self.left:
            return most <= self.left
        return self._grown(edit) <= self.left

    def _grown(self, edit: Edit) -> int:
        """How many statements a legal edit adds, by making it."""
        spec, kernel = EDITS[edit.name], self.kernel
        objects = None
        if edit.site and spec.scope is not None:
            objects = spec.scope(kernel, edit.site, index(kernel).nodes[edit.site])
        site = () if objects else edit.site
        return _GROWN.get(
            objects or (of_kernel(kernel),),
            lambda: statements_of(rewrite(kernel, edit, self.context)) - self.count,
            *(edit.name, edit.argument, site, self.context),
        )
