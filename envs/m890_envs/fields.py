"""The observation, field by field: what docs/environments.md lists, and the codes it uses.

Tables are append-only within a version of the environments: a column keeps its place.
"""

from __future__ import annotations

from dataclasses import dataclass

from m890sim.chip import ChipSpec
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.schedule.kinds import KINDS
from m890sim.schedule.kinds import TUNABLES as KIND_OF_TUNABLE
from m890sim.timing.attribution import FIXED_CAUSES

GRAIN = 1024  # logarithms are rounded to 1 / GRAIN: the same numbers on every machine
QUEUES = 4  # rows of DMA queues in "profile"; a chip with fewer leaves the last ones 0
TUNABLES = 8  # of "tunables"; those beyond are not shown
LARGEST = 64.0  # bound of logarithms: integers lie below 2**63


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an observation. high and low: its bounds in the space."""

    name: str
    unit: str
    text: str
    low: float = 0.0
    high: float = 1.0


STATEMENTS: dict[type, int] = {
    ir.Let: 2,
    ir.TileDecl: 3,
    ir.HbmDecl: 4,
    ir.Instr: 5,
    ir.Loop: 6,
    ir.Stage: 7,
    ir.If: 8,
    ir.Cores: 9,
}
KERNEL = 1
STATEMENT_NAMES = (
    "none",
    "kernel",
    "let",
    "tile",
    "hbm",
    "instruction",
    "loop",
    "stage",
    "if",
    "cores",
)
OPERATIONS: dict[str, int] = {name: op.number for name, op in OPS.items()}
ENGINES = ("none", "dma", "matrix", "vector", "sfu", "sequencer")

_CODE = "code"
_LOG = "log2(1 + n)"
_COUNT = "count"
_SHARE = "share of the cycles"

EXTRAS = {"scale": 1, "bias": 2, "row_sum": 4, "accumulate": 8}

# What a statement says of itself; what its place and its tiles say; what a run of it says.
OWN: tuple[Column, ...] = (
    Column(
        "statement",
        _CODE,
        ", ".join(f"{number} {name}" for number, name in enumerate(STATEMENT_NAMES)),
        high=9,
    ),
    Column(
        "operation",
        _CODE,
        "0 none, " + ", ".join(f"{number} {name}" for name, number in OPERATIONS.items()),
        high=63,
    ),
    Column("engine", _CODE, ", ".join(f"{n} {name}" for n, name in enumerate(ENGINES)), high=5),
    Column(
        "extras",
        "sum of codes",
        "keywords of an instruction: " + ", ".join(f"{n} {name}" for name, n in EXTRAS.items()),
        high=15,
    ),
    Column("queue", _COUNT, "1 + the DMA queue of a load or store; 0: none", high=16),
    Column("slots", _COUNT, "of a tile's declaration", high=63),
    Column(
        "bank", _COUNT, "1 + the first bank of a tile's declaration; 0: left to the chip", high=63
    ),
    Column(
        "order",
        _CODE,
        "of a phase: 0 none, " + ", ".join(f"{n} {name}" for n, name in enumerate(ir.ORDERS, 1)),
        high=4,
    ),
)
PLACED: tuple[Column, ...] = (
    Column("stage", _COUNT, "1 + the stage that it stands in or opens; 0: none", high=8),
    Column("depth", _COUNT, "loops and phases around it", high=63),
    Column("rows", _LOG, "rows of the tile that it declares, writes or stores", high=LARGEST),
    Column("columns", _LOG, "columns of that tile", high=LARGEST),
    Column("dtype", "bytes an element", "of that tile or scratch", high=8),
    Column(
        "tile",
        _COUNT,
        "which tile or scratch it declares or writes: 1, 2, ... in the order of the text",
        high=1023,
    ),
    Column(
        "first_read", _COUNT, "the first tile or scratch that it reads, counted alike", high=1023
    ),
    Column("second_read", _COUNT, "the second one", high=1023),
)
MEASURED: tuple[Column, ...] = (
    Column(
        "trips",
        _LOG,
        "of an instruction: times dispatched; of a block: the most of any in it",
        high=LARGEST,
    ),
    Column(
        "share",
        _SHARE,
        "of the time: from its start until its result is ready, split evenly among all that is "
        "under way at once; of a block: the sum over its instructions",
    ),
    Column("busy", _SHARE, "its engine works on it; of a block: the sum", high=64),
    Column("idle", _SHARE, "its engine stands idle before it starts; of a block: the sum", high=64),
    Column(
        "stall",
        _CODE,
        "what it waits for most: 0 nothing, 1 dispatch (the sequencer comes late while the engine "
        "is idle), 2 held (an operand or a slot is not ready while the engine is idle), 3 queued "
        "(the engine works on what was dispatched before)",
        high=3,
    ),
)
PROGRAM = (*OWN, *PLACED, *MEASURED)

PROFILE_ENGINES = (*(f"dma{queue}" for queue in range(QUEUES)), "matrix", "vector", "sfu")
PROFILE: tuple[Column, ...] = (
    *(
        Column(
            cause.replace(" ", "_"),
            _SHARE,
            f"{'working' if cause == 'busy' else 'cause: ' + cause}",
        )
        for cause in FIXED_CAUSES
    ),
    *(
        Column(f"operand_from_{engine}", _SHARE, f"waiting for a result of {engine}")
        for engine in ENGINES[1:5]
    ),
)

# Fields that came later stay out: an id keeps the shape of its observation.
_UNSEEN = ("name", "sequencer_address_operations")
CHIP: tuple[Column, ...] = tuple(
    Column(name, _LOG, name.replace("_", " "), high=LARGEST)
    for name in ChipSpec.__dataclass_fields__
    if name not in _UNSEEN
)

CASE: tuple[Column, ...] = (
    Column("reference", "log2 of cycles", "the reference kernel", high=LARGEST),
    Column("lower_bound", "log2 of cycles", "no kernel can be faster", high=LARGEST),
    Column(
        "speedup",
        "log2",
        "reference over the kernel as it is; 0 where it failed",
        -LARGEST,
        LARGEST,
    ),
    Column("timed", "0 or 1", "the kernel fits the chip and the case"),
)  # then one column, log2(1 + value), for each of the task's symbols in alphabetical order

PROGRESS: tuple[Column, ...] = (
    Column("best", "log2 of the speedup", "the best valid kernel so far", -LARGEST, LARGEST),
    Column(
        "current",
        "log2 of the speedup",
        "the kernel as it is; 0 where it failed",
        -LARGEST,
        LARGEST,
    ),
    Column("valid", "0 or 1", "0 where the kernel as it is is known to fail"),
    Column("budget_left", "share", "evaluations left over the budget; 1 without a budget"),
    Column("steps_left", "share", "steps left over the horizon"),
)
TUNABLE = Column(
    "value", _LOG, "of a tunable in the order of the parameters; 0: none", high=LARGEST
)


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of `info`."""

    name: str
    dtype: str  # of the NumPy scalar or array; "str" for a text
    shape: str
    text: str


