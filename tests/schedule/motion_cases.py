"""What the tests of moving edits share: kernels from text, and edits by the text they act on."""

from __future__ import annotations

from textwrap import dedent, indent

from m890sim.kernel import ir, print_kernel
from m890sim.language import check, parse
from m890sim.schedule.edit import DEFAULT_CONTEXT, Argument, Context
from tests.schedule.editing import site_of
from tests.schedule.families import family

SPECS = family("motion")
HEAD = "from m890sim.lang import *\n\n\n@kernel\n"
PARAMS = (
    'x: Tensor["N", 8, 8], w: Tensor["N", 2, 4, 8], y: Tensor["N", 8, 8], '
    't: Table["P"], r: Table["P"], K: Tunable = 3'
)

SUM = """
    s = acc(8, 8)
    fill(s, 0.0)
    for j in range(N):
        a = sram(8, 8, bf16)
        load(a, x[j, :, :])
        add(s, s, a)
    b = sram(8, 8, bf16)
    copy(b, s)
    store(y[i, :, :], b)
"""

STAGED = """
    s = acc(8, 8)
    fill(s, 0.0)
    for j in range(N):
        a = sram(8, 8, bf16, slots=2)
        with stage(0):
            load(a, x[j, :, :])
            mul(a, a, 2.0)
        with stage(1):
            max(a, a, 0.0)
            add(s, s, a)
    b = sram(8, 8, bf16)
    copy(b, s)
    store(y[i, :, :], b)
"""

PAIR = """
    a = sram(8, 8, bf16)
    b = sram(8, 8, bf16)
    fill(b, 0.0)
    fence()
    load(a, x[i, :, :])
    add(a, a, b)
    store(y[i, :, :], a)
"""


def kernel_of(body: str, params: str = PARAMS) -> ir.Kernel:
    """A kernel whose phase `for i in cores(N)` has this body; it begins in line 7."""
    phase = "for i in cores(N):\n" + indent(dedent(body).strip(), "    ")
    return parse(f"{HEAD}def f({params}):\n{indent(phase, '    ')}\n")


def body_of(kernel: ir.Kernel) -> str:
    """The printed body of the last phase."""
    lines = print_kernel(kernel).splitlines()
    first = max(i for i, line in enumerate(lines) if "in cores(" in line)
    return dedent("\n".join(lines[first + 1 :])) + "\n"


def edited(
    kernel: ir.Kernel,
    name: str,
    text: str,
    argument: Argument = None,
    nth: int = 0,
    context: Context = DEFAULT_CONTEXT,
) -> ir.Kernel:
    """The kernel after an edit at the statement that begins so, checked."""
    changed = SPECS[name].rewrite(kernel, site_of(kernel, text, nth), argument, context)
    check(changed)
    assert parse(print_kernel(changed)) == changed
    return changed
