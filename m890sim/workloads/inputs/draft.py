"""Draft: the tensors of an attention case while a distribution bends them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from m890sim.workloads.attention import AttentionCase
from m890sim.workloads.inputs.stream import Array, Stream, round_bf16

MOST_BYTES = 2**30  # of base draws that a process keeps
TOKENS_A_STEP = 1024  # bounds the fp64 copies of gathered keys


@dataclass(frozen=True)
class Base:
    """Standard normal tensors of a case and a seed, read-only: what all distributions begin with.

    K and V are drawn slot by slot, as they lie in the cache; slots without a token are NaN, because
    whatever lies there must not reach the output.
    """

    tensors: dict[str, Array]  # q, k_cache, v_cache, and k and v in extend

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def _draw(case: AttentionCase, seed: int) -> Base:
    stream = Stream(case.name, seed, "base")
    tokens, heads, elements = case.output_shape
    shapes = {"q": (tokens, heads, elements)}
    for name in ("k", "v"):
        if case.task == "extend":
            shapes[name] = (tokens, case.key_heads, elements)
        shapes[f"{name}_cache"] = (case.symbols["S"], case.key_heads, elements)
    tensors = {name: stream.normal(*shape) for name, shape in shapes.items()}
    unused = np.ones(case.symbols["S"], bool)
    unused[case.tables["kv_indices"]] = False
    for name in ("k_cache", "v_cache"):
        tensors[name][unused] = np.nan
    for tensor in tensors.values():
        tensor.setflags(write=False)
    return Base(tensors)


_kept: OrderedDict[tuple[AttentionCase, int], Base] = OrderedDict()
_lock = Lock()


def base_of(case: AttentionCase, seed: int) -> Base:
    """The base draws of a case and a seed; the latest are kept, up to `MOST_BYTES`."""
    key = (case, seed)
    with _lock:
        found = _kept.get(key)
    if found is None:
        found = _draw(case, seed)
    with _lock:
        _kept[key] = found
        _kept.move_to_end(key)
        total = sum(base.n_bytes for base in _kept.values())
        while total > MOST_BYTES:
            total -= _kept.popitem(last=False)[1].n_bytes
    return found


class Draft:
    """Tensors of one case, seed and distribution. q is its own; K and V are shared until changed.

    Arrays over rows have shape [T] (a row is a query token), arrays over rows and heads [T, HQ].
    Positions count a sequence's keys, cached ones first.
    """

    def __init__(self, case: AttentionCase, seed: int, distribution: str) -> None:
        self.case = case
        self.stream = Stream(case.name, seed, distribution)
        self._base = base_of(case, seed)
        self._own: dict[str, Array] = {}
        self.scale = case.scalars["scale"]
        self.group = case.query_heads // case.key_heads
        self.key_head = np.arange(case.query_heads) // self.group

    def own(self, name: str, *, filled: bool = True) -> Array:
        """A tensor of the draft's own, a copy of the base's where `filled`."""
        if name not in self._own:
            base = self._base.tensors[name]
            self._own[name] = base.copy() if filled else np.empty_like(base)
        return self._own[name]

    def tensors(self) -> dict[str, Array]:
        """All tensors, rounded to bf16; those that no bend changed are the base's, read-only."""
        found = dict(self._base.tensors)
        for name, tensor in self._own.items():
            found[name] = round_bf16(tensor) if name == "q" else tensor
        return found

    @property
    def q(self) -> Array:
        """Queries to change in place, float32 [T, HQ, D]; they are rounded at the end."""
        return self.own("q")

    def _by_row(self, values: list[int]) -> Array:
        found: Array = np.repeat(np.array(values, np.int64), self.case.queries)
        return found

    @cached_property
    def cached(self) -> Array:
        """Cached keys of each row's sequence."""
        return self._by_row(list(self.case.cached))

    @cached_property
    def query(self) -> Array:
        """Each row's number in its sequence."""
        first = self._by_row([sequence.first_query for sequence in self.case.sequences])
        found: Array = np.arange(len(first)) - first
        return found

    @cached_property
    def visible(self) -> Array:
        """Keys that each row sees."""
        return self.cached + (self.query + 1 if self.case.task == "extend" else 0)

    @cached_property
    def keys(self) -> Array:
        """Keys of each row's sequence, also those that it does not see."""
        return self._by_row([sequence.keys for sequence in self.case.sequences])

    @cached_property
    def turn(self) -> Array:
        """query + head, [T, HQ]: what goes round the sizes and places of a distribution."""
        found: Array = self.query[:, None] + np.arange(self.case.query_heads)
        return found

    def per_key(self, of_sequence: list[Any]) -> tuple[Array, Array]:
        """A value for each sequence, spread over its keys: cached [P] and new [T]."""
        values = np.array(of_sequence)
        new = np.repeat(values, self.case.queries) if self.case.task == "extend" else values[:0]
        return np.repeat(values, self.case.cached), new

    @cached_property
    def positions(self) -> tuple[Array, Array]:
        """Positions of the cached keys [P] and of the new ones [T]."""
        starts, _ = self.per_key([sequence.first_cached for sequence in self.case.sequences])
        new = self.cached + self.query if self.case.task == "extend" else self.cached[:0]
        return np.arange(len(starts)) - starts, new

    def parts(self, name: str) -> list[tuple[str, Any, int]]:
        """Where K ("k") or V lies: (tensor, index of its keys in `positions`' order, part)."""
        found: list[tuple[str, Any, int]] = [
            (f"{name}_cache", self.case.tables["kv_indices"], 0),
        ]
        if self.case.task == "extend":
            found.append((name, slice(None), 1))
        return found

    def point_at(self, places: Array, logits: Array) -> None:
        """Bend each row of q towards the key at its place, whose logit grows by so much.

        Other keys' logits grow by about logits * D ** -0.5, up or down.
        """
        least = self.case.head_elements / 4  # a short key would need a huge q
        for start in range(0, len(places), TOKENS_A_STEP):
            rows = slice(start, start + TOKENS_A_STEP)
            found = self._gather_rows(places, rows)
            squared = np.einsum("thd,thd->th", found, found, dtype=np.float64)
            size = logits[rows] / (self.scale * np.maximum(squared, least))
            found *= size.astype(np.float32)[..., None]
            self.q[rows] += found

    def _gather_rows(self, places: Array, rows: slice) -> Array:
        cached = self.cached[rows, None]
        chosen = places[rows]
        starts = self._first_cached[rows, None]
        heads = np.broadcast_to(self.key_head, chosen.shape)
        found = np.empty((*chosen.shape, self.case.head_elements), np.float32)
        old = chosen < cached
        if old.any():
            slots = self.case.tables["kv_indices"][(starts + chosen)[old]]
            found[old] = self._base.tensors["k_cache"][slots, heads[old]]
        if not old.all():
            first = (np.arange(len(self.query)) - self.query)[rows, None]
            found[~old] = self._base.tensors["k"][(first + chosen - cached)[~old], heads[~old]]
        return found

    @cached_property
    def _first_cached(self) -> Array:
        return self._by_row([sequence.first_cached for sequence in self.case.sequences])

    @cached_property
    def column(self) -> Array:
        """The element that carries a logit's large part, one for each key head, int64 [HKV]."""
        return self.stream.integers(self.case.head_elements, self.case.key_heads)

    def set_levels(self, levels: tuple[Array, Array], logits: Array) -> None:
        """Give every key a level, and every row of q the logit of a level: their product adds up.

        Elements of q and K become whole numbers: q . k is then exact in fp32 in any order of its
        sum, up to 2**24, and even a logit of 60,000 is as exact as fp32 can hold it (0.004).
        levels: cached [P] and new [T], whole and exact in bf16. logits: [T, HQ].
        """
        for name, index, part in self.parts("k"):
            tensor = self.own(name)
            np.rint(tensor, out=tensor)
            for head, element in enumerate(self.column.tolist()):
                tensor[index, head, element] = levels[part]
        np.rint(self.q, out=self.q)
        size = np.rint(logits / self.scale).astype(np.float32)
        for head, element in enumerate(self.column[self.key_head].tolist()):
            self.q[:, head, element] = size[:, head]
