"""IDIOMS: what people write from numpy, torch or triton, as lines of this language.

A row holds the names that are typed and lines that do the same. Tests run every row and compare it
with numpy; docs/language.md prints the table; messages quote it.
"""

from __future__ import annotations

from dataclasses import dataclass

# The tiles of the lines. Rows of `dst`, `a`, `b` and `c` are alike.
TILES = {
    "dst": "the result",
    "a": "an operand",
    "b": "an operand",
    "c": "an operand",
    "t": "a further f32 tile of the same shape",
    "u": "a further f32 tile of the same shape",
    "r": "a column, sram(rows, 1, f32)",
    "s": "a further column, sram(rows, 1, f32)",
    "i": "a row, sram(1, columns, f32)",
    "p": "an accumulator, acc(rows, columns)",
}


@dataclass(frozen=True, slots=True)
class Idiom:
    """One thing that has no instruction of its own.

    names: what is typed; a name that begins with "." counts only after a dot (`a.sum()`, `np.sum`).
    lines: instructions over the tiles of `TILES`. takes: the tiles of the lines that a call of the
    name has as arguments, the one for the result first. note: what else there is to know.
    """

    names: tuple[str, ...]
    lines: tuple[str, ...]
    takes: tuple[str, ...] = ("dst", "a")
    note: str = ""

    @property
    def scratch(self) -> tuple[str, ...]:
        """Tiles of the lines that a call does not name, in the order of `TILES`."""
        words = {word for line in self.lines for word in line.replace("(", " ").split()}
        used = {word.strip("(),") for word in words} & set(TILES)
        return tuple(name for name in TILES if name in used and name not in self.takes)


_SIGN = ("mul(t, t, 1e38)", "max(t, t, 0.0)", "min(dst, t, 1.0)")  # 1 where t > 0, else 0
_RINT = ("add(t, a, 12582912.0)", "sub(t, t, 12582912.0)")  # t = a, to the nearest integer
_STEP = ("mul(u, u, 1e38)", "max(u, u, 0.0)", "min(u, u, 1.0)")
_64 = "64 stands for the number of columns; give 1 / columns as a Scalar where it varies"
_MASKS = "1 where it holds, else 0; differences of more than 1e-38"
_BINARY = ("dst", "a", "b")
_COLUMN = ("r", "a")
_ROW = ("i", "a")

