"""What the attention tasks of MORE share: pages of a cache, and inputs whose logits are bent.

Letters: N queries, H query heads, M keys, G key heads, D elements a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from m890sim.workloads.case import Array
from m890sim.workloads.drawn import cancelling
from m890sim.workloads.inputs.bends import (
    FAR_LEVEL,
    FLAT_LOGIT,
    LARGE_VALUE,
    LONE_LOGIT,
    NEEDLE_LOGIT,
    OFFSET_LEVEL,
    OFFSET_LOGIT,
    RAMP_LOGITS,
    RAMP_TOKENS,
    SINK_LOGITS,
    VALUE_SIZES,
    VALUE_SPREAD,
)
from m890sim.workloads.own import Draw

# Logits of several thousand leave fp32 too few bits for differences of 1.
FAR_LOGITS = (1500.0, 3000.0, 2e5, 2e6)
HIDDEN_LOGITS = (2e3, 1e5)  # of keys that must not be seen: a mask of -1,000 or -30,000 shows
LEVELS = 16  # of blocks of 16 keys, over and over
_POINTED: dict[str, Sequence[float]] = {
    "needle": (NEEDLE_LOGIT,),
    "lone_key": (LONE_LOGIT,),
    "sink": SINK_LOGITS,
    "sink_last": SINK_LOGITS,
    "climb": HIDDEN_LOGITS,
}
UNUSED = 1000.0  # in slots that hold no token: whoever reads one is wrong by far


def paged(lengths: Sequence[int], page_tokens: int, shuffle: int) -> tuple[Array, int]:
    """The cached tokens' slots, sequence after sequence, and the slots of the cache.

    Pages are dealt out in order from page 1 on, or (shuffle > 0) shuffled by that number; an eighth
    of them, at least one, stays unused.
    """
    pages = [-(-length // page_tokens) for length in lengths]
    used = sum(pages)
    total = used + max(1, used // 8)
    order = np.arange(1, used + 1)
    if shuffle:
        raw = np.random.PCG64(shuffle).random_raw(total)
        order = np.argsort(raw, kind="stable")[:used]
    slots, at = [np.zeros(0, np.int64)], 0
    for length, count in zip(lengths, pages, strict=True):
        tokens = np.arange(length)
        slots.append(order[at + tokens // page_tokens] * page_tokens + tokens % page_tokens)
        at += count
    return np.concatenate(slots), total * page_tokens


def page_tables(name: str, lengths: Sequence[int], indices: Array) -> dict[str, Array]:
    """The launch tables of a paged cache: `NAME_indptr` and `NAME_indices`."""
    return {f"{name}_indptr": np.cumsum((0, *lengths)), f"{name}_indices": indices}


def bend_logits(
    draw: Draw,
    q: Array,
    k: Array,
    places: Array,
    positions: Array,
    scale: float,
    *,
    visible: int,
    among: tuple[Array, Array],
    free: int | None = None,
    sinks: bool = False,
) -> None:
    """Bend q [N, H, D] and k [M, G, D] in place, so that logits are as the distribution says.

    places: int64 [N, P], keys that needles go round, -1 for none; the first is the first visible
    key, the second the last, and of the others those below `visible` are visible too. among: the
    first of a row of visible keys and how many there are, int64 [N] each. positions: int64 [M], of
    the keys in their sequences. free: so many elements of a key are no values too, and may be bent;
    all where None. sinks: rows have sinks, so that none may lie far below zero, where all weights
    but the sink's vanish.
    """
    bend = draw.distribution
    queries, heads, elements = q.shape
    group = heads // k.shape[1]
    free = elements if free is None else free
    masked = free == elements and not sinks and places.shape[1] > visible
    if bend in ("normal", "large_value"):
        q *= np.linspace(1, 3, heads, dtype=np.float32)[:, None]
    elif bend == "peaked":
        q *= 8
    elif bend in ("equal_keys", "zero_sum"):
        k[..., :free] = k[:1, :, :free]
        q[..., free:] = 0
    elif bend in _POINTED and (bend != "climb" or masked):
        chosen = _chosen(draw, places, visible, among, heads)
        strength = _picked(draw, _POINTED[bend], queries, heads)
        keys = k[chosen, np.arange(heads) // group]
        q[:] = keys * (strength / (scale * (keys**2).sum(axis=2)))[..., None]
    else:
        level, strength = _levels(draw, positions, queries, heads)
        strength = np.abs(strength) if sinks else strength
        k[..., 0] = level[:, None]
        flat = np.abs(strength) * FAR_LEVEL >= FLAT_LOGIT
        q[flat] = 0
        q[..., 0] = strength / scale


def _chosen(
    draw: Draw, places: Array, visible: int, among: tuple[Array, Array], heads: int
) -> Array:
    """The key that each query and head points at: int64 [N, H]."""
    every = np.arange(len(places))[:, None]
    if draw.distribution in ("sink", "sink_last"):
        first = places[:, int(draw.distribution == "sink_last")]
        return np.broadcast_to(first[:, None], (len(places), heads))
    if draw.distribution == "lone_key":
        places = places[:, :visible]
    elif draw.distribution == "climb":
        hidden = places[:, visible:]
        none = (hidden < 0).all(axis=1, keepdims=True)
        places = np.where(none, places[:, 1:2], hidden)
    there = places >= 0
    order = np.argsort(~there, axis=1, kind="stable")
    count = there.sum(axis=1)[:, None]
    if draw.distribution == "needle":  # all of them in turn
        turn = (every + np.arange(heads) + int(draw.integers(2**20))) % count
    else:
        turn = draw.integers(2**40, len(places), heads) % count
    found: Array = places[every, order[every, turn]]
    if draw.distribution == "lone_key":  # every other one stands anywhere
        first, size = among[0][:, None], among[1][:, None]
        anywhere = first + draw.integers(2**40, *found.shape) % size
        found = np.where(draw.integers(2, *found.shape) == 0, anywhere, found)
    return found


def _levels(draw: Draw, positions: Array, queries: int, heads: int) -> tuple[Array, Array]:
    """The level of each key [M], and what a level adds to the logits of a row [N, H]."""
    bend = draw.distribution
    block = positions // RAMP_TOKENS % LEVELS
    if bend == "large_maxima":
        offsets = _picked(draw, (OFFSET_LOGIT, -OFFSET_LOGIT), queries, heads)
        return np.full(len(positions), OFFSET_LEVEL), offsets / OFFSET_LEVEL
    if bend in ("far_below", "far_above"):
        far = _picked(draw, FAR_LOGITS, queries, heads) * (1 if bend == "far_above" else -1)
        return np.full(len(positions), FAR_LEVEL), far / FAR_LEVEL
    strength = _picked(draw, RAMP_LOGITS, queries, heads)
    if bend == "ramp_up":
        return block, strength
    if bend == "ramp_down":
        return LEVELS - 1 - block, strength
    if bend == "steps":
        return np.argsort(draw.integers(2**40, LEVELS), kind="stable")[block], strength
    # "climb", where there are no masks: one key of each block stands above all before it.
    peak = draw.integers(RAMP_TOKENS, LEVELS)[block] == positions % RAMP_TOKENS
    return np.where(peak, block + 1, 0), strength


def bend_values(draw: Draw, v: Array, places: Array, positions: Array) -> None:
    """Bend v [M, G, D] in place, as `bend_logits` does for the rest."""
    _, heads, elements = v.shape
    if draw.distribution == "large_value":
        ends = np.unique(places[places >= 0])
        # A quarter of the ends of what somebody sees, by chance for each key head.
        large = draw.integers(4, len(ends), heads) == 0
        v[ends] *= np.where(large, np.float32(LARGE_VALUE), np.float32(1))[..., None]
    elif draw.distribution == "zero_sum":
        longest = int(positions.max()) + 1
        for head in range(heads):
            v[:, head] = cancelling(draw, longest, elements)[positions]
    elif draw.distribution == "equal_keys":
        sizes = _picked(draw, VALUE_SIZES, heads)
        near = sizes[:, None] * (1 + v * np.float32(VALUE_SPREAD))
        v[:] = np.where(sizes[:, None] == 0, v, near)


def _picked(draw: Draw, values: Sequence[float], *shape: int) -> Array:
    found: Array = np.array(values)[draw.integers(len(values), *shape)]
    return found


def softmax(logits: Array, sink: Array | None = None) -> Array:
    """Weights along the last axis; sink: a logit of each row that takes weight and gives no value.

    Sizes: logits [..., M], sink [...].
    """
    most = logits.max(axis=-1)
    if sink is not None:
        most = np.maximum(most, sink)
    weights = np.exp(logits - most[..., None])
    total = weights.sum(axis=-1)
    if sink is not None:
        total = total + np.exp(sink - most)
    found: Array = weights / total[..., None]
    return found


def rows_of(case: Mapping[str, object], name: str) -> Array:
    """Ends of the sequences in a packed tensor, from their lengths: int64 [B + 1]."""
    lengths = case[name]
    assert isinstance(lengths, tuple)
    return np.cumsum((0, *lengths))
