"""DISTRIBUTIONS: ways of drawing inputs, each made so that a named mistake shows.

A bend changes the tensors of a `Draft` (standard normal to begin with) in place. Right kernels with
fp32 scores and weights in bf16 pass all of them by a margin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from m890sim.workloads.inputs.climb import climb
from m890sim.workloads.inputs.draft import Draft, KeyPiece
from m890sim.workloads.inputs.stream import Array, round_bf16

NEEDLE_LOGIT = 20.0  # e**20 outweighs 16,384 keys whose logits have a standard deviation of 2
TAIL_TOKENS = 64  # needles stand where a block of this many keys begins or ends
OFFSET_LOGIT = 400.0  # exp overflows fp32 and bf16 beyond 88
OFFSET_LEVEL = 64.0  # of every key along the element that carries the offset
RAMP_TOKENS = 16  # in the smallest blocks that kernels use
RAMP_LEVELS = 128  # blocks of longer sequences are larger; bf16 counts to 256 exactly
# Logits from block to block: exp overflows, and in one row of four several blocks count.
RAMP_LOGITS = (112.0, 112.0, 112.0, 1.0)
SINK_LOGITS = (300.0, 2000.0, 300.0, 8.0)
LONE_LOGIT = 2000.0
# Below the sentinels -1e3, -1e4, -5e4, -65504, -1e5 and -1e6 that stand for -inf in real kernels.
FAR_LOGITS = (1500.0, 3000.0, 2e4, 6e4, 2e5, 2e6)
FLAT_LOGIT = 1e5  # fp32 holds logits from here on too coarsely for any difference but a large one
FAR_LEVEL = 256.0
SMALL_PART = 1 / 64  # of V where the rest cancels
LARGE_VALUE = 1024.0
# Of V over equal keys: as drawn, or all near one number. Sums of 64 keys, or V itself, overflow
# fp16 or fall below its smallest numbers.
VALUE_SPREAD = 0.125  # times standard normal: none changes its sign
VALUE_SIZES = (0.0, 0.0, 0.0, LARGE_VALUE, 1e5, 1e-6)


def _drawn(draft: Draft, values: Sequence[float]) -> Array:
    """One of the values for each row and head: [N, HQ]. Rows beside each other differ by chance."""
    found: Array = np.array(values)[draft.integers(len(values))]
    return found


def _spread(low: float, high: float) -> Callable[[Draft], None]:
    def bend(draft: Draft) -> None:
        # q and k of unit variance give logits of unit variance: scale is D ** -0.5.
        factors = np.linspace(low, high, draft.case.query_heads, dtype=np.float32)
        np.multiply(draft.q, factors[:, None], out=draft.q)

    return bend


def needle_positions(draft: Draft) -> Array:
    """Keys that the needles point at, int64 [N, HQ].

    They go round with query and head: the first key, the query's own (last visible) key, the last
    cached and the first new key, the first key of the last block, of the last cached block and of
    the last new block, the middle, and the first key that must not be seen (there the right answer
    is an ordinary row).
    """
    seen, cached = draft.visible, draft.cached
    new = seen - cached
    places = np.stack(
        [
            np.zeros_like(seen),
            seen - 1,
            cached - 1,
            cached,
            (seen - 1) // TAIL_TOKENS * TAIL_TOKENS,
            (cached - 1) // TAIL_TOKENS * TAIL_TOKENS,
            cached + (new - 1) // TAIL_TOKENS * TAIL_TOKENS,
            seen // 2,
            seen,
        ],
        axis=1,
    )
    there = (places >= 0) & (places < draft.keys[:, None])
    order = np.argsort(~there, axis=1, kind="stable")  # places that there are, first
    count = there.sum(axis=1)[:, None]
    chosen = np.take_along_axis(order, draft.turn % count, axis=1)
    found: Array = np.take_along_axis(places, chosen, axis=1)
    return found


def _needle(draft: Draft) -> None:
    draft.point_at(needle_positions(draft), np.full(draft.turn.shape, NEEDLE_LOGIT))


def _offset(draft: Draft) -> None:
    # Half of the rows lie far below zero: there exp without the maximum gives 0 / 0.
    logits = _drawn(draft, (OFFSET_LOGIT, -OFFSET_LOGIT))
    draft.set_levels(lambda piece: OFFSET_LEVEL, logits / OFFSET_LEVEL)


def block_tokens(keys: int) -> int:
    """Keys of one level of a ramp: 16, doubled until 128 levels are enough."""
    tokens = RAMP_TOKENS
    while keys > tokens * RAMP_LEVELS:
        tokens *= 2
    return tokens


def _blocks(draft: Draft) -> Callable[[KeyPiece], Array]:
    sizes = np.array([block_tokens(sequence.keys) for sequence in draft.case.sequences])

    def blocks(piece: KeyPiece) -> Array:
        found: Array = piece.positions // sizes[piece.sequences]
        return found

    return blocks


def _ramp(sign: float) -> Callable[[Draft], None]:
    def bend(draft: Draft) -> None:
        draft.set_levels(_blocks(draft), sign * _drawn(draft, RAMP_LOGITS))

    return bend


def _steps(draft: Draft) -> None:
    # The levels of all blocks, shuffled: the same for all sequences, of which each has a part.
    shuffled = np.argsort(draft.stream.integers(2**40, RAMP_LEVELS), kind="stable")
    blocks = _blocks(draft)
    draft.set_levels(lambda piece: shuffled[blocks(piece)], _drawn(draft, RAMP_LOGITS))


def _sink(draft: Draft) -> None:
    draft.point_at(np.zeros(draft.turn.shape, np.int64), _drawn(draft, SINK_LOGITS))


def _sink_last(draft: Draft) -> None:
    places = np.broadcast_to(draft.visible[:, None] - 1, draft.turn.shape)
    draft.point_at(places, _drawn(draft, SINK_LOGITS))


def _far(sign: float) -> Callable[[Draft], None]:
    def bend(draft: Draft) -> None:
        logits = _drawn(draft, FAR_LOGITS)
        flat = logits >= FLAT_LOGIT
        draft.set_levels(lambda piece: FAR_LEVEL, sign * logits / FAR_LEVEL, flat)

    return bend


def _equal_keys(draft: Draft) -> None:
    _same_key(draft)
    pairs = len(draft.case.sequences), draft.case.key_heads
    sizes = np.array(VALUE_SIZES, np.float32)[draft.stream.integers(len(VALUE_SIZES), *pairs)]
    signs = np.array([-1, 1], np.float32)[draft.stream.integers(2, *pairs)]

    def bend(piece: KeyPiece, values: Array) -> Array:
        size = sizes[piece.sequences, piece.head, None]
        about = size * signs[piece.sequences, piece.head, None]
        near = round_bf16(about * (1 + values * np.float32(VALUE_SPREAD)))
        return np.where(size == 0, values, near)

    draft.change("v", bend)


def _same_key(draft: Draft) -> None:
    key = draft.stream.normal(draft.case.key_heads, draft.case.head_elements)
    draft.change("k", lambda piece, values: np.broadcast_to(key[piece.head], values.shape))


def _zero_sum(draft: Draft) -> None:
    _same_key(draft)
    # Three quarters of the elements are +1 in one key and -1 in the next, or the other way round,
    # by chance for each pair and element: they cancel over any even number of keys from the first
    # on, and no two keys can stand in for each other. What is left is small.
    longest = max(sequence.keys for sequence in draft.case.sequences)
    draws = draft.stream.normal(longest // 2 + 1, draft.case.head_elements)
    signs = np.where(draws < 0, np.float32(-1), np.float32(1))

    def bend(piece: KeyPiece, values: Array) -> Array:
        at = piece.positions
        pattern: Array = signs[at // 2] * (1 - at % 2 * 2).astype(np.float32)[:, None]
        pattern[:, 0::4] = values[:, 0::4] * np.float32(SMALL_PART)
        return pattern

    draft.change("v", bend)


def _lone_key(draft: Draft) -> None:
    raw = draft.integers(2**40)
    draft.point_at(raw % draft.visible[:, None], np.full(draft.turn.shape, LONE_LOGIT))


def _large_value(draft: Draft) -> None:
    case = draft.case
    every, heads = np.arange(len(case.sequences))[:, None], np.arange(case.key_heads)
    turn = int(draft.stream.integers(2**20))
    chance = draft.stream.integers(2**40, len(case.sequences), len(heads))
    keys = np.array([sequence.keys for sequence in case.sequences])[:, None]
    cached = np.array(case.cached)[:, None]
    tail = (keys - 1) // TAIL_TOKENS * TAIL_TOKENS
    ends = np.choose(chance % 4, [0 * keys, cached, cached - 1, tail]) % keys
    # In turn: the last key, which most rows must not see; any key; an end of a segment.
    places = np.choose((heads + every + turn) % 3, [keys - 1, chance // 4 % keys, ends])

    def bend(piece: KeyPiece, values: Array) -> Array:
        large = piece.positions == places[piece.sequences, piece.head]
        values[large] *= np.float32(LARGE_VALUE)
        return values

    draft.change("v", bend)


@dataclass(frozen=True, slots=True)
class Distribution:
    """One way of drawing inputs: what it is, the mistake that it shows, and how q, K and V bend."""

    text: str
    catches: str
    bend: Callable[[Draft], None]


# Results name distributions by their order too: append only.
DISTRIBUTIONS: dict[str, Distribution] = {
    "normal": Distribution(
        "logits of standard deviation 1 to 3, growing with the head; V of mean zero",
        "a mean of V, a forgotten scale, skipped blocks, the wrong head",
        _spread(1, 3),
    ),
    "peaked": Distribution(
        "logits of standard deviation 8: a few keys a row decide",
        "scores rounded to bf16, weights of low precision",
        _spread(8, 8),
    ),
    "needle": Distribution(
        "one key decides each row, planted at the ends of blocks and segments",
        "masks and bounds that are off by one key",
        _needle,
    ),
    "large_maxima": Distribution(
        "all logits of a row near +400 or -400",
        "exp without the maximum, which overflows or gives 0 / 0; a maximum of two heads",
        _offset,
    ),
    "ramp_up": Distribution(
        "logits rise by 112 from one block of keys to the next, by 1 in one row of four",
        "the first block's maximum in place of the running one; a running sum or output that is "
        "not rescaled",
        _ramp(1),
    ),
    "ramp_down": Distribution(
        "logits fall by 112 from one block of keys to the next, by 1 in one row of four",
        "the last block's maximum in place of the running one",
        _ramp(-1),
    ),
    "steps": Distribution(
        "every block of keys has its own level, in random order, levels 112 or 1 apart",
        "a maximum that is renewed in some blocks only, or taken from the block before",
        _steps,
    ),
    "sink": Distribution(
        "the first key outweighs all others by 300 or 2,000",
        "a maximum over all blocks but the first, a lost first key",
        _sink,
    ),
    "sink_last": Distribution(
        "the last visible key outweighs all others by 300 or 2,000",
        "a maximum that leaves out the last block, a lost last key",
        _sink_last,
    ),
    "far_below": Distribution(
        "all logits of a row near one of six numbers from -1,500 to -2,000,000",
        "a finite number in place of -inf, as first maximum or as mask",
        _far(-1),
    ),
    "far_above": Distribution(
        "all logits of a row near one of six numbers from 1,500 to 2,000,000",
        "a clamp on the logits, a maximum of low precision",
        _far(1),
    ),
    "equal_keys": Distribution(
        "all keys alike, every weight is 1 / the number of keys; V as drawn, or all near 1,024, "
        "100,000 or 1e-6",
        "weights that are dropped because none stands out, values or sums in fp16",
        _equal_keys,
    ),
    "zero_sum": Distribution(
        "all keys alike, V is +1 and -1 and cancels but for a small part",
        "one key of 16,384 that is dropped, doubled or taken from elsewhere",
        _zero_sum,
    ),
    "lone_key": Distribution(
        "one key of each row outweighs all others by 1,000 and more, anywhere",
        "sums that need more than one key, keys of a wrong page",
        _lone_key,
    ),
    "large_value": Distribution(
        "one row of V is 1,024 times as large, at an end of a segment or anywhere",
        "weight that leaks to keys that must not be seen, a wrong weight of one key",
        _large_value,
    ),
    "climb": Distribution(
        "in every 128 keys one, at a place that each row draws, stands 136 or 500,000 above all "
        "before it, in one row of four below the last one",
        "a single key that a maximum leaves out, a mask that adds a finite number",
        climb,
    ),
}
