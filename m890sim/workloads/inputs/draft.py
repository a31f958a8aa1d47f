"""Draft: the tensors of an attention case while a distribution bends them."""

from __future__ import annotations

import math
import mmap
from collections import OrderedDict
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from m890sim.workloads.inputs.stream import Array, Stream, round_bf16

if TYPE_CHECKING:
    from m890sim.workloads.attention import AttentionCase

MOST_BYTES = 2**29  # of base draws that a process keeps
LARGE_BYTES = 2**24
MOST_POISON = 2**20  # elements of a cache that are NaN while only a part of it is drawn
ROWS_A_STEP = 1024  # bounds the fp64 copies of gathered keys


class Base:
    """Standard normal tensors of a case and a seed: what all distributions begin with.

    K and V of each sequence and key head have a stream of their own and are drawn when they are
    first asked for; until then they are 0. Slots of the cache without a token are NaN, because
    whatever lies there must not reach the output; only some are before all is drawn.
    """

    def __init__(self, case: AttentionCase, seed: int) -> None:
        self.case = case
        self.seed = seed
        tokens, heads, elements = case.output_shape
        q = Stream(case.name, seed, "q").normal(tokens, heads, elements)
        self.tensors = {"q": q, **{name: self.blank(name, False) for name in cache_names(case)}}
        self.drawn = np.zeros((len(case.cached), case.key_heads), bool)

    def blank(self, name: str, whole: bool) -> Array:
        """K or V, of new tokens or cached, with nothing drawn: 0, and NaN without a token.

        whole: all such slots are NaN, not only the first `MOST_POISON` elements.
        """
        case = self.case
        slots = case.symbols["S"] if name.endswith("_cache") else case.symbols["T"]
        found = zeros((slots, case.key_heads, case.head_elements))
        if name.endswith("_cache"):
            limit = slots if whole else MOST_POISON // found[0].size
            found[self._unused[:limit]] = np.nan
        _KNOWN_BF16[id(_owner(found))] = _owner(found)
        return found

    @cached_property
    def _unused(self) -> Array:
        """Slots without a token; whole pages last, so that the ends of pages come first."""
        case = self.case
        unused = np.ones(case.symbols["S"], bool)
        unused[case.tables["kv_indices"]] = False
        empty = unused.reshape(-1, case.page_tokens).all(axis=1).repeat(case.page_tokens)
        ends, rest = np.flatnonzero(unused & ~empty), np.flatnonzero(unused & empty)
        return np.concatenate([ends, rest])

    def draw(self, wanted: Array) -> None:
        """Draw what is not drawn yet of the wanted pairs, bool [sequences, key heads]."""
        case = self.case
        for index, head in np.argwhere(wanted & ~self.drawn).tolist():
            sequence = case.sequences[index]
            stream = Stream(case.name, self.seed, f"keys {index} {head}")
            both = stream.normal(2, sequence.keys, case.head_elements)
            start, first = sequence.first_cached, sequence.first_query
            slots = case.tables["kv_indices"][start : start + sequence.cached]
            for name, values in zip("kv", both, strict=True):
                self.tensors[f"{name}_cache"][slots, head] = values[: sequence.cached]
                if sequence.new_keys:
                    rows = slice(first, first + sequence.queries)
                    self.tensors[name][rows, head] = values[sequence.cached :]
            self.drawn[index, head] = True
            if self.drawn.all():
                for name in ("k_cache", "v_cache"):
                    self.tensors[name][self._unused] = np.nan

    @property
    def n_bytes(self) -> int:
        """Bytes that are drawn, about."""
        keys = np.array([sequence.keys for sequence in self.case.sequences])
        elements = 2 * int(keys @ self.drawn.sum(axis=1)) * self.case.head_elements
        return self.tensors["q"].nbytes + 4 * elements


# id -> tensors that `Base.blank` made, while every value that was put into them is one of bf16.
# Most of a large cache is never drawn, and to look through all of it takes as long as to run a few
# rows.
_KNOWN_BF16: WeakValueDictionary[int, Array] = WeakValueDictionary()


def is_known_bf16(tensor: Array) -> bool:
    """Whether a tensor is contiguous, float32, and known to hold values of bf16 alone.

    Known are K and V of the attention tasks: drawn from a table of such values, and looked at where
    they were bent. A copy is not known.
    """
    owner = _owner(tensor)
    whole = tensor.dtype == np.float32 and tensor.flags.c_contiguous
    return whole and _KNOWN_BF16.get(id(owner)) is owner


def _owner(tensor: Array) -> Array:
    """The array whose memory a view shares."""
    return tensor.base if isinstance(tensor.base, np.ndarray) else tensor


def _is_bf16(values: Array) -> bool:
    return not (np.ascontiguousarray(values).view(np.uint32) & np.uint32(0xFFFF)).any()