INFO: tuple[Key, ...] = (
    Key("action_mask", "int8", "(actions,)", "1 where an action is legal"),
    Key("best_speedup", "float64", "()", "of the best valid kernel of the episode"),
    Key("correct", "int8", "()", "1 the kernel passed the gate, 0 it failed, -1 not asked"),
    Key("cycles", "int64", "(cases,)", "of the kernel as it is; -1 where it could not be timed"),
    Key("evaluations", "int64", "()", "spent in the episode, the start's included"),
    Key("evaluations_left", "int64", "()", "-1 without a budget"),
    Key("illegal", "int8", "()", "1 where the action was illegal and changed nothing"),
    Key("speedup", "float64", "()", "of the kernel as it is; 1 where it failed"),
    Key("steps", "int64", "()", "since the reset, illegal ones included"),
    Key("why", "str", "", "why the action was illegal or the kernel failed; empty otherwise"),
)

# The observation of one set of shapes ("uniform"), and the graph. Their tables are their own:
# they too are append-only, and stay as they are when those above grow.
MOST_CASES = 16  # rows of "case" beside the mean; those beyond are in the mean alone
SYMBOLS = 12  # of a case's symbols; those beyond are not shown
MOST_TENSORS = 12
DIMS = 4  # of a tensor; leading ones beyond are merged
READS = 3  # operands shown beside what an instruction writes; keywords count
PIECE_COLUMNS = ("first_row", "rows", "first_column", "columns")
# Kinds that came later stay out: an id keeps the shape of its observation.
STATEMENT_KINDS = tuple(kind for kind in KINDS if kind not in KIND_OF_TUNABLE)[:38]

