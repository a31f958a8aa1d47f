"""Remedies: which edits each finding of a profile speaks for.

One table for all who act on a profile: search agents, `suggest`, and readers who write the change
into the text themselves (`Remedy.text` says what it is there). A remedy names kinds of edits and
kinds of places; it knows no kernel and no task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from m890sim.kernel import ir
from m890sim.profile.remedy_parts import (
    EachPlace,
    Editable,
    HalvedTransfers,
    RemedyPart,
    SpreadTransfers,
    StoresApart,
    Weights,
)


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to change for certain findings.

    reasons: keys of `findings.REASONS`. text: the change in words, of a kernel's source. keeps: it
    may stay where it gains nothing by itself, as it makes the kernel simpler.
    """

    name: str
    reasons: tuple[str, ...]
    text: str
    parts: tuple[RemedyPart, ...]
    keeps: bool = False

    @property
    def family(self) -> str:
        """What remedies have in common that differ in a number or a name alone."""
        last = self.parts[-1]
        return last.name if isinstance(last, EachPlace) else type(last).__name__

    def perform(self, used: Editable, weights: Weights) -> int:
        """Make its edits, part after part; how many were made.

        weights: `weights_of` the profile that speaks for it.
        """
        return sum(part.perform(used, weights) for part in self.parts)


_SIZES = {
    "double": "larger blocks",
    "next": "another size of blocks",
    "halve": "smaller blocks, and more of them",
}


