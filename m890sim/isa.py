"""OPS: the instruction set, one row an instruction.

A row holds operands, engines, cost terms, meaning and documentation. Adding an instruction is
adding a row: `language` checks calls against the rows, `bind` turns the cost terms into numbers,
`execute` calls `meaning`; the timing engine never sees an opcode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from m890sim.numbering import numbered

Meaning = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]
# (number domain, argument name -> 2-D array, number or setting) -> written operand's name -> array,
# before rounding to its dtype. A written operand that is a keyword stands among the arguments as
# True where the instruction names it.


@dataclass(frozen=True, slots=True)
class Operand:
    """One tile, HBM or value operand of an instruction.

    shape: two letters or 1, e.g. "MN", "M1"; letters bind across operands. A "b" suffix ("MNb")
    lets a 1 stand for either letter (broadcast). role: "read", "write", "readwrite" or "update"
    (written, and read where `accumulate=True`). spaces: where it may live. value: a float may stand
    here instead of a tile.
    """

    name: str
    shape: str
    role: str = "read"
    spaces: tuple[str, ...] = ("sram", "acc")
    value: bool = False
    keyword: bool = False  # written as name=..., optional
    transposable: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """A keyword that is no operand.

    kind: "int" (an integer expression), "bool" or "queue". default: its value where it is left out.
    """

    name: str
    kind: str
    text: str
    default: int | bool | None = None  # None: must be written
    least: int | None = None  # smallest integer that makes sense; checked when it runs


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One instruction.

    number: what observations call it; 0 is none. family: "dma", "matrix", "vector", "sfu" or
    "sequencer". passes: engine -> passes over `size_of`'s elements (vector, sfu); the first engine
    is the default. extra_passes: (engine, keyword) -> passes more where written. same_dtype:
    operands that must share one dtype.
    """

    number: int
    name: str
    family: str
    operands: tuple[Operand, ...]
    text: str
    meaning: Meaning
    settings: tuple[Setting, ...] = ()
    passes: Mapping[str, int] = field(default_factory=dict)
    extra_passes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    size_of: str = "dst"
    same_dtype: tuple[str, ...] = ()

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines that can run it; the first is the default."""
        return tuple(self.passes) or (self.family,)

    @property
    def signature(self) -> str:
        """The call as a user writes it."""
        parts = [o.name for o in self.operands if not o.keyword]
        parts += [f"{o.name}=" for o in self.operands if o.keyword]
        parts += [
            f"{s.name}=" + ("" if s.default is None else str(s.default)) for s in self.settings
        ]
        if len(self.engines) > 1:
            parts.append("engine=" + self.engines[0])
        return f"{self.name}({', '.join(parts)})"


def _dst(shape: str = "MN", *spaces: str) -> Operand:
    return Operand("dst", shape, "write", spaces or ("sram", "acc"))


def _vector(
    number: int,
    name: str,
    text: str,
    operands: tuple[Operand, ...],
    meaning: Meaning,
    passes: int = 1,
    **rest: Any,
) -> OpSpec:
    return OpSpec(
        number, name, "vector", operands, text, meaning, passes={"vector": passes}, **rest
    )


def _binary(
    number: int, name: str, text: str, apply: Callable[[Any, Any, Any], Any], passes: int = 1
) -> OpSpec:
    operands = (_dst(), Operand("a", "MNb"), Operand("b", "MNb", value=True))
    return _vector(
        number, name, text, operands, lambda d, x: {"dst": apply(d, x["a"], x["b"])}, passes
    )


def _reduce(
    number: int, name: str, shape: str, text: str, apply: Callable[[Any, Any], Any]
) -> OpSpec:
    operands = (_dst(shape), Operand("src", "MN"))
    return _vector(
        number, name, text, operands, lambda d, x: {"dst": apply(d, x["src"])}, size_of="src"
    )


def _sfu(number: int, name: str, text: str, vector_passes: int = 0) -> OpSpec:
    operands = (
        _dst(),
        Operand("src", "MN"),
        Operand("scale", "MNb", value=True, keyword=True),
        Operand("bias", "MNb", value=True, keyword=True),
        Operand("row_sum", "M1", "write", keyword=True),
    )

    def meaning(d: Any, x: Mapping[str, Any]) -> Mapping[str, Any]:
        value = x["src"]
        if "scale" in x:
            value = d.mul(value, x["scale"])
        if "bias" in x:
            value = d.add(value, x["bias"])
        value = d.function(name, value)
        # The sum is taken before dst is rounded: the unit adds up in fp32 on its way out.
        return {"dst": value, "row_sum": d.row_sum(value)} if "row_sum" in x else {"dst": value}

    passes = {"sfu": 1} | ({"vector": vector_passes} if vector_passes else {})
    extra = {("vector", "row_sum"): 1} if vector_passes else {}
    return OpSpec(number, name, "sfu", operands, text, meaning, passes=passes, extra_passes=extra)


_ROW = Setting("row", "int", "position of the tile's first row")
_COL = Setting("col", "int", "position of the tile's first column")
_GROUP = Setting("group", "int", "rows that share one position (packed query heads)", 1, 1)
_QUEUE = Setting("queue", "queue", "DMA queue", 0)
_MASKED = (Operand("dst", "MN", "readwrite"),)

_ROWS = (
    OpSpec(
        1,
        "load",
        "dma",
        (_dst("MN", "sram"), Operand("src", "MN", spaces=("hbm",))),
        "Copy a piece of HBM into SRAM.",
        lambda d, x: {"dst": x["src"]},
        (_QUEUE,),
        same_dtype=("dst", "src"),
    ),
    OpSpec(
        2,
        "store",
        "dma",
        (_dst("MN", "hbm"), Operand("src", "MN", spaces=("sram",))),
        "Copy a piece of SRAM into HBM.",
        lambda d, x: {"dst": x["src"]},
        (_QUEUE,),
        same_dtype=("dst", "src"),
    ),
    OpSpec(
        3,
        "matmul",
        "matrix",
        (
            Operand("dst", "MN", "update", ("acc",)),
            Operand("a", "MK", spaces=("sram",), transposable=True),
            Operand("b", "KN", spaces=("sram",), transposable=True),
        ),
        "dst = a @ b, or dst += a @ b with accumulate=True; a streams, b is stationary; "
        "sums in fp32.",
        lambda d, x: {"dst": d.matmul(x["a"], x["b"], x["dst"] if x["accumulate"] else None)},
        (Setting("accumulate", "bool", "add to dst instead of replacing it", False),),
        same_dtype=("a", "b"),
    ),
    _vector(
        4,
        "copy",
        "dst = src, rounded to dst's dtype.",
        (_dst(), Operand("src", "MN")),
        lambda d, x: {"dst": x["src"]},
    ),
    _vector(
        5,
        "fill",
        "Every element of dst = value.",
        (_dst(), Operand("value", "11", value=True)),
        lambda d, x: {"dst": x["value"]},
    ),
    _binary(6, "add", "dst = a + b.", lambda d, a, b: d.add(a, b)),
    _binary(7, "sub", "dst = a - b.", lambda d, a, b: d.sub(a, b)),
    _binary(8, "mul", "dst = a * b.", lambda d, a, b: d.mul(a, b)),
    _binary(
        9,
        "div",
        "dst = a / b; division takes the vector unit eight passes.",
        lambda d, a, b: d.div(a, b),
        8,
    ),
    _binary(10, "max", "dst = the larger of a and b.", lambda d, a, b: d.maximum(a, b)),
    _binary(11, "min", "dst = the smaller of a and b.", lambda d, a, b: d.minimum(a, b)),
    _vector(
        12,
        "fma",
        "dst = a * b + c, rounded once.",
        (
            _dst(),
            Operand("a", "MNb"),
            Operand("b", "MNb", value=True),
            Operand("c", "MNb", value=True),
        ),
        lambda d, x: {"dst": d.fma(x["a"], x["b"], x["c"])},
    ),
    _reduce(13, "row_max", "M1", "dst[r] = largest element of row r.", lambda d, a: d.row_max(a)),
    _reduce(14, "row_sum", "M1", "dst[r] = sum of row r.", lambda d, a: d.row_sum(a)),
    _reduce(
        15, "col_max", "1N", "dst[c] = largest element of column c.", lambda d, a: d.col_max(a)
    ),
    _reduce(16, "col_sum", "1N", "dst[c] = sum of column c.", lambda d, a: d.col_sum(a)),
    _vector(
        17,
        "causal_mask",
        "In place: -inf where the column's position is beyond the row's: "
        "col + c > row + r // group.",
        _MASKED,
        lambda d, x: {"dst": d.mask(x["dst"], "causal", x)},
        settings=(_ROW, _COL, _GROUP),
    ),
    _vector(
        18,
        "window_mask",
        "In place: -inf where the column lies `window` or more positions behind the row: "
        "col + c <= row + r // group - window.",
        _MASKED,
        lambda d, x: {"dst": d.mask(x["dst"], "window", x)},
        settings=(
            _ROW,
            _COL,
            Setting("window", "int", "visible positions, the row's own included"),
            _GROUP,
        ),
    ),
    _vector(
        19,
        "limit_mask",
        "In place: -inf in columns c >= limit.",
        _MASKED,
        lambda d, x: {"dst": d.mask(x["dst"], "limit", x)},
        settings=(Setting("limit", "int", "visible columns"),),
    ),
    _vector(
        20,
        "transpose",
        "dst = the transpose of src; four passes.",
        (_dst("NM"), Operand("src", "MN")),
        lambda d, x: {"dst": d.transpose(x["src"])},
        4,
        size_of="src",
    ),
    _sfu(21, "exp", "dst = e ** (src * scale + bias); row_sum[r] = sum of row r of the result."),
    _sfu(
        22,
        "exp2",
        "dst = 2 ** (src * scale + bias); engine=vector is the polynomial form, six vector passes.",
        6,
    ),
    _sfu(23, "log2", "dst = log2(src * scale + bias)."),
    _sfu(24, "recip", "dst = 1 / (src * scale + bias)."),
    _sfu(25, "rsqrt", "dst = 1 / sqrt(src * scale + bias)."),
    _sfu(26, "tanh", "dst = tanh(src * scale + bias)."),
    OpSpec(
        27,
        "fence",
        "sequencer",
        (),
        "Wait until every engine of the core is idle and every transfer has completed.",
        lambda d, x: {},
    ),
)

OPS: dict[str, OpSpec] = numbered(_ROWS, "instruction", 1)
ENGINES = ("dma", "matrix", "vector", "sfu", "sequencer")