UNIFORM_CHIP = (
    *CHIP,
    Column("sequencer_address_operations", _LOG, "sequencer address operations", high=LARGEST),
)
UNIFORM_CASE: tuple[Column, ...] = (
    Column("there", "0 or 1", "the row stands for a case; 1 in the mean"),
    *CASE,
    Column("work", _LOG, "elements or scores of the case", high=LARGEST),
    *(
        Column(
            f"symbol_{number}", _LOG, f"the task's symbol {number} by the alphabet", high=LARGEST
        )
        for number in range(1, SYMBOLS + 1)
    ),
)
TENSOR: tuple[Column, ...] = (
    Column("there", "0 or 1", "the row stands for a tensor"),
    Column("scratch", "0 or 1", "the kernel declares it; 0: it is a parameter"),
    Column("dtype", "bytes an element", "of the tensor", high=8),
    *(
        Column(f"dim_{number}", _LOG, "a dimension, the last one last", high=LARGEST)
        for number in range(1, DIMS + 1)
    ),
)
KIND: tuple[Column, ...] = (
    Column("number", _LOG, "statements of the kind", high=LARGEST),
    Column("share", _SHARE, "as in program, their sum", high=1023),
    Column("busy", _SHARE, "as in program, their sum", high=1023),
    Column("idle", _SHARE, "as in program, their sum", high=1023),
)
_READS = ("first", "second", "third")
UNIFORM_PROGRAM: tuple[Column, ...] = (
    *PROGRAM,
    Column("parent", _COUNT, "the place of the block that it stands in; 0: the kernel", high=4096),
    Column("third_read", _COUNT, "the third tile or scratch that it reads", high=1023),
    Column("fourth_read", _COUNT, "the fourth one", high=1023),
    Column(
        "tensor", _COUNT, "the row of tensors that it loads, stores or declares, from 1", high=63
    ),
    Column("transposed", "sum of codes", "which of the three reads is: 1, 2, 4", high=7),
    *(
        Column(f"{operand}_{name}", _LOG, f"{name.replace('_', ' ')} of {text}", high=LARGEST)
        for operand, text in (
            ("written", "the piece that it writes, in the first iteration of every loop"),
            *((f"{nth}_read", f"its {nth} operand that it reads") for nth in _READS),
        )
        for name in PIECE_COLUMNS
    ),
)
EDGES_A_NODE = 8  # room for edges of the graph
TENSOR_NODE = 10  # `statement` of a node that is a tensor among the parameters
NODE: tuple[Column, ...] = (
    Column("statement", _CODE, f"{OWN[0].text}, {TENSOR_NODE} parameter tensor", high=TENSOR_NODE),
    *PROGRAM[1:],
)
CONTAINS, FOLLOWS, WRITES, READ_BY, FLOWS = range(1, 6)
EDGE: tuple[Column, ...] = (
    Column(
        "kind",
        _CODE,
        f"{CONTAINS} from a block to a statement of it, {FOLLOWS} from a statement to the next of "
        f"its block, {WRITES} from an instruction to the declaration or tensor that it writes, "
        f"{READ_BY} from a declaration or tensor to an instruction that reads it, {FLOWS} from the "
        "instruction above that wrote a tile last to one that reads it",
        high=FLOWS,
    ),
    Column("position", _COUNT, "of the operand; 0 is what is written", high=15),
    Column("transposed", "0 or 1", "the operand is"),
    *(
        Column(
            name,
            _LOG,
            f"{name.replace('_', ' ')} of the piece, in the first iteration",
            high=LARGEST,
        )
        for name in PIECE_COLUMNS
    ),
)
COUNTS = ("nodes that are shown", "edges that are shown", "nodes that there are")

# The observation and info of an agent that writes source.
METRICS: tuple[Column, ...] = (
    Column("best", "log2", "best speedup of a right kernel", low=-LARGEST, high=LARGEST),
    Column(
        "speedup",
        "log2",
        "of the kernel that was tested last, the start at first; 0 where it failed",
        low=-LARGEST,
        high=LARGEST,
    ),
    Column("right", "0 or 1", "it is right"),
    Column("evaluations_left", _SHARE, "share of the budget"),
    Column("calls_left", _SHARE, "share of the horizon"),
    Column("taken", "0 or 1", "the action was no illegal one"),
    Column("cases", _COUNT, "public cases", high=MOST_CASES),
    *(
        Column(
            f"case_{number}",
            "log2",
            f"speedup of the kernel that was tested last on public case {number}; 0 behind the "
            "last one",
            low=-LARGEST,
            high=LARGEST,
        )
        for number in range(1, MOST_CASES + 1)
    ),
)
SOURCE_INFO: tuple[Key, ...] = (
    Key("answer", "str", "", "the whole answer to the action as JSON: text, data, what is left"),
    Key("best_speedup", "float64", "()", "of the best right kernel of the episode"),
    Key("chosen", "int64", "()", "evaluation that would be judged now; -1 where none is right"),
    Key("correct", "int8", "()", "1 the kernel that was tested last is right, 0 it is wrong"),
    Key("cycles", "int64", f"({MOST_CASES},)", "its cycles; -1 where not timed, and behind those"),
    Key("docs", "str", "", "the documentation level"),
    Key("ended", "str", "", "why the episode is over; empty while it goes on"),
    Key("evaluations", "int64", "()", "spent in the episode, the start's included"),
    Key("evaluations_left", "int64", "()", "that may still be spent"),
    Key("illegal", "int8", "()", "1 where the action was refused and changed nothing"),
    Key("speedup", "float64", "()", "of the kernel that was tested last; 1 where it failed"),
    Key("steps", "int64", "()", "since the reset: calls"),
    Key("why", "str", "", "why the action was refused or the kernel is wrong; empty otherwise"),
    Key("task", "str", "", "the task; this and the next two as options give the episode again"),
    Key("chip", "str", "", "the chip"),
    Key("cases", "tuple of str", "", "the public cases"),
    Key("chip_digest", "str", "", "of the chip's numbers"),
    Key("number", "int64", "()", "of the episode, from 0 for every seed"),
)
