"""EXERCISES: the ten steps. docs/exercises/README.md is their page."""

from __future__ import annotations

from collections.abc import Mapping

from m890sim.errors import ExerciseError
from m890sim.exercises.exercise import Exercise
from m890sim.messages import described
from m890sim.workloads import AttentionCase, Case
from m890sim.workloads.levels.attention_head import AttentionHeadCase
from m890sim.workloads.levels.matmul import MatmulCase
from m890sim.workloads.levels.row_softmax import RowSoftmaxCase
from m890sim.workloads.levels.vector_add import VectorAddCase


def _add(name: str, shape: Mapping[str, int]) -> Case:
    return VectorAddCase(name, "vector_add", shape["R"], shape["C"], "of an exercise")


def _softmax(name: str, shape: Mapping[str, int]) -> Case:
    return RowSoftmaxCase(name, "row_softmax", shape["R"], shape["C"], text="of an exercise")


def _matmul(name: str, shape: Mapping[str, int]) -> Case:
    rows, columns, inner = shape["M"], shape["N"], shape["K"]
    return MatmulCase(name, "matmul", rows, columns, inner, "of an exercise")


def _head(name: str, shape: Mapping[str, int]) -> Case:
    return AttentionHeadCase(name, "attention_head", shape["T"], shape["D"], "of an exercise")


def _prefill(name: str, shape: Mapping[str, int]) -> Case:
    new, heads = (shape["T"],), (8, 2)
    return AttentionCase(name, "extend", (0,), new, *heads, 128, text="of an exercise")


_STEPS = (
    Exercise(
        number=1,
        name="by_hand",
        title="Predict the cycles of one block by hand",
        text="Add up the cycles of the four instructions on m890-mini, write them down, then look.",
        task="vector_add",
        chip="m890-mini",
        shapes={"R": (16, 8, 12, 20, 24, 32), "C": (64, 48, 80, 96, 128)},
        case=_add,
        asks=("cycles", "bottleneck"),
        changes=False,
        advice="Launch and core start; then per transfer the issue and the bytes; the latency and "
        "completion until its result is known; one dependence where another engine goes on.",
    ),
    Exercise(
        number=2,
        name="fences",
        title="Take the fences away",
        text="Let each instruction wait for its operands alone.",
        task="vector_add",
        chip="m890",
        shapes={"R": (768, 640, 896, 1024, 1152), "C": (256, 192, 320, 384)},
        case=_add,
        advice="An instruction waits for its operands without being told; a fence waits for "
        "everything.",
    ),
    Exercise(
        number=3,
        name="queues",
        title="Use the queues, and let blocks overlap",
        text="Transfers of one block side by side, and the next block under way during this one.",
        task="vector_add",
        chip="m890",
        shapes={"R": (896, 768, 1024, 1152, 1280), "C": (256, 192, 320, 384)},
        case=_add,
        advice="`queue=` of load and store picks one of four queues; `slots=` of a tile lets the "
        "next pass of a loop or work item begin while the last one still uses its copy.",
    ),
    Exercise(
        number=4,
        name="items",
        title="Give every core a work item, and none too small",
        text="Cut the rows into items so that all sixteen cores work and each step is long enough.",
        task="row_softmax",
        chip="m890",
        shapes={"R": (256, 192, 224, 288, 320), "C": (512, 384, 448, 640)},
        case=_softmax,
        advice="As many items as cores, or a multiple; and every instruction and transfer has a "
        "start-up, so that few large ones cost less than many small ones.",
    ),
    Exercise(
        number=5,
        name="fuse",
        title="Fuse the steps of a softmax",
        text="Let one pass of the SFU do what several instructions do now.",
        task="row_softmax",
        chip="m890",
        shapes={"R": (1536, 1280, 1792, 2048), "C": (512, 384, 640, 768)},
        case=_softmax,
        slack=8,
        advice="exp2(dst, src, scale=, bias=, row_sum=) takes the scale, the subtraction and the "
        "sum along, and e**x = 2**(x * LOG2E); a product with recip of a column replaces div.",
    ),
    Exercise(
        number=6,
        name="blocks",
        title="Choose blocks for the matrix unit",
        text="Sum up in ACC, and find blocks that fill the array and still give cores work.",
        task="matmul",
        chip="m890",
        shapes={"M": (256, 224, 320), "N": (256, 384), "K": (512, 448, 640)},
        case=_matmul,
        slack=10,
        advice="matmul(..., accumulate=True) adds to what is in ACC; the array takes 128 x 128 of "
        "the right operand at a time, however little of it is used.",
    ),
    Exercise(
        number=7,
        name="operands",
        title="Bring the operands in time",
        text="Longer runs of HBM, all four queues, and the next block under way.",
        task="matmul",
        chip="m890",
        shapes={"M": (256, 240, 272), "N": (128, 160, 192), "K": (1024, 896, 1152)},
        case=_matmul,
        slack=10,
        advice="A piece with all columns of a tensor is one run; each queue moves its own bytes "
        "side by side with the others; slots=2 lets the next block load during this one.",
    ),
    Exercise(
        number=8,
        name="softmax",
        title="Attention of one head: fuse, overlap, enlarge",
        text="What you did to a softmax and to a matmul, in one kernel and on one core.",
        task="attention_head",
        chip="m890",
        shapes={"T": (512, 448, 480, 576), "D": (64, 128)},
        case=_head,
        slack=10,
        advice="Exercises 3, 5 and 6 in turn: transfers ahead, one pass of the SFU, larger blocks; "
        "and no mask where every key is visible.",
    ),
    Exercise(
        number=9,
        name="stages",
        title="Attention of one head: stages",
        text="Software pipelining: the next block's scores beside this block's softmax.",
        task="attention_head",
        chip="m890",
        shapes={"T": (768, 640, 704, 832), "D": (64, 128)},
        case=_head,
        slack=8,
        advice="with stage(n): puts the loads, the scores and the softmax of three iterations side "
        "by side; what a stage hands to a later one needs a slot for each iteration between them.",
    ),
    Exercise(
        number=10,
        name="prefill",
        title="Prefill, eight times as fast",
        text="Reach 8x on prefill-1024 without opening the ladder.",
        task="extend",
        chip="m890",
        shapes={"T": (1024, 896, 960, 1088, 1152)},
        case=_prefill,
        built_in="attention_8_stages",
        slack=15,
        speedup=8,
        advice="`m890 profile` and `m890 suggest` name what is next; nine exercises have named "
        "what can be done about it.",
    ),
)
EXERCISES: dict[int, Exercise] = {exercise.number: exercise for exercise in _STEPS}


_BY_NAME = {
    name: number
    for number, one in EXERCISES.items()
    for name in (str(number), f"{number:02}", one.name, one.file, one.file.removesuffix(".py"))
}


def is_exercise(name: str) -> bool:
    """Whether `get_exercise` knows the name."""
    return name in _BY_NAME


def get_exercise(name: int | str) -> Exercise:
    """The exercise of a number, or of a name such as `3`, `queues` or `ex03_queues.py`.

    Raises: ExerciseError for an unknown one.
    """
    number = name if type(name) is int else _BY_NAME.get(name) if isinstance(name, str) else None
    if number in EXERCISES:
        return EXERCISES[number]
    raise ExerciseError(
        f"no exercise {described(name)}; they are 1 to {len(EXERCISES)}: "
        f"{', '.join(e.name for e in EXERCISES.values())}"
    )