def _remedies() -> Iterator[Remedy]:
    everything = EachPlace("remove_fence", again=True)
    yield Remedy(
        "no fences", ("fences",), "remove the fences: results are waited for", (everything,)
    )
    for name in _SIZES:
        why = ("balance",) if name == "halve" else ("overhead", "bytes")
        yield Remedy(
            f"blocks {name}",
            why,
            _SIZES[name],
            (EachPlace("set_tunable", ("", name)),),
        )
    for how in ("keep", "grow"):
        yield Remedy(
            f"pack heads, {how}",
            ("bytes", "overhead"),
            "query heads that read the same keys become the rows of one tile",
            (EachPlace("pack_heads", how),),
        )
    for count in (2, 4):
        yield Remedy(
            f"pair {count} heads",
            ("runs", "bytes", "overhead"),
            "what lies side by side in HBM is loaded in one run",
            (EachPlace("pair_heads", count),),
        )
    yield Remedy(
        "loads out of loops",
        ("bytes",),
        "load before the loop what is the same in each iteration",
        (EachPlace("hoist", only="load", again=True),),
    )
    for order in ("dynamic", "snake", "cyclic", "block"):
        yield Remedy(
            f"order {order}",
            ("balance",),
            "work items in another order, or to whichever core is free",
            (EachPlace("set_order", order),),
        )
    for variable in range(4):
        for edit, text in (
            ("finer_items", "iterations of an item become items of their own"),
            ("reverse_items", "the long work items first"),
        ):
            yield Remedy(f"{edit} {variable}", ("balance",), text, (EachPlace(edit, variable),))
        yield Remedy(
            f"jam {variable}",
            ("serial",),
            "two work items side by side: one computes while the other waits",
            (EachPlace("unroll_jam", variable),),
        )
    for parts in (16, 8, 4, 2):
        yield Remedy(
            f"{parts} parts of a range",
            ("balance",),
            "long ranges in parts for idle cores, and a phase that joins them",
            (EachPlace("split_range", parts),),
        )
    sink = EachPlace("sink", only="tile", again=True)
    for stages in (3, 2):
        yield Remedy(
            f"{stages} stages",
            ("serial", "slots"),
            "loads ahead: stages in the loop, a slot for each iteration under way",
            (sink, EachPlace("set_slots", 2, only="loaded tile"), EachPlace("pipeline", stages)),
        )
    for slots in (2, 3):
        yield Remedy(
            f"{slots} slots",
            ("slots", "serial"),
            "more slots for tiles that are loaded: the next load does not wait for the reader",
            (sink, EachPlace("set_slots", slots, only="loaded tile")),
        )
        yield Remedy(
            f"{slots} slots everywhere",
            ("slots",),
            "more slots for every tile",
            (sink, EachPlace("set_slots", slots)),
        )
    yield Remedy(
        "all queues",
        ("queues", "serial"),
        "transfers on different queues, long ones in halves",
        (SpreadTransfers(), HalvedTransfers()),
    )
    yield Remedy("queues", ("queues",), "transfers on different queues", (SpreadTransfers(),))
    yield Remedy("stores apart", ("blocked",), "stores on a queue without loads", (StoresApart(),))
    for edit, only in (("move_up_far", "load"), ("move_up_far", "matrix"), ("move_down_far", "")):
        yield Remedy(
            f"{edit} {only}".strip(),
            ("serial",),
            "start early what others wait for",
            (EachPlace(edit, only=only or "elementwise"),),
        )
    clean = tuple(
        EachPlace(name, again=True) for name in ("cse", "drop_copy", "drop_dead", "drop_tile")
    )
    fused = ("fuse_subtract", "fuse_add", "fuse_scale", "fuse_row_sum", "fuse_cast")
    products = ("fuse_mul_add", "fuse_mul_mul", "accumulate")
    yield Remedy(
        "fused",
        ("arithmetic", "overhead"),
        "scales, sums and biases within the SFU's instructions; no step twice",
        (
            EachPlace("scale_through_max", again=True),
            *(EachPlace(name, again=True) for name in fused),
            EachPlace("exp_to_exp2", again=True),
            *(EachPlace(name, again=True) for name in products),
            *clean,
        ),
        keeps=True,
    )
    yield Remedy(
        "reciprocals",
        ("arithmetic",),
        "one reciprocal and a product in place of divisions",
        (EachPlace("div_to_recip"), EachPlace("normalise_last")),
    )
    for eighths in (6, 5, 4):
        yield Remedy(
            f"{eighths} of 8 rows on the SFU",
            ("arithmetic",),
            "a part of the exponentials on the vector unit",
            (EachPlace("share_rows", eighths),),
        )
    for which in ("a", "b"):
        yield Remedy(
            f"scaled {which}",
            ("arithmetic",),
            "scale the operand of the product once, not each result",
            (EachPlace("scale_operand", which),),
        )
    yield Remedy(
        "guarded masks",
        ("masks", "arithmetic"),
        "mask only the blocks that the mask can hit",
        # An `if` is in the way of what changes the arithmetic around the mask.
        (EachPlace("scale_through_max", again=True), EachPlace("guard_mask")),
    )
    for number in range(4):
        yield Remedy(
            f"loop in two, {number}",
            ("masks",),
            "blocks without a mask in a loop of their own",
            (EachPlace("split_loop", number), EachPlace("drop_guard", again=True)),
        )
    for dtype in ("bf16", "f32"):
        yield Remedy(
            f"tiles in {dtype}",
            ("arithmetic", "ports") if dtype == "bf16" else ("ports",),
            "another dtype for tiles that are neither loaded nor stored",
            (EachPlace("set_dtype", dtype, only="other tile"),),
        )


REMEDIES: tuple[Remedy, ...] = tuple(_remedies())


def changes_for(reason: str) -> tuple[str, ...]:
    """What a finding of that reason speaks for, in words, none twice."""
    return tuple(dict.fromkeys(one.text for one in REMEDIES if reason in one.reasons))


def single_tunables(remedy: Remedy, kernel: ir.Kernel) -> tuple[Remedy, ...]:
    """A remedy that sizes all blocks, and one for each block alone; others as they are."""
    (first, *more) = remedy.parts
    if more or not isinstance(first, EachPlace) or first.name != "set_tunable":
        return (remedy,)
    assert isinstance(first.argument, tuple)
    if len(kernel.tunables) < 2:
        return (remedy,)
    each = (
        replace(
            remedy,
            name=f"{remedy.name}, {name}",
            parts=(replace(first, argument=(name, *first.argument[1:])),),
        )
        for name in kernel.tunables
    )
    return (remedy, *each)
