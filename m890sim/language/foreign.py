"""Words of numpy, torch and triton that no lines of the language stand for: what to do instead."""

from __future__ import annotations

# What neither an instruction nor an idiom gives, and what to do instead.
_INPUT = "no instruction gives it: compute it beforehand and pass it as an input tensor"
_FIXED = "values never say where data goes: no instruction moves or counts by them"
_SHAPE = (
    "a tensor's dimensions are integers of the kernel, by the names in its annotation "
    '(T and D for `Tensor["T", "D"]`); a tile has those of its declaration'
)
_VIEW = (
    "a tile has rows and columns and no other view: a piece of a tensor merges its dimensions, and "
    "a tile with one row or column stands for every row or column"
)
_ORDER = (
    "the machine keeps the order of the text by itself; phases have a barrier between them, and "
    "fence() waits within a core"
)
_PIECES = "write a piece: `load(a, x[i * B : i * B + B, :])`, `store(o[i * B : i * B + B, :], a)`"
ABSENT = {
    **dict.fromkeys(("len", "shape", "size", "ndim", "numel", "nrows", "ncols"), _SHAPE),
    **dict.fromkeys(
        ("sin", "cos", "tan", "erf", "atan", "arctan", "asin", "acos", "sinh", "cosh", "erfc"),
        _INPUT,
    ),
    **dict.fromkeys(
        ("rand", "randn", "random", "dropout", "normal", "uniform", "bernoulli"), _INPUT
    ),
    **dict.fromkeys(("sort", "argsort", "topk", "unique", "nonzero", "bincount"), _FIXED),
    **dict.fromkeys(
        ("gather", "take", "index_select", "scatter", "embedding"),
        "rows go by a launch table: `load(a, x[rows[n : n + B], :])`, "
        "`store(o[rows[n : n + B], :], a)`",
    ),
    **dict.fromkeys(
        (
            *("reshape", "view", "flatten", "ravel", "permute", "unsqueeze", "squeeze"),
            *("expand", "expand_dims", "broadcast_to", "repeat", "tile", "swapaxes"),
        ),
        _VIEW,
    ),
    **dict.fromkeys(
        ("program_id", "num_programs", "get_program_id", "thread_id", "threadIdx", "blockIdx"),
        "`for i in cores(n):` gives each work item its number",
    ),
    **dict.fromkeys(
        ("barrier", "syncthreads", "sync", "synchronize", "wait", "debug_barrier", "commit"),
        _ORDER,
    ),
    **dict.fromkeys(
        ("prefetch", "async_copy", "cp_async", "pipeline", "double_buffer"),
        "loads run ahead by themselves: give the tile `slots=2` inside a loop, or use "
        "`with stage(n):`",
    ),
    **dict.fromkeys(
        ("atomic_add", "atomic_max", "reduce_scatter", "allreduce"),
        "work items share nothing within a phase: store partial results into hbm(...) scratch and "
        "add them up in a second phase",
    ),
    **dict.fromkeys(
        ("print", "printf", "device_print", "breakpoint"),
        "a kernel prints nothing: store a tile to look at it, or see `m890 profile`",
    ),
    **dict.fromkeys(
        ("empty", "empty_like", "alloc", "allocate", "buffer", "array", "shared", "Tile", "tensor"),
        "declare a tile: `a = sram(rows, columns, bf16)` or `a = acc(rows, columns)`",
    ),
    **dict.fromkeys(("read", "load_tile", "ld", "dma_load", "fetch", "get"), _PIECES),
    **dict.fromkeys(("write", "store_tile", "st", "dma_store", "save", "put"), _PIECES),
    "any": _FIXED,
    "all": _FIXED,
}

# In expressions over integers, where no tile stands.
INTEGERS = {
    "abs": "write max(n, 0 - n)",
    "cdiv": "write ceil_div(a, b)",
    "ceil": "write ceil_div(a, b)",
    "floor": "write a // b",
    "int": "integers need no conversion: `//` and `ceil_div` divide them",
    "round": "`//` and `ceil_div` divide integers",
    "pow": "multiply",
    "divmod": "write a // b and a % b",
    "sum": "add one by one",
    **dict.fromkeys(
        ("float", "sqrt", "exp", "exp2", "log", "log2", "rsqrt"),
        "floats are given at launch: compute it beforehand and pass it as a Scalar parameter",
    ),
}

# Dtypes by the names of others.
DTYPE_NAMES = {
    **dict.fromkeys(("float32", "float", "fp32", "single"), "f32"),
    **dict.fromkeys(("bfloat16", "bfloat", "bfp16"), "bf16"),
    **dict.fromkeys(("float16", "half", "fp16"), "f16"),
    **dict.fromkeys(("float8", "fp8", "f8", "e4m3", "float8_e4m3fn"), "f8e4m3"),
}

# Keywords of others, and what stands for them.
_AXIS = "row_max and row_sum go along rows (axis 1), col_max and col_sum along columns (axis 0)"
KEYWORDS = {
    **dict.fromkeys(("axis", "dim"), _AXIS),
    **dict.fromkeys(("keepdims", "keepdim"), "leave it out: a result keeps its two dimensions"),
    **dict.fromkeys(("transpose_b", "trans_b"), "write `.T` behind the right operand"),
    **dict.fromkeys(("transpose_a", "trans_a"), "write `.T` behind the left operand"),
    **dict.fromkeys(("mask", "where"), "slice the pieces to the rows that there are: `a[:rows]`"),
    "out": "the result is the first operand",
    **dict.fromkeys(("acc", "accum", "beta"), "write accumulate=True"),
    "dtype": "the result has the dtype of its tile; copy converts",
}

# Annotations of parameters.
PARAMETER_KINDS = {
    "int": "write Size for an integer that the launch gives, Tunable for a constant with a default",
    "float": "write Scalar for a float that the launch gives",
    "bool": "write Size, 0 being false",
    "list": 'write Table["N"] for integers, or Tensor["N"] for values in HBM',
    **dict.fromkeys(
        ("ndarray", "array", "Array", "NDArray", "DeviceArray", "pointer", "ptr"),
        'write Tensor["T", "D"], its dimensions as strings',
    ),
    "constexpr": "write Tunable, with a default: `B: Tunable = 128`",
}