def zeros(shape: tuple[int, ...]) -> Array:
    """float32 zeros of which only the memory pages that are written take memory.

    np.zeros asks for pages of 2 MiB: a sequence whose slots lie scattered would fill most of them.
    """
    size = 4 * math.prod(shape)
    if size < LARGE_BYTES or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.zeros(shape, np.float32)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(shape)


def cache_names(case: AttentionCase) -> tuple[str, ...]:
    """The tensors that K and V lie in."""
    names = ("k_cache", "v_cache")
    return ("k", "v", *names) if case.task == "extend" else names


_kept: OrderedDict[tuple[AttentionCase, int], Base] = OrderedDict()
_lock = Lock()


def base_of(case: AttentionCase, seed: int, wanted: Array) -> Base:
    """The base draws of a case and a seed, the wanted pairs among them.

    The latest are kept, up to `MOST_BYTES` and at least one.
    """
    key = (case, seed)
    with _lock:
        found = _kept.get(key)
        if found is None:
            found = Base(case, seed)
        found.draw(wanted)
        _kept[key] = found
        _kept.move_to_end(key)
        total = sum(base.n_bytes for base in _kept.values())
        while total > MOST_BYTES and len(_kept) > 1:
            total -= _kept.popitem(last=False)[1].n_bytes
    return found


def forget_draws(cases: Set[object]) -> None:
    """Drop the base draws of cases that nobody asks about any more."""
    with _lock:
        for key in [key for key in _kept if key[0] in cases]:
            del _kept[key]


@dataclass(frozen=True)
class KeyPiece:
    """Keys of one key head in one tensor: those of the sequences that are wanted."""

    tensor: str
    head: int
    rows: Array  # of the tensor, [n]
    sequences: Array  # of each row, [n]
    positions: Array  # in the sequence, cached keys first, [n]