IDIOMS = (
    Idiom(
        ("abs", "absolute", "fabs", ".abs_"), ("mul(t, a, -1.0)", "max(dst, a, t)"), ("dst", "a")
    ),
    Idiom(("neg", "negative", "negate"), ("mul(dst, a, -1.0)",)),
    Idiom(("sqrt",), ("rsqrt(t, a)", "recip(dst, t)")),
    Idiom(("square",), ("mul(dst, a, a)",)),
    Idiom(
        ("pow", "power", "float_power"),
        ("log2(t, a)", "mul(t, t, b)", "exp2(dst, t)"),
        _BINARY,
        "for a above 0; squares are mul(dst, a, a)",
    ),
    Idiom(("log", "ln"), ("log2(t, a)", "mul(dst, t, LN2)")),
    Idiom(
        ("log1p",),
        ("log2(t, a, bias=1.0)", "mul(dst, t, LN2)"),
        note="no more exact near 0 than f32",
    ),
    Idiom(("log10",), ("log2(t, a)", "mul(dst, t, 0.30102999566398120)")),
    Idiom(("expm1",), ("exp(t, a)", "sub(dst, t, 1.0)"), note="no more exact near 0 than f32"),
    Idiom(("sigmoid", "expit", "logistic"), ("tanh(t, a, scale=0.5)", "fma(dst, t, 0.5, 0.5)")),
    Idiom(
        ("silu", "swish"),
        ("tanh(t, a, scale=0.5)", "fma(t, t, 0.5, 0.5)", "mul(dst, a, t)"),
    ),
    Idiom(
        ("gelu",),
        (
            "mul(t, a, a)",
            "fma(t, t, 0.044715, 1.0)",
            "mul(t, t, a)",
            "tanh(t, t, scale=0.7978845608)",
            "fma(t, t, 0.5, 0.5)",
            "mul(dst, a, t)",
        ),
        note="the tanh form",
    ),
    Idiom(("relu",), ("max(dst, a, 0.0)",)),
    Idiom(("leaky_relu",), ("mul(t, a, 0.01)", "max(dst, a, t)")),
    Idiom(
        ("softplus",),
        (
            "mul(t, a, -1.0)",
            "min(t, a, t)",
            "exp(t, t)",
            "log2(t, t, bias=1.0)",
            "mul(t, t, LN2)",
            "max(dst, a, 0.0)",
            "add(dst, dst, t)",
        ),
    ),
    Idiom(
        ("clip", "clamp"),
        ("max(t, a, b)", "min(dst, t, c)"),
        ("dst", "a", "b", "c"),
        "b and c are the bounds, floats too",
    ),
    Idiom(
        ("sign", "sgn"),
        ("mul(t, a, 1e38)", "max(t, t, -1.0)", "min(dst, t, 1.0)"),
        note="values beyond 1e-38 from 0",
    ),
    Idiom(
        ("round", "rint", "around"),
        ("add(t, a, 12582912.0)", "sub(dst, t, 12582912.0)"),
        note="up to 2**22 either way; t is f32",
    ),
    Idiom(
        ("floor",),
        (*_RINT, "sub(u, t, a)", *_STEP, "sub(dst, t, u)"),
        note="up to 2**22 either way; t is f32",
    ),
    Idiom(
        ("ceil",),
        (*_RINT, "sub(u, a, t)", *_STEP, "add(dst, t, u)"),
        note="up to 2**22 either way; t is f32",
    ),
    Idiom(("maximum", "fmax"), ("max(dst, a, b)",), _BINARY),
    Idiom(("minimum", "fmin"), ("min(dst, a, b)",), _BINARY),
    Idiom(("plus",), ("add(dst, a, b)",), _BINARY),
    Idiom(("subtract", "minus"), ("sub(dst, a, b)",), _BINARY),
    Idiom(("multiply", "times", "mult"), ("mul(dst, a, b)",), _BINARY),
    Idiom(("divide", "true_divide", "truediv"), ("div(dst, a, b)",), _BINARY),
    Idiom(("reciprocal", "rcp", "inverse"), ("recip(dst, a)",)),
    Idiom(
        ("mad", "mac", "fmadd", "muladd", "madd", "addcmul"),
        ("fma(dst, a, b, c)",),
        ("dst", "a", "b", "c"),
    ),
    Idiom(("greater", "gt"), ("sub(t, a, b)", *_SIGN), _BINARY, _MASKS),
    Idiom(("less", "lt"), ("sub(t, b, a)", *_SIGN), _BINARY, _MASKS),
    Idiom(
        ("greater_equal", "ge"),
        ("sub(t, b, a)", *_SIGN[:2], "min(t, t, 1.0)", "fma(dst, t, -1.0, 1.0)"),
        _BINARY,
        _MASKS,
    ),
    Idiom(
        ("less_equal", "le"),
        ("sub(t, a, b)", *_SIGN[:2], "min(t, t, 1.0)", "fma(dst, t, -1.0, 1.0)"),
        _BINARY,
        _MASKS,
    ),
    Idiom(
        ("equal", "eq"),
        (
            "sub(t, a, b)",
            "mul(u, t, -1.0)",
            "min(t, t, u)",
            "mul(t, t, 1e38)",
            "max(t, t, -1.0)",
            "add(dst, t, 1.0)",
        ),
        _BINARY,
        _MASKS,
    ),
    Idiom(
        ("not_equal", "ne"),
        (
            "sub(t, a, b)",
            "mul(u, t, -1.0)",
            "max(t, t, u)",
            "mul(t, t, 1e38)",
            "min(dst, t, 1.0)",
        ),
        _BINARY,
        _MASKS,
    ),
    Idiom(("logical_and",), ("mul(dst, a, b)",), _BINARY, "masks of 1 and 0"),
    Idiom(("logical_or",), ("max(dst, a, b)",), _BINARY, "masks of 1 and 0"),
    Idiom(("logical_not",), ("fma(dst, a, -1.0, 1.0)",), note="a mask of 1 and 0"),
    Idiom(
        ("where", "select"),
        ("fma(t, a, -1.0, 1.0)", "mul(t, t, c)", "fma(dst, a, b, t)"),
        ("dst", "a", "b", "c"),
        "a is 1 or 0, b and c are finite; causal_mask, window_mask and limit_mask go by position",
    ),
    Idiom(
        ("masked_fill",),
        ("fma(dst, b, -1e30, a)",),
        _BINARY,
        "b is 1 where a is masked out; causal_mask, window_mask and limit_mask go by position",
    ),
    Idiom(
        ("row_min", ".min", ".amin", "reduce_min"),
        ("mul(t, a, -1.0)", "row_max(r, t)", "mul(r, r, -1.0)"),
        _COLUMN,
    ),
    Idiom(("col_min",), ("mul(t, a, -1.0)", "col_max(i, t)", "mul(i, i, -1.0)"), _ROW),
    Idiom((".max", ".amax", "reduce_max"), ("row_max(r, a)",), _COLUMN, "col_max for columns"),
    Idiom(("sum", "reduce_sum"), ("row_sum(r, a)",), _COLUMN, "col_sum for columns"),
    Idiom(
        ("prod", "row_prod"),
        ("log2(t, a)", "row_sum(r, t)", "exp2(r, r)"),
        _COLUMN,
        "for a above 0",
    ),
    Idiom(("mean", "row_mean", "average"), ("row_sum(r, a)", "mul(r, r, 1.0 / 64)"), _COLUMN, _64),
    Idiom(
        ("col_mean",),
        ("col_sum(i, a)", "mul(i, i, 1.0 / 64)"),
        _ROW,
        "64 stands for the number of rows",
    ),
    Idiom(
        ("var", "variance", "row_var"),
        (
            "row_sum(r, a)",
            "mul(r, r, 1.0 / 64)",
            "sub(t, a, r)",
            "mul(t, t, t)",
            "row_sum(r, t)",
            "mul(r, r, 1.0 / 64)",
        ),
        _COLUMN,
        _64,
    ),
    Idiom(
        ("norm", "row_norm"),
        ("mul(t, a, a)", "row_sum(r, t)", "rsqrt(r, r)", "recip(r, r)"),
        _COLUMN,
    ),
    Idiom(
        ("rms_norm", "rmsnorm"),
        (
            "mul(t, a, a)",
            "row_sum(r, t)",
            "rsqrt(r, r, scale=1.0 / 64, bias=1e-6)",
            "mul(dst, a, r)",
        ),
        note=_64,
    ),
    Idiom(
        ("layer_norm", "layernorm"),
        (
            "row_sum(r, a)",
            "mul(r, r, 1.0 / 64)",
            "sub(t, a, r)",
            "mul(u, t, t)",
            "row_sum(r, u)",
            "rsqrt(r, r, scale=1.0 / 64, bias=1e-6)",
            "mul(dst, t, r)",
        ),
        note=_64,
    ),
    Idiom(
        ("softmax", "row_softmax"),
        (
            "row_max(r, a)",
            "sub(t, a, r)",
            "exp(t, t, row_sum=s)",
            "recip(s, s)",
            "mul(dst, t, s)",
        ),
    ),
    Idiom(
        ("logsumexp",),
        (
            "row_max(r, a)",
            "sub(t, a, r)",
            "exp(t, t, row_sum=s)",
            "log2(s, s)",
            "fma(r, s, LN2, r)",
        ),
        _COLUMN,
    ),
    Idiom(
        ("argmax", "row_argmax"),
        (
            "row_max(r, a)",
            "sub(t, a, r)",
            "mul(t, t, 1e38)",
            "sub(t, t, i)",
            "row_max(r, t)",
            "mul(r, r, -1.0)",
        ),
        _COLUMN,
        "i holds 0, 1, 2, ... (an input): the first place of the largest, as a float",
    ),
    Idiom(
        ("argmin", "row_argmin"),
        (
            "mul(t, a, -1.0)",
            "row_max(r, t)",
            "sub(t, t, r)",
            "mul(t, t, 1e38)",
            "sub(t, t, i)",
            "row_max(r, t)",
            "mul(r, r, -1.0)",
        ),
        _COLUMN,
        "i holds 0, 1, 2, ... (an input): the first place of the smallest, as a float",
    ),
    Idiom(
        ("cumsum",),
        (
            "fill(t, 0.0)",
            "causal_mask(t, row=0, col=0)",
            "exp2(t, t)",
            "matmul(p, a, t.T)",
            "copy(dst, p)",
        ),
        note="along rows; t is square, as wide as a, and of a's dtype",
    ),
    Idiom(
        ("arange", "iota"),
        (
            "fill(t, 0.0)",
            "causal_mask(t, row=0, col=0)",
            "exp2(t, t)",
            "col_sum(i, t)",
            "fma(i, i, -1.0, 64.0)",
        ),
        ("i",),
        "t is square, 64 stands for its size; an input of 0, 1, 2, ... is cheaper; pieces of "
        "tensors need no offsets: x[i * B : i * B + B, :]",
    ),
    Idiom(("zeros", "zeros_like", "zero", "clear"), ("fill(dst, 0.0)",), ("dst",)),
    Idiom(("ones", "ones_like"), ("fill(dst, 1.0)",), ("dst",)),
    Idiom(("full", "full_like", "set"), ("fill(dst, 2.0)",), ("dst",), "here with 2"),
    Idiom(
        ("dot", "mm", "gemm", "bmm", "tl_dot", "mma", "einsum", "linear"),
        ("matmul(p, a, b)", "copy(dst, p)"),
        _BINARY,
        "a and b lie in SRAM, of one dtype; accumulate=True adds to p",
    ),
    Idiom(("outer",), ("mul(dst, r, i)",), ("dst", "r", "i")),
    Idiom(
        ("astype", "cast", "convert", "to", ".float", ".half", ".bfloat16", "cvt", "type_as"),
        ("copy(dst, a)",),
        note="rounds to dst's dtype",
    ),
    Idiom(("move", "mov", "assign", "clone", "memcpy", "contiguous"), ("copy(dst, a)",)),
    Idiom(
        ("concatenate", "concat", "cat", "hstack", "stack", "vstack"),
        ("copy(dst[32:], b[:32])", "copy(dst[:32], a[:32])"),
        _BINARY,
        "pieces of one tile",
    ),
)

BY_NAME = {name: idiom for idiom in IDIOMS for name in idiom.names}
