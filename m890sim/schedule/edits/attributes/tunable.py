"""The edit of tunables, for those that are the size of a block and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from m890sim.kernel import ir
from m890sim.schedule.core.block_size.walk import refused_sizes
from m890sim.schedule.core.memo import by_kernel
from m890sim.schedule.edit import Argument, Context, EditError, Planned, Site, edit
from m890sim.schedule.edits.grain.part_counts import is_of_parts, require_parts

MOST = 4096
STEPS = ("double", "halve", "next")


def stepped(value: int, step: str) -> int:
    """The value after a step; "next" is the next of 2**n and 3 * 2**n: 3, 4, 6, 8, 12."""
    if step == "double":
        return 2 * value
    if step == "halve":
        return value // 2
    power = 1 << (value.bit_length() - 1)
    return power * 2 if 2 * value >= 3 * power else max(power * 3 // 2, value + 1)


@edit(
    0,
    on="Kernel",
    arguments=lambda kernel, *_: [(name, step) for name in kernel.tunables for step in STEPS],
    exact=False,
)
def set_tunable(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Changes the size of a block.

    before: def f(x: Tensor["T", "D"], ..., BQ: Tunable = 64):
    after:  def f(x: Tensor["T", "D"], ..., BQ: Tunable = 128):

    Argument: the tunable and "double", "halve" (of an even one) or "next" (of 2**n and 3 * 2**n).
    The result lies from 1 to 4096. A Tunable is a number that its author lets others choose; this
    edit checks that the kernel uses it as the size of a block, where any size computes the same, up
    to the order of float additions and the running maximum that they are scaled by:
    - every expression with it has a kind (`block_size.kinds`): a number of blocks in `cores` and
      `range`, the step of a loop, a tile's extent, positions, extents cut off by min() at the end;
      no remainder, queue, slot, single index, and no piece of a tensor with an uncut extent;
    - extents, and shares of them (rows // 2 and the rest), stay within their tiles and equal where
      an instruction wants them equal, and what min() cuts off is not negative: it belongs to the
      loop's stop, the phase's extent or an `if`;
    - a block of a work item is not reduced over, and its stores are placed by its number;
    - a loop over blocks that reduces over them stores nothing, and the tiles that it carries are
      running results: maxima of a block's maxima, sums of a block's sums, both perhaps times what
      is the same for all blocks (a Scalar that a maximum is multiplied by is positive). What is
      summed up may hang on running maxima where exp or exp2 of them scales the sum so far; that
      this is the power which the maxima ask for is up to the author;
    - no other tile keeps what a loop's last block left there, and every block is used whole: parts
      of it are not reduced over, and what is done to one part is done to the others that follow it
      (`block_size.parts`).
    Or that it is the number of parts of a range, or their least length, as split_range writes it:
    `part_counts.require_parts` says what has to hold.
    """
    name, value = _asked(kernel, site, argument)
    require_value(kernel, name, value)

    params = tuple(
        dataclasses.replace(param, default=value) if param.name == name else param
        for param in kernel.params
    )
    return lambda: dataclasses.replace(kernel, params=params)


def _asked(kernel: ir.Kernel, site: Site, argument: Argument) -> tuple[str, int]:
    """The tunable and its new value. Raises: EditError for what cannot be asked."""
    if site or not isinstance(argument, tuple) or len(argument) != 2 or argument[1] not in STEPS:
        raise EditError("set_tunable acts on the kernel, with a tunable and one of " + str(STEPS))
    name, step = str(argument[0]), str(argument[1])
    if name not in kernel.tunables:
        raise EditError(f"the kernel has no tunable {name!r}")
    old = kernel.tunables[name]
    if old < 1 or (step == "halve" and old % 2):
        raise EditError(f"{name} is {old}, which cannot be halved" if old > 0 else f"{name} < 1")
    value = stepped(old, step)
    if value > MOST:
        raise EditError(f"{name} would be {value}, the most is {MOST}")
    return name, value


@by_kernel
def _known(kernel: ir.Kernel) -> dict[str, Mapping[int, EditError]]:
    """Tunable -> what is refused of it, filled in as it is asked for."""
    return {}


def require_value(kernel: ir.Kernel, name: str, value: int) -> None:
    """Refuses a value, 1 or one step from a tunable's, that it may not have."""
    known = _known(kernel)
    if name not in known:
        sizes = (*(stepped(kernel.tunables[name], step) for step in STEPS), 1)
        if is_of_parts(kernel, name):
            try:
                require_parts(kernel, name)
                known[name] = {}
            except EditError as error:
                known[name] = dict.fromkeys(sizes, error)
        else:
            known[name] = refused_sizes(kernel, name, sizes)
    if value in known[name]:
        raise EditError(str(known[name][value]))
