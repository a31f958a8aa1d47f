"""Level `attention_head`: causal attention of one head on one core. The suite's ideas, small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.kernel.ir import Param
from m890sim.workloads.attention import NARROW_ELEMENTS, AttentionCase, check_scale
from m890sim.workloads.case import Array, Case, Demand, check_extent, chosen_rows, input_of
from m890sim.workloads.hidden import (
    LARGEST_HEAD,
    CaseDice,
    HiddenCases,
    drawn_elements,
    drawn_length,
    drawn_scale,
    largest_of,
)
from m890sim.workloads.level import Level, LevelStep, dot, plain_softmax
from m890sim.workloads.specification import attend
from m890sim.workloads.task import tensor

if TYPE_CHECKING:
    from m890sim.execute.fields import Field, FieldValue


LENGTHS = {"T": (512, 1024)}  # of hidden cases: usually, and long


@dataclass(frozen=True)
class AttentionHeadCase(Case):
    """o[T, D] = causal attention of q, k and v [T, D]: a prefill with one head, on one core."""

    tokens: int
    elements: int
    text: str = ""
    scale: float | None = None  # of the logits; None: elements ** -0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_extent("tokens", self.tokens)
        check_extent("elements", self.elements)
        check_scale(self.scale)
        self.prefill.__post_init__()  # whose sizes are the case's

    @cached_property
    def prefill(self) -> AttentionCase:
        """The same as a case of `extend`."""
        tokens = (self.tokens,)
        return AttentionCase(
            self.name, "extend", (0,), tokens, 1, 1, self.elements, scale=self.scale
        )

    @property
    def symbols(self) -> Mapping[str, int]:
        """T tokens, D elements."""
        return {"T": self.tokens, "D": self.elements}

    @property
    def scalars(self) -> Mapping[str, float]:
        """The factor of the logits, D ** -0.5 where the case says nothing else."""
        return self.prefill.scalars

    @property
    def output_shape(self) -> tuple[int, int]:
        """Shape of `o` (and `q`, `k`, `v`): (T, D)."""
        return (self.tokens, self.elements)

    @property
    def work(self) -> int:
        """Visible (query, key) pairs."""
        return self.prefill.pairs

    @property
    def demand(self) -> Demand:
        """What the prefill demands."""
        return self.prefill.demand

    @property
    def cores(self) -> int:
        """One: what is learnt here is how one core is kept busy."""
        return 1

    def make_inputs(self, seed: int = 0, distribution: str | None = None) -> dict[str, Any]:
        """See `Case.make_inputs`."""
        inputs = self.prefill.make_inputs(seed, distribution)
        return {name: inputs[name][:, 0] for name in ("q", "k", "v")} | dict(self.scalars)

    def oracle(self, inputs: Mapping[str, Any], rows: Array | None = None) -> Array:
        """See `Case.oracle`."""
        case = self.prefill
        wanted = chosen_rows(self, rows)
        tensors = {name: input_of(inputs, name, self.output_shape)[:, None] for name in "qkv"}
        cache = np.zeros((case.symbols["S"], 1, self.elements))
        whole = {**case.tables, **tensors, "k_cache": cache, "v_cache": cache}
        whole["scale"] = input_of(inputs, "scale", ())
        return case.oracle(whole, wanted[:, None])[:, 0]

    def specification(self, field: Field, inputs: Mapping[str, FieldValue]) -> FieldValue:
        """See `Case.specification`."""
        seen = np.arange(1, self.tokens + 1)
        q, k, v = inputs["q"].q, inputs["k"].q, inputs["v"].p
        found = attend(field, q, k, v, seen)
        return field.modulo_p(found)

    def narrowed(self) -> AttentionHeadCase | None:
        """Four elements a row."""
        return None if self.elements <= NARROW_ELEMENTS else replace(self, elements=NARROW_ELEMENTS)


def _hidden(dice: CaseDice) -> AttentionHeadCase:
    tokens, elements = drawn_length(dice, "tokens", *LENGTHS["T"]), drawn_elements(dice)
    scale = drawn_scale(dice, float(elements**-0.5))
    return AttentionHeadCase(dice.name, "attention_head", tokens, elements, "drawn", scale)


def _definition(inputs: Mapping[str, Any]) -> list[list[float]]:
    q, k, v = (inputs[name] for name in "qkv")
    output = []
    for row, query in enumerate(q):
        weights = plain_softmax([inputs["scale"] * dot(query, key) for key in k[: row + 1]])
        columns = zip(*v[: row + 1], strict=True)
        output.append([dot(weights, list(column)) for column in columns])
    return output


LEVEL = Level(
    "attention_head",
    "Causal attention of one head, on one core.",
    (
        tensor("q", "T", "D"),
        tensor("k", "T", "D"),
        tensor("v", "T", "D"),
        tensor("o", "T", "D"),
        Param("scale", "scalar"),
    ),
    ("o",),
    (
        AttentionHeadCase("head-256", "attention_head", 256, 64, "four blocks of 64 queries"),
        AttentionHeadCase("head-192", "attention_head", 192, 128, "wider heads"),
        AttentionHeadCase("head-330", "attention_head", 330, 64, "a last block in part"),
    ),
    "attention_head_reference",
    "attention_head_expert",
    positive=("scale",),
    hidden=HiddenCases("attention_head-2", _hidden, (*largest_of(LENGTHS), ("D", LARGEST_HEAD))),
    number=3,
    formula="causal attention of one head",
    lesson="all of it, and stages; on one core, so that only what happens inside a core counts",
    ideas=(
        "a first port: 64 x 64 blocks, online softmax, a fence after each step",
        "the expert: all keys in SRAM, one softmax a query block, four stages",
    ),
    steps=(
        LevelStep("no_fences", "no fences: the scoreboard keeps the order"),
        LevelStep("slots", "keys and values on two queues, in two slots"),
        LevelStep("softmax", "fused softmax: scale, bias and row sums in one pass of the SFU"),
        LevelStep(
            "stages", "stages: loads two blocks ahead, scores one", {"m890-mini": {"BQ": 32}}
        ),
    ),
    speedup=6.5,
    tiny=AttentionHeadCase("tiny-head", "attention_head", 67, 4),
    definition=_definition,
    fixed_cases=("head-256", "head-330"),
    lengths=LENGTHS,
    bound=("as above, one head", "as above", "0", ""),
    tuned={"m890-mini": {"QUEUES": 2, "BQ": 12, "SRAM": 126000, "ACC": 64000}},
)
