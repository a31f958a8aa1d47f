"""Hidden cases: the published generator, drawn from a seed that is chosen after a kernel is fixed.

docs/hidden.md describes it. All draws are integers from the raw stream of PCG64, so a seed gives
the same cases on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from m890sim.messages import check_name
from m890sim.workloads.case import SEED_LIMIT, whole_number

if TYPE_CHECKING:
    from m890sim.workloads.attention import AttentionCase
    from m890sim.workloads.case import Case

MOST_CASES = 10_000  # of one seed
ALIGNMENT = 64  # lengths of the aligned share are multiples of this

T = TypeVar("T")


class CaseDice:
    """The draws of hidden case `index` of a seed; a stream of its own for each case and deck."""

    def __init__(self, task: str, seed: int, index: int) -> None:
        self.task = task
        self.seed = seed
        self.index = index
        self._stream = np.random.PCG64([seed, zlib.crc32(task.encode()), index])

    @property
    def name(self) -> str:
        """The case's name."""
        return f"hidden-{self.seed}-{self.index}"

    def uniform(self, low: int, high: int) -> int:
        """An integer of low ... high, all equally likely (but for 1 part in 2**40)."""
        return low + int(self._stream.random_raw()) % (high - low + 1)

    def chance(self, part: int, of: int) -> bool:
        """True in `part` of `of` draws."""
        return self.uniform(1, of) <= part

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, all equally likely."""
        return choices[self.uniform(0, len(choices) - 1)]

    def log_uniform(self, low: int, high: int) -> int:
        """An integer of low ... high (low >= 1), log-uniform by octaves.

        An octave 2**e ... 2**(e + 1) - 1 is drawn first, all equally likely, then a number in it;
        both are drawn again where that lies outside.
        """
        if low >= high:
            return low
        while True:
            octave = self.uniform(low.bit_length(), high.bit_length()) - 1
            found = self.uniform(2**octave, 2 ** (octave + 1) - 1)
            if low <= found <= high:
                return found

    def length(self, low: int, high: int) -> int:
        """A log-uniform length of low ... high: one in 16 is rounded down to a multiple of 64."""
        found = self.log_uniform(low, high)
        if found >= ALIGNMENT and self.chance(1, 16):
            found = max(low, found // ALIGNMENT * ALIGNMENT)
        return found

    def deal(self, name: str, deck: Sequence[T]) -> T:
        """The card of this case: decks are shuffled and dealt whole, one card a case.

        So any `len(deck)` cases from a multiple of that number on hold every card once.
        """
        turn, place = divmod(self.index, len(deck))
        labels = [zlib.crc32(text.encode()) for text in (self.task, name)]
        raw = np.random.PCG64([self.seed, *labels, turn]).random_raw(len(deck))
        return deck[int(np.argsort(raw, kind="stable")[place])]


@dataclass(frozen=True)
class HiddenCases:
    """A generator of hidden cases; `name`, part of the task's digest, changes with the rule.

    largest: the most that a drawn case has of the symbols that tiles are as large as.
    """

    name: str
    draw: Callable[[CaseDice], Case]
    largest: tuple[tuple[str, int], ...] = ()

    def cases(self, task: str, count: int, seed: int) -> tuple[Case, ...]:
        """Cases 0 ... count - 1 of a seed; a case does not depend on `count`.

        Raises: TypeError for what is no integer, ValueError for one out of range.
        """
        check_name("task", task)
        count = whole_number("count", count, MOST_CASES + 1)
        seed = whole_number("seed", seed, SEED_LIMIT)
        return tuple(self.draw(CaseDice(task, seed, index)) for index in range(count))

    def case(self, task: str, seed: int, index: int) -> Case:
        """Case `index` of a seed alone. Raises: as `cases`."""
        check_name("task", task)
        seed = whole_number("seed", seed, SEED_LIMIT)
        return self.draw(CaseDice(task, seed, whole_number("index", index, MOST_CASES)))


# Query heads and key heads by group size. 12/12, 16/8, 24/8, 48/8, 32/8, 40/8, 28/4, 64/8, 32/2 and
# 32/1 are those of published models.
HEADS: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((1, 1), (3, 3), (8, 8), (12, 12)),
    2: ((2, 1), (6, 3), (16, 8)),
    3: ((3, 1), (6, 2), (24, 8)),
    4: ((4, 1), (8, 2), (32, 8)),
    5: ((5, 1), (10, 2), (20, 4), (40, 8)),
    6: ((6, 1), (12, 2), (48, 8)),
    7: ((7, 1), (14, 2), (28, 4), (56, 8)),
    8: ((8, 1), (24, 3), (64, 8), (96, 12)),
    16: ((16, 1), (32, 2), (48, 3)),
    32: ((32, 1), (64, 2)),
}
# From this group size on, three cases in four have several key heads: what is wrong between the
# groups does not show on one.
SEVERAL_KEY_HEADS = 3
ELEMENTS = (64, 80, 96, 128, 192, 256)
OTHER_ELEMENTS = (32, 48, 72, 112, 160, 224)  # of one case in seven
PAGES = (1, 16, 64)
MOST_TOKENS = 16_384  # cached tokens of one sequence, in a case that is not long
LEAST_ALONE = 16  # tokens of a sequence that is the only one
SCALE_PARTS = 1024  # factors of the scale are whole numbers of these parts


@dataclass(frozen=True)
class CaseSize:
    """Bounds of one case: work that judges can afford."""

    pairs: int  # visible (query, key) pairs, over sequences and query heads
    elements: int  # of K, over tokens and key heads


# One case in eight is large. One in eight is long: a sequence with many new tokens, or in decode
# one with many cached ones; None here.
EXTEND_SIZES = (*(CaseSize(2**19, 2**22),) * 6, CaseSize(2**21, 2**23), None)
DECODE_SIZES = (*(CaseSize(2**17, 2**22),) * 6, CaseSize(2**19, 2**23), None)
LONG_NEW = (1024, 8192)  # new tokens of a long extend case
LONG_HEADS = 4  # query heads of one, at most
LONG_PRODUCTS = 2**30  # of one: pairs times elements of a head, at most
LONG_PREFIX = (MOST_TOKENS + 1, 32_768)  # cached tokens of a long decode case
LONG_ELEMENTS = 5 * 2**20  # of K in one, at most


def drawn_scale(dice: CaseDice, usual: float) -> float:
    """A factor of the logits: the usual one times 0.5 to 2, by octaves."""
    return dice.log_uniform(SCALE_PARTS // 2, 2 * SCALE_PARTS - 1) / SCALE_PARTS * usual


def drawn_elements(dice: CaseDice) -> int:
    """Elements of a head, from the deck; one case in seven has another number than the usual."""
    return dice.deal("elements", (*ELEMENTS, 0)) or dice.pick(OTHER_ELEMENTS)


LARGEST_HEAD = max(*ELEMENTS, *OTHER_ELEMENTS)
MOST_ELEMENTS = 2**19  # of a matrix of a level


def largest_of(lengths: Mapping[str, tuple[int, int]]) -> tuple[tuple[str, int], ...]:
    """`HiddenCases.largest` of a level, from its lengths: symbol -> (usually, in a long case)."""
    return tuple((name, max(both)) for name, both in lengths.items())


def drawn_length(dice: CaseDice, name: str, usual: int, longest: int, most: int = 2**31) -> int:
    """A length of a level: 1 to `usual`, in one case of eight above that and up to `longest`.

    name: of the deck that says which cases are long. most: never more than this.
    """
    if dice.deal(name, (False,) * 7 + (True,)) and most > usual:
        return dice.length(usual + 1, min(longest, most))
    return dice.length(1, min(usual, most))


@dataclass(frozen=True)
class _Shape:
    """What a case is beside its lengths."""

    heads: int
    key_heads: int
    elements: int
    page: int
    shuffled: bool
    scale: float

    def case(
        self, dice: CaseDice, task: str, cached: Sequence[int], queries: Sequence[int], text: str
    ) -> AttentionCase:
        from m890sim.workloads.attention import AttentionCase

        head = (self.heads, self.key_heads, self.elements)
        pages = (self.page, self.shuffled)
        lengths = (tuple(cached), tuple(queries))
        return AttentionCase(dice.name, task, *lengths, *head, *pages, text, self.scale)


def _shape(dice: CaseDice, long_heads: int | None = None) -> _Shape:
    """Heads, elements and pages from their decks; long_heads: at most so many query heads."""
    group = dice.deal("group", tuple(HEADS))
    pairs = HEADS[group]
    if group >= SEVERAL_KEY_HEADS and dice.chance(3, 4):
        pairs = tuple(pair for pair in pairs if pair[1] > 1)
    if long_heads is not None:
        few = [pair for both in HEADS.values() for pair in both if pair[0] <= long_heads]
        pairs = tuple(pair for pair in few if pair[0] == group * pair[1]) or tuple(few)
    query_heads, key_heads = dice.pick(pairs)
    elements = drawn_elements(dice)
    scale = drawn_scale(dice, float(elements**-0.5))
    page, shuffled = dice.deal("pages", PAGES), dice.chance(3, 4)
    return _Shape(query_heads, key_heads, elements, page, shuffled, scale)


def _most_pairs_and_keys(size: CaseSize, sequences: int, shape: _Shape) -> tuple[int, int]:
    """What one of so many sequences may have: pairs of one head, and keys."""
    pairs = max(2, size.pairs // (shape.heads * sequences))
    keys = max(2, size.elements // (shape.key_heads * shape.elements * sequences))
    return pairs, min(keys, MOST_TOKENS)


def extend_case(dice: CaseDice) -> AttentionCase:
    """A hidden case of task `extend`: a prompt, a continued one, a ragged batch, or single tokens.

    A ragged batch of two sequences or more has an empty prefix and a single new token. A long case
    has a sequence of 1,024 to 8,192 new tokens.
    """
    size = dice.deal("size", EXTEND_SIZES)
    if size is None:
        return _long_extend_case(dice)
    shape = _shape(dice)
    kind = dice.deal("kind", ("prompt", "continued", "ragged", "ragged", "tokens"))
    count = 1 if kind in ("prompt", "continued") else _batch(dice)
    pairs, keys = _most_pairs_and_keys(size, count, shape)
    least = LEAST_ALONE if count == 1 else 1
    cached, queries = [], []
    for _ in range(count):
        while True:
            prefix = 0 if kind == "prompt" else dice.length(least, min(pairs, keys))
            if kind == "ragged" and dice.chance(1, 8):
                prefix = 0
            new = 1 if kind == "tokens" else dice.length(least, min(isqrt(2 * pairs), keys))
            if new * prefix + new * (new + 1) // 2 <= max(pairs, 2) and prefix + new <= keys:
                break
        cached.append(prefix)
        queries.append(new)
    if kind == "ragged":
        empty = dice.uniform(0, count - 1)
        cached[empty] = 0
        queries[(empty + dice.uniform(0, 1)) % count] = 1
    text = f"{kind}, {count} sequence{'s' * (count > 1)}, drawn"
    return shape.case(dice, "extend", cached, queries, text)


def _batch(dice: CaseDice) -> int:
    """Sequences of a batch: 2 to 16, in one of three 17 to 64."""
    if dice.deal("batch", (False, False, True)):
        return dice.log_uniform(17, 64)
    return dice.log_uniform(2, 16)


def _long_extend_case(dice: CaseDice) -> AttentionCase:
    """One long prompt, continued in half of the cases, and up to three short neighbours."""
    shape = _shape(dice, LONG_HEADS)
    pairs = LONG_PRODUCTS // (shape.heads * shape.elements)
    low, high = LONG_NEW
    new = dice.length(low, min(high, isqrt(2 * pairs) - 1))
    left = max(0, (pairs - new * (new + 1) // 2) // new)
    prefix = dice.length(1, min(left, MOST_TOKENS)) if left and dice.chance(1, 2) else 0
    cached, queries = [prefix], [new]
    for _ in range(dice.uniform(0, 3)):
        place = dice.uniform(0, len(cached))
        cached.insert(place, dice.log_uniform(1, 256) - 1)
        queries.insert(place, dice.log_uniform(1, 256))
    text = f"long, {len(cached)} sequence{'s' * (len(cached) > 1)}, drawn"
    return shape.case(dice, "extend", cached, queries, text)


def decode_case(dice: CaseDice) -> AttentionCase:
    """A hidden case of task `decode`: one long sequence, or a batch with a single token in it."""
    size = dice.deal("size", DECODE_SIZES)
    if size is None:
        return _long_decode_case(dice)
    shape = _shape(dice)
    count = dice.deal("kind", (1, 4, 16, 64, 128))
    count = count if count == 1 else dice.log_uniform(count // 2, count)
    pairs, keys = _most_pairs_and_keys(size, count, shape)
    # Lengths differ by more than their share: a few long ones beside many short.
    share = min(pairs, keys)
    least = LEAST_ALONE if count == 1 else 1
    lengths = [dice.length(least, min(MOST_TOKENS, 2 * share)) for _ in range(count)]
    if count > 1:
        lengths[dice.uniform(0, count - 1)] = 1
    text = f"{count} sequence{'s' * (count > 1)}, drawn"
    return shape.case(dice, "decode", lengths, (1,) * count, text)


def _long_decode_case(dice: CaseDice) -> AttentionCase:
    """One sequence of more than 16,384 tokens, and up to three short ones."""
    low, high = LONG_PREFIX
    shape = _shape(dice)
    if shape.key_heads * shape.elements * low > LONG_ELEMENTS:
        group = shape.heads // shape.key_heads
        shape = replace(shape, heads=group, key_heads=1)
    most = LONG_ELEMENTS // (shape.key_heads * shape.elements)
    lengths = [dice.length(low, min(high, most))]
    for _ in range(dice.uniform(0, 3)):
        lengths.insert(dice.uniform(0, len(lengths)), dice.log_uniform(1, 256))
    text = f"long, {len(lengths)} sequence{'s' * (len(lengths) > 1)}, drawn"
    return shape.case(dice, "decode", lengths, (1,) * len(lengths), text)


EXTEND_HIDDEN = HiddenCases("extend-2", extend_case, (("D", LARGEST_HEAD),))
DECODE_HIDDEN = HiddenCases("decode-2", decode_case, (("D", LARGEST_HEAD),))
