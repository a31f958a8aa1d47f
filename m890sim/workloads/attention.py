"""AttentionCase: ragged sequences, their pages, and what every query sees.

Letters, here and in the tasks' kernels: B sequences, T query tokens in all, P cached tokens in all,
S slots of the paged cache, HQ query heads, HKV key heads, D elements a head.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.messages import described
from m890sim.workloads.case import (
    MOST_ELEMENTS,
    MOST_PRODUCTS,
    Array,
    Case,
    Demand,
    check_extent,
    check_size,
)

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue

NARROW_ELEMENTS = 4  # of a head, where a kernel is shown to do the same whatever their number
MOST_SEQUENCES = 2**14  # of a case
LEAST_SCALE, MOST_SCALE = 2.0**-20, 2.0**20  # factors of logits that fp32 has room around
ELEMENT_BYTES = 2  # the tasks' tensors are bf16


@dataclass(frozen=True)
class Sequence:
    """One sequence of a case.

    Its query i sees its first `visible(i)` keys: the cached ones, then the new ones. Queries are
    rows first_query ... first_query + queries - 1 of `q` and `o`; where `new_keys` is True the same
    rows of `k` and `v` are its new tokens.
    """

    index: int
    cached: int  # cached tokens
    queries: int  # query tokens
    first_query: int  # row in q
    first_cached: int  # entry in kv_indices
    new_keys: bool  # the queries' own tokens are keys too, causally

    @property
    def keys(self) -> int:
        """Keys in all, cached and new."""
        return self.cached + (self.queries if self.new_keys else 0)

    def visible(self, query: int) -> int:
        """Keys that query `query` (0 ... queries - 1) attends to: always the sequence's first."""
        return self.cached + (query + 1 if self.new_keys else 0)

    @property
    def pairs(self) -> int:
        """Visible (query, key) pairs of one head."""
        triangle = self.queries * (self.queries + 1) // 2 if self.new_keys else 0
        return self.queries * self.cached + triangle