class Draft:
    """Tensors of one case, seed and distribution: q is its own, K and V are shared until changed.

    rows: bool [T, HQ], the rows of the output that will be looked at (None: all). What no such row
    needs is left as it is: queries as drawn, K and V as they are in the base.
    Arrays over rows have shape [N], over rows and heads [N, HQ]: the N tokens with a wanted row.
    """

    def __init__(
        self, case: AttentionCase, seed: int, distribution: str, rows: Array | None = None
    ) -> None:
        self.case = case
        self.stream = Stream(case.name, seed, distribution)
        shape = case.output_shape[:2]
        wanted = np.ones(shape, bool) if rows is None else rows
        self.tokens = np.flatnonzero(wanted.any(axis=1))
        self.group = case.query_heads // case.key_heads
        self.key_head = np.arange(case.query_heads) // self.group
        self.scale = case.scalars["scale"]
        by_head = wanted.reshape(shape[0], case.key_heads, self.group).any(axis=2)
        starts = [sequence.first_query for sequence in case.sequences]
        self.pairs: Array = np.logical_or.reduceat(by_head, starts, axis=0)
        self._base = base_of(case, seed, self.pairs)
        self._own: dict[str, Array] = {}
        self.q = self._base.tensors["q"][self.tokens]  # to be changed in place

    def tensors(self) -> dict[str, Array]:
        """All tensors, exact in bf16; those that no bend changed are the base's, read-only."""
        found = {}
        for name, tensor in self._base.tensors.items():
            found[name] = tensor.view()
            found[name].setflags(write=False)
        q = round_bf16(self.q)
        if len(self.tokens) < len(found["q"]):
            whole = found["q"].copy()
            whole[self.tokens] = q
            q = whole
        return {**found, **self._own, "q": q}

    def change(self, letter: str, bend: Callable[[KeyPiece, Array], Array]) -> None:
        """Replace K ("k") or V by what `bend` makes of each piece's rows, float32 [n, D]."""
        for piece in self.pieces(letter):
            if piece.tensor not in self._own:
                self._own[piece.tensor] = self._base.blank(piece.tensor, bool(self.pairs.all()))
            values = self._base.tensors[piece.tensor][piece.rows, piece.head]
            bent = np.asarray(bend(piece, values), np.float32)
            if not _is_bf16(bent):
                _KNOWN_BF16.pop(id(_owner(self._own[piece.tensor])), None)
            self._own[piece.tensor][piece.rows, piece.head] = bent

    def pieces(self, letter: str) -> Iterator[KeyPiece]:
        """The wanted keys, by tensor and key head."""
        known: dict[bytes, list[tuple[str, Array, Array, Array]]] = {}
        for head in range(self.case.key_heads):
            wanted = self.pairs[:, head]
            found = known.setdefault(wanted.tobytes(), [])
            if not found:
                found += self._indices(wanted)
            for suffix, rows, sequences, positions in found:
                yield KeyPiece(letter + suffix, head, rows, sequences, positions)

    def _indices(self, wanted: Array) -> list[tuple[str, Array, Array, Array]]:
        """(tensor's suffix, rows, sequences, positions) of all keys of the wanted sequences."""
        case = self.case
        every = np.arange(len(case.cached))
        found = []
        of_cached = np.repeat(every, case.cached)
        at = np.flatnonzero(wanted[of_cached])
        sequences = of_cached[at]
        starts = case.tables["kv_indptr"]
        found.append(("_cache", case.tables["kv_indices"][at], sequences, at - starts[sequences]))
        if case.task == "extend":
            of_new = np.repeat(every, case.queries)
            rows = np.flatnonzero(wanted[of_new])
            sequences = of_new[rows]
            positions = rows - case.tables["qo_indptr"][sequences]
            found.append(("", rows, sequences, positions + np.array(case.cached)[sequences]))
        return found

    @cached_property
    def sequence(self) -> Array:
        """Each row's sequence."""
        found: Array = np.repeat(np.arange(len(self.case.queries)), self.case.queries)[self.tokens]
        return found

    def of_sequence(self, values: list[int]) -> Array:
        """A value for each sequence, spread over the rows."""
        found: Array = np.array(values, np.int64)[self.sequence]
        return found

    @cached_property
    def cached(self) -> Array:
        """Cached keys of each row's sequence."""
        return self.of_sequence(list(self.case.cached))

    @cached_property
    def query(self) -> Array:
        """Each row's number in its sequence."""
        found: Array = self.tokens - self._first_query
        return found

    @cached_property
    def _first_query(self) -> Array:
        return self.of_sequence([sequence.first_query for sequence in self.case.sequences])

    @cached_property
    def visible(self) -> Array:
        """Keys that each row sees."""
        return self.cached + (self.query + 1 if self.case.task == "extend" else 0)

    @cached_property
    def keys(self) -> Array:
        """Keys of each row's sequence, also those that it does not see."""
        return self.of_sequence([sequence.keys for sequence in self.case.sequences])

    @cached_property
    def turn(self) -> Array:
        """query + head, [N, HQ]: what goes round the sizes and places of a distribution."""
        found: Array = self.query[:, None] + np.arange(self.case.query_heads)
        return found

    def integers(self, below: int) -> Array:
        """A random integer for each row and head, [N, HQ], whichever rows are wanted."""
        return self.stream.integers(below, *self.case.output_shape[:2])[self.tokens]

    def point_at(self, places: Array, logits: Array) -> None:
        """Bend each row of q towards the key at its place, whose logit grows by so much.

        places: positions, [N, HQ]. Other keys' logits grow by about logits * D ** -0.5, up or down.
        """
        least = self.case.head_elements / 4  # a short key would need a huge q
        for start in range(0, len(places), ROWS_A_STEP):
            rows = slice(start, start + ROWS_A_STEP)
            found = self._gather(places[rows], rows)
            squared = np.einsum("thd,thd->th", found, found, dtype=np.float64)
            size = logits[rows] / (self.scale * np.maximum(squared, least))
            found *= size.astype(np.float32)[..., None]
            self.q[rows] += found

    def _gather(self, places: Array, rows: slice) -> Array:
        """The keys at the places of some rows, by each head's key head: float32 [n, HQ, D]."""
        cached = self.cached[rows, None]
        starts = self.case.tables["kv_indptr"][self.sequence[rows], None]
        heads = np.broadcast_to(self.key_head, places.shape)
        found = np.empty((*places.shape, self.case.head_elements), np.float32)
        old = places < cached
        if old.any():
            slots = self.case.tables["kv_indices"][(starts + places)[old]]
            found[old] = self._base.tensors["k_cache"][slots, heads[old]]
        if not old.all():
            new = (self._first_query[rows, None] + places - cached)[~old]
            found[~old] = self._base.tensors["k"][new, heads[~old]]
        return found

    def set_levels(
        self, levels: Callable[[KeyPiece], Any], logits: Array, flat: Array | None = None
    ) -> None:
        """Give every key a level, and every row of q the logit of a level: their product adds up.

        Elements of q and K become whole numbers: q . k is then exact in fp32 in any order of its
        sum, up to 2**24, and even a logit of 60,000 is as exact as fp32 can hold it (0.004).
        levels: of the keys of a piece, whole and exact in bf16. logits: [N, HQ]. flat: bool
        [N, HQ], the rows in which nothing but the level counts: one product, exact at any size.
        """
        # The element that carries the large part, one for each key head.
        column = self.stream.integers(self.case.head_elements, self.case.key_heads)

        def bend(piece: KeyPiece, values: Array) -> Array:
            np.rint(values, out=values)
            values[:, column[piece.head]] = levels(piece)
            return values

        self.change("k", bend)
        np.rint(self.q, out=self.q)
        if flat is not None:
            self.q[flat] = 0
        size = np.rint(logits / self.scale).astype(np.float32)
        for head, element in enumerate(column[self.key_head].tolist()):
            self.q[:, head, element] = size[:, head]
