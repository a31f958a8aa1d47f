"""The distribution `climb`: in every window of keys one stands above all keys before it.

A maximum that leaves out a single key is wrong only in rows where that key stands so far above
the rest of its block and all blocks before that exp overflows. Here every row has such a key in
every window of 128, so that each row tries one key in 128 of every block, all blocks at once.
"""

from __future__ import annotations

import numpy as np

from m890sim.workloads.inputs.draft import Draft, KeyPiece
from m890sim.workloads.inputs.stream import Array

WINDOW = 128  # keys: a block of so many at most has a single peak
MOST_WINDOWS = 240  # of a sequence; bf16 counts to 256
# From a window's peak to the next one's. exp overflows beyond 88, and exp2 beyond 128, which is 89
# as of e; the others outweigh what a mask adds.
STEPS = (136.0, 136.0, 136.0, 5e5)
DIRECTIONS = (1.0, 1.0, 1.0, -1.0)
GRAIN = 16  # half of the places stand at the ends of blocks, which are multiples of this
# Elements that a head must have, and the digits of a place: it takes an element for each value.
DIGITS = ((52, (8, 16)), (26, (4, 8)), (14, (2, 4)), (3, (1, 1)), (1, ()))


def climb(draft: Draft) -> None:
    """Bend q and K.

    One element of a key holds its window's number; two of some others are 1, those of the digits of
    its place in the window. A row has its step in the first element, twice the step in the elements
    of the two digits that it draws. In windows w the key with both digits has (w + 4) steps, keys
    with one digit w + 2, all others w: two below the peak, one below the last window's.
    """
    case = draft.case
    digits = next(found for least, found in DIGITS if case.head_elements >= least)
    places = int(np.prod(digits)) if digits else 1
    order = np.argsort(
        draft.stream.integers(2**40, case.key_heads, case.head_elements), axis=1, kind="stable"
    )
    codes = 1 + sum(digits)
    windows = np.array([window_of(sequence.keys) for sequence in case.sequences])
    cached = np.array(case.cached)
    stride = windows // places
    # With fewer places than keys of a window, only some keys can be peaks.
    pairs = len(windows), case.key_heads
    shift = draft.stream.integers(2**40, *pairs) % stride[:, None]
    shift *= draft.stream.integers(2, *pairs)

    def bend(piece: KeyPiece, values: Array) -> Array:
        window, old = windows[piece.sequences], cached[piece.sequences]
        new = piece.positions >= old  # blocks of new keys begin anew
        at = np.where(new, piece.positions - old, piece.positions)
        column = order[piece.head]
        np.rint(values, out=values)
        values[:, column[:codes]] = 0
        values[:, column[0]] = at // window + np.where(new, -(-old // window), 0)
        place, left = np.divmod(
            (at + shift[piece.sequences, piece.head]) % window, stride[piece.sequences]
        )
        (found,) = np.nonzero(left == 0)
        for element in elements_of(place[found], digits):
            values[found, column[element]] = 1
        return values

    draft.change("k", bend)
    steps = np.array(STEPS)[draft.integers(len(STEPS))]
    signs = np.array(DIRECTIONS)[draft.integers(len(DIRECTIONS))]
    size = np.rint(steps / draft.scale).astype(np.float32)
    place = draft_places(draft, places)
    np.rint(draft.q, out=draft.q)
    draft.q[steps > STEPS[0]] = 0  # fp32 holds no small differences there
    for head, key_head in enumerate(draft.key_head.tolist()):
        column = order[key_head]
        draft.q[:, head, column[:codes]] = 0
        draft.q[:, head, column[0]] = signs[:, head] * size[:, head]
        for element in elements_of(place[:, head], digits):
            draft.q[np.arange(len(size)), head, column[element]] = 2 * size[:, head]


def window_of(keys: int) -> int:
    """Keys of a window: 128, doubled until a sequence has few enough."""
    window = WINDOW
    while keys > window * MOST_WINDOWS:
        window *= 2
    return window


def elements_of(place: Array, digits: tuple[int, ...]) -> list[Array]:
    """For each digit the element, after the first one, that stands for it at each place."""
    found, first = [], 1
    for base in digits:
        found.append(first + place % base)
        place, first = place // base, first + base
    return found


def draft_places(draft: Draft, places: int) -> Array:
    """The place of each row's peaks, [N, HQ]: a quarter begin a block, a quarter end one."""
    anywhere, grain = draft.integers(WINDOW), draft.integers(WINDOW // GRAIN) * GRAIN
    kind = draft.integers(4)
    found: Array = np.where(kind == 0, grain, np.where(kind == 1, grain + GRAIN - 1, anywhere))
    return found // (WINDOW // places)