@dataclass(frozen=True)
class AttentionCase(Case):
    """One case of an attention task.

    Sequence b has `cached[b]` tokens in the paged cache and `queries[b]` query tokens. In task
    `extend` these are new tokens, keys and values included; in task `decode` there is one query a
    sequence and its own key is in the cache. Pages of `page_tokens` slots are dealt out in order
    from page 1 on, or shuffled; an eighth of the pages (at least one) stays unused. Raises:
    TypeError, ValueError for shapes no task has or that are too large (docs/judge.md).
    """

    cached: tuple[int, ...]
    queries: tuple[int, ...]
    query_heads: int
    key_heads: int
    head_elements: int
    page_tokens: int = 16
    shuffled: bool = False
    text: str = ""
    scale: float | None = None  # of the logits; None: head_elements ** -0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task not in ("extend", "decode"):
            raise ValueError(f"task must be 'extend' or 'decode', not {described(self.task)}")
        for name, least in (("cached", self.task == "decode"), ("queries", 1)):
            lengths = getattr(self, name)
            if type(lengths) is not tuple:
                raise TypeError(f"{name} must be a tuple of integers, not {described(lengths)}")
            check_extent(f"the length of {name}", len(lengths), 1, MOST_SEQUENCES)
            for length in lengths:
                check_extent(f"{name} of a sequence of task {self.task}", length, int(least))
        if len(self.cached) != len(self.queries):
            raise ValueError(
                "cached and queries must have one entry a sequence, "
                f"not {len(self.cached)} and {len(self.queries)}"
            )
        if self.task == "decode" and set(self.queries) != {1}:
            raise ValueError("queries must be 1 for every sequence of a decode case")
        for name in ("query_heads", "key_heads", "head_elements", "page_tokens"):
            check_extent(name, getattr(self, name))
        if type(self.shuffled) is not bool:
            raise TypeError(f"shuffled must be True or False, not {described(self.shuffled)}")
        if self.query_heads % self.key_heads:
            raise ValueError(
                f"query_heads ({self.query_heads}) must be a multiple of "
                f"key_heads ({self.key_heads})"
            )
        check_scale(self.scale)
        self._check_sizes()

    def _check_sizes(self) -> None:
        used = sum(-(-cached // self.page_tokens) for cached in self.cached)
        slots = (used + max(1, used // 8)) * self.page_tokens
        cache = slots * self.key_heads * self.head_elements
        check_size("the cache", cache, MOST_ELEMENTS, "elements")
        queries = sum(self.queries) * self.query_heads * self.head_elements
        check_size("q", queries, MOST_ELEMENTS, "elements")
        check_size("the case", self.demand.products, MOST_PRODUCTS, "products")

    @cached_property
    def sequences(self) -> tuple[Sequence, ...]:
        """The sequences in order."""
        found = []
        first_query = first_cached = 0
        for index, (cached, queries) in enumerate(zip(self.cached, self.queries, strict=True)):
            new_keys = self.task == "extend"
            found.append(Sequence(index, cached, queries, first_query, first_cached, new_keys))
            first_query += queries
            first_cached += cached
        return tuple(found)

    @cached_property
    def _pages(self) -> tuple[Array, int]:
        """(page numbers in the order in which they are dealt out, pages of the cache)."""
        used = sum(-(-cached // self.page_tokens) for cached in self.cached)
        total = used + max(1, used // 8)
        if not self.shuffled:
            # From 1 on: a kernel that takes the cache for contiguous from slot 0 must not be right
            # by chance.
            return np.arange(1, used + 1), total
        # The raw stream of PCG64 is the same in every NumPy; Generator.permutation need not be, and
        # cycles hang on it.
        raw = np.random.PCG64(zlib.crc32(self.name.encode())).random_raw(total)
        return np.argsort(raw, kind="stable")[:used], total

    @cached_property
    def tables(self) -> Mapping[str, Array]:
        """The launch tables by name, int64, read-only.

        kv_indptr [B + 1], kv_indices [P], and in extend qo_indptr [B + 1].
        """
        pages, _ = self._pages
        slots, at = [np.zeros(0, np.int64)], 0
        for cached in self.cached:
            tokens = np.arange(cached)
            slots.append(
                pages[at + tokens // self.page_tokens] * self.page_tokens
                + tokens % self.page_tokens
            )
            at += -(-cached // self.page_tokens)
        tables = {
            "kv_indptr": np.cumsum((0, *self.cached), dtype=np.int64),
            "kv_indices": np.concatenate(slots).astype(np.int64),
        }
        if self.task == "extend":
            tables["qo_indptr"] = np.cumsum((0, *self.queries), dtype=np.int64)
        for table in tables.values():
            table.flags.writeable = False
        return MappingProxyType(tables)

    @cached_property
    def symbols(self) -> Mapping[str, int]:
        """Values of the dimensions' symbols and of the Size parameters."""
        values = {
            "B": len(self.cached),
            "HQ": self.query_heads,
            "HKV": self.key_heads,
            "D": self.head_elements,
            "S": self._pages[1] * self.page_tokens,
            "P": sum(self.cached),
        }
        if self.task == "extend":
            values |= {
                "T": sum(self.queries),
                "max_extend": max(self.queries),
                "max_prefix": max(self.cached),
            }
        else:
            values["max_length"] = max(self.cached)
        return MappingProxyType(values)

    @property
    def scalars(self) -> Mapping[str, float]:
        """Values of the Scalar parameters: scale, D ** -0.5 where the case says nothing else."""
        usual = float(self.head_elements**-0.5)
        return MappingProxyType({"scale": usual if self.scale is None else float(self.scale)})

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Shape of `o` (and `q`): (T, HQ, D), or (B, HQ, D) in decode."""
        return (sum(self.queries), self.query_heads, self.head_elements)

    @cached_property
    def pairs(self) -> int:
        """Visible (query, key) pairs, over all sequences and query heads."""
        return self.query_heads * sum(sequence.pairs for sequence in self.sequences)

    @property
    def run_axis(self) -> int:
        """Tokens of a sequence; in decode, where each is a sequence of its own, heads."""
        return 1 if self.task == "decode" else 0

    @property
    def work(self) -> int:
        """Visible pairs."""
        return self.pairs

    @property
    def demand(self) -> Demand:
        """What rows with two visible keys or more need; a row with one is that key's value.

        Source: docs/lower_bounds.md, "What a case demands".
        """
        tokens, heads, elements = self.output_shape
        lone = sum(s.visible(0) == 1 for s in self.sequences)  # only a first query can see one key
        values = sum(s.keys for s in self.sequences)
        keys = sum(s.keys for s in self.sequences if s.keys > 1)
        token_bytes = self.key_heads * elements * ELEMENT_BYTES
        row_bytes = heads * elements * ELEMENT_BYTES
        weights = self.pairs - tokens * heads
        return Demand(
            loaded_bytes=(tokens - lone) * row_bytes + (keys + values) * token_bytes,
            stored_bytes=tokens * row_bytes,
            products=2 * weights * elements,
            elements=0,
            copied_bytes=(values - keys) * token_bytes,
            exponentials=weights,
            exponent_products=elements,
        )

    def make_inputs(self, seed: int = 0, distribution: str | None = None) -> dict[str, Any]:
        """Arguments by the names of the task's kernel parameters; distribution "normal" by default.

        Tensors are float32, rounded to bf16; tables int64; sizes int; scalars float. The same
        (case, seed, distribution) gives the same arrays. Slots of the cache that hold no token are
        NaN.
        Raises: TaskError for an unknown distribution (see `m890sim.workloads.DISTRIBUTIONS`),
        TypeError or ValueError for a seed that is no integer of 0 ... 2**64 - 1.
        """
        from m890sim.workloads.inputs import make_inputs

        return make_inputs(self, seed, distribution)

    def shared_inputs(
        self, seed: int = 0, distribution: str | None = None, rows: Array | None = None
    ) -> dict[str, Any]:
        """See `Case.shared_inputs`; rows: bool [tokens, heads].

        K and V of sequences and key heads that no such row needs may be 0.
        """
        from m890sim.workloads.inputs import shared_inputs

        return shared_inputs(self, seed, distribution, rows)

    def oracle(self, inputs: Mapping[str, Any], rows: Array | None = None) -> Array:
        """The right output in fp64, shape `output_shape`.

        rows: bool [tokens, heads], the rows to compute (all where None); the others are NaN.
        """
        from m890sim.workloads.oracle import attention

        return attention(self, inputs, rows)

    def specification(self, field: Field, inputs: Mapping[str, FieldValue]) -> FieldValue:
        """See `Case.specification`."""
        from m890sim.workloads.specification import attention

        return attention(field, self, inputs)

    def narrowed(self) -> AttentionCase | None:
        """Four elements a head."""
        if self.head_elements <= NARROW_ELEMENTS:
            return None
        return replace(self, head_elements=NARROW_ELEMENTS)


def check_scale(scale: float | None) -> None:
    """Raises: TypeError, ValueError for a factor of the logits that is no number in the range."""
    if scale is None:
        return
    if type(scale) not in (int, float):
        raise TypeError(f"scale must be a number or None, not {described(scale)}")
    if not LEAST_SCALE <= scale <= MOST_SCALE:
        raise ValueError(
            f"scale must lie from {LEAST_SCALE} to {MOST_SCALE}, not {described(scale)}"
        )
