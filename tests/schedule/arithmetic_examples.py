"""Examples of the arithmetic edits: before and after, in one small kernel."""

from __future__ import annotations

from m890sim.kernel import ir, print_kernel
from m890sim.language import parse
from m890sim.schedule.core import tree
from m890sim.schedule.edit import DEFAULT_CONTEXT, Argument, Site
from tests.schedule.families import family

EDITS = family("arithmetic")

HEAD = """\
from m890sim.lang import *


@kernel
def example(x: Tensor["N", 8, f32], w: Tensor[8, 8], o: Tensor["N", 8, f32], c: Scalar):
    for i in cores(1):
        n = N // 1
        s = sram(16, 8, f32)
        t = sram(16, 8, f32)
        p = sram(16, 8, f32)
        h = sram(16, 8, bf16)
        wt = sram(8, 8, bf16)
        m = sram(16, 1, f32)
        r = sram(16, 1, f32)
        z = acc(16, 8)
        y = acc(16, 8)
        load(s[:n], x[:n, :])
        load(wt, w[:, :])
        copy(h[:n], s[:n])
        row_max(m[:n], s[:n])
        fill(z[:n], 0.0)
"""
TAIL = """\
        store(o[:n, :], p[:n])
"""


def example(body: str, tail: str = TAIL) -> ir.Kernel:
    """The example with statements, at the depth of its phase."""
    lines = "".join(f"        {line}\n" for line in body.strip("\n").split("\n"))
    return parse(HEAD + lines + tail)


def body_text(kernel: ir.Kernel) -> str:
    """What stands between the head and the tail, without indentation."""
    text = print_kernel(kernel)
    text = text[text.index("        fill(z[:n], 0.0)\n") :].split("\n", 1)[1]
    lines = text.rstrip("\n").split("\n")
    assert lines[-1].strip().startswith("store(o")
    return "\n".join(line[8:] for line in lines[:-1])


def run_edit(name: str, kernel: ir.Kernel, site: Site, argument: Argument = None) -> ir.Kernel:
    return EDITS[name].rewrite(kernel, site, argument, DEFAULT_CONTEXT)


def first_site(kernel: ir.Kernel, op: str, number: int = 0) -> Site:
    """The site of an instruction after the example's head."""
    found = [
        site
        for site, stmt in tree.sites(kernel)
        if isinstance(stmt, ir.Instr) and stmt.op == op and (len(site) > 2 or site[1] > 14)
    ]
    return found[number]


EXAMPLES: tuple[tuple[str, str, str, str, Argument, int], ...] = (
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], c)\nfence()\nexp(p[:n], t[:n], bias=m[:n])",
        "fence()\nexp(p[:n], s[:n], scale=c, bias=m[:n])",
        None,
        0,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(t[:n], s[:n], c)\nexp(p[:n], t[:n], scale=2.0)",
        "exp(p[:n], s[:n], scale=c * 2.0)",
        None,
        0,
    ),
    (
        "fuse_scale",
        "mul",
        "mul(s[:n], s[:n], m[:n])\nexp(s[:n], s[:n])\ncopy(p[:n], s[:n])",
        "exp(s[:n], s[:n], scale=m[:n])\ncopy(p[:n], s[:n])",
        None,
        0,
    ),
    (
        "fuse_subtract",
        "sub",
        "sub(t[:n], s[:n], m[:n])\nexp(p[:n], t[:n])",
        "neg = sram(16, 1, f32)\nmul(neg[:n], m[:n], -1.0)\nexp(p[:n], s[:n], bias=neg[:n])",
        None,
        0,
    ),
    (
        "fuse_subtract",
        "sub",
        "sub(t[:n], s[:n], m[:n])\nexp(p[:n], t[:n], scale=c)",
        "neg = sram(16, 1, f32)\nmul(neg[:n], m[:n], -c)\nexp(p[:n], s[:n], scale=c, bias=neg[:n])",
        None,
        0,
    ),
    (
        "fuse_subtract",
        "sub",
        "sub(t[:n], s[:n], 2.0)\ntanh(p[:n], t[:n], bias=c)",
        "tanh(p[:n], s[:n], bias=-2.0 + c)",
        None,
        0,
    ),
    (
        "fuse_add",
        "add",
        "add(t[:n], s[:n], m[:n])\nexp(p[:n], t[:n])",
        "exp(p[:n], s[:n], bias=m[:n])",
        None,
        0,
    ),
    (
        "fuse_add",
        "add",
        "add(t[:n], m[:n], s[:n])\nexp(p[:n], t[:n], scale=2.0)",
        "shift = sram(16, 1, f32)\nmul(shift[:n], m[:n], 2.0)\n"
        "exp(p[:n], s[:n], scale=2.0, bias=shift[:n])",
        None,
        0,
    ),
    (
        "fuse_row_sum",
        "exp",
        "exp(p[:n], s[:n])\nfence()\nrow_sum(r[:n], p[:n])",
        "exp(p[:n], s[:n], row_sum=r[:n])\nfence()",
        None,
        0,
    ),
    (
        "fuse_cast",
        "exp",
        "exp(t[:n], s[:n])\ncopy(p[:n], t[:n])",
        "exp(p[:n], s[:n])",
        None,
        0,
    ),
    (
        "fuse_mul_add",
        "mul",
        "mul(t[:n], s[:n], m[:n])\nadd(p[:n], s[:n], t[:n])",
        "fma(p[:n], s[:n], m[:n], s[:n])",
        None,
        0,
    ),
    (
        "fuse_mul_mul",
        "mul",
        "mul(t[:n], s[:n], -1.0)\nmul(p[:n], t[:n], LOG2E)",
        "mul(p[:n], s[:n], -LOG2E)",
        None,
        0,
    ),
    (
        "split_fma",
        "fma",
        "fma(p[:n], s[:n], m[:n], 1.0)",
        "product = sram(16, 8, f32)\nmul(product[:n], s[:n], m[:n])\nadd(p[:n], product[:n], 1.0)",
        None,
        0,
    ),
    (
        "split_fma",
        "fma",
        "fma(s[:n], s[:n], m[:n], 1.0)\ncopy(p[:n], s[:n])",
        "mul(s[:n], s[:n], m[:n])\nadd(s[:n], s[:n], 1.0)\ncopy(p[:n], s[:n])",
        None,
        0,
    ),
    (
        "accumulate",
        "matmul",
        "matmul(y[:n], h[:n], wt)\nadd(z[:n], z[:n], y[:n])\ncopy(p[:n], z[:n])",
        "matmul(z[:n], h[:n], wt, accumulate=True)\ncopy(p[:n], z[:n])",
        None,
        0,
    ),
    (
        "exp_to_exp2",
        "exp",
        "exp(p[:n], s[:n], scale=c, bias=m[:n])",
        "bias = sram(16, 1, f32)\nmul(bias[:n], m[:n], LOG2E)\n"
        "exp2(p[:n], s[:n], scale=c * LOG2E, bias=bias[:n])",
        None,
        0,
    ),
    (
        "exp_to_exp2",
        "exp",
        "exp(p[:n], s[:n], bias=-1.0)",
        "exp2(p[:n], s[:n], scale=LOG2E, bias=-LOG2E)",
        None,
        0,
    ),
    (
        "scale_through_max",
        "mul",
        "mul(s[:n], s[:n], LOG2E)\nrow_max(r[:n], s[:n])\nsub(p[:n], s[:n], r[:n])",
        "row_max(r[:n], s[:n])\nmul(r[:n], r[:n], LOG2E)\nmul(s[:n], s[:n], LOG2E)\n"
        "sub(p[:n], s[:n], r[:n])",
        None,
        0,
    ),
    (
        "scale_through_max",
        "mul",
        "mul(s[:n], s[:n], 2.0)\ncausal_mask(s[:n], row=0, col=0)\ncopy(p[:n], s[:n])",
        "causal_mask(s[:n], row=0, col=0)\nmul(s[:n], s[:n], 2.0)\ncopy(p[:n], s[:n])",
        None,
        0,
    ),
    (
        "scale_operand",
        "matmul",
        "for j in range(n):\n    matmul(y[:n], h[:n], wt)\n    mul(y[:n], y[:n], 0.5)\n"
        "    add(z[:n], z[:n], y[:n])\ncopy(p[:n], z[:n])",
        "scaled = sram(16, 8, bf16)\nmul(scaled[:n], h[:n], 0.5)\n"
        "for j in range(n):\n    matmul(y[:n], scaled[:n], wt)\n"
        "    add(z[:n], z[:n], y[:n])\ncopy(p[:n], z[:n])",
        "a",
        0,
    ),
    (
        "scale_operand",
        "matmul",
        "for j in range(2):\n    matmul(y[:n, :4], h[:n], wt[:, :4])\n"
        "    mul(y[:n, :4], y[:n, :4], 2.0)\ncopy(p[:n, :4], y[:n, :4])\nfill(p[:n, 4:8], 0.0)",
        "scaled = sram(8, 8, bf16)\nmul(scaled[:, :4], wt[:, :4], 2.0)\n"
        "for j in range(2):\n    matmul(y[:n, :4], h[:n], scaled[:, :4])\n"
        "copy(p[:n, :4], y[:n, :4])\nfill(p[:n, 4:8], 0.0)",
        "b",
        0,
    ),
    (
        "div_to_recip",
        "div",
        "div(p[:n], s[:n], m[:n])",
        "inverse = sram(16, 1, f32)\nrecip(inverse[:n], m[:n])\nmul(p[:n], s[:n], inverse[:n])",
        None,
        0,
    ),
    ("div_to_recip", "div", "div(p[:n], s[:n], 3.0)", "mul(p[:n], s[:n], 1.0 / 3.0)", None, 0),
    (
        "recip_to_div",
        "recip",
        "recip(m[:n], m[:n])\nmul(p[:n], s[:n], m[:n])",
        "div(p[:n], s[:n], m[:n])",
        None,
        0,
    ),
    (
        "split_rows",
        "exp2",
        "exp2(p[:n], s[:n], bias=m[:n], row_sum=r[:n])",
        "exp2(p[: n // 2], s[: n // 2], bias=m[: n // 2], row_sum=r[: n // 2])\n"
        "exp2(p[n // 2 : n], s[n // 2 : n], bias=m[n // 2 : n], row_sum=r[n // 2 : n], "
        "engine=vector)",
        (4, "vector"),
        0,
    ),
    (
        "share_rows",
        "exp2",
        "u = sram(16, 8, bf16)\nu_r = sram(16, 1, f32)\n"
        "exp2(u[:n], s[:n], row_sum=u_r[:n])\nmatmul(y[:n], u[:n], wt)\n"
        "add(p[:n], y[:n], u_r[:n])",
        "u_2 = sram(16, 8, bf16)\nu = sram(16, 8, bf16)\n"
        "u_r_2 = sram(16, 1, f32)\nu_r = sram(16, 1, f32)\n"
        "exp2(u[: n // 2], s[: n // 2], row_sum=u_r[: n // 2])\n"
        "exp2(u_2[n // 2 : n], s[n // 2 : n], row_sum=u_r_2[n // 2 : n], engine=vector)\n"
        "matmul(y[: n // 2], u[: n // 2], wt)\nmatmul(y[n // 2 : n], u_2[n // 2 : n], wt)\n"
        "add(p[: n // 2], y[: n // 2], u_r[: n // 2])\n"
        "add(p[n // 2 : n], y[n // 2 : n], u_r_2[n // 2 : n])",
        4,
        0,
    ),
    (
        "merge_rows",
        "exp",
        "exp(p[:4], s[:4], bias=m[:4])\nexp(p[4:n], s[4:n], bias=m[4:n])",
        "exp(p[:n], s[:n], bias=m[:n])",
        None,
        0,
    ),
    (
        "cse",
        "mul",
        "mul(r[:n], m[:n], -1.0)\nu = sram(16, 1, f32)\nmul(u[:n], m[:n], -1.0)\n"
        "exp(t[:n], s[:n], bias=r[:n])\nexp(p[:n], s[:n], bias=u[:n])",
        "mul(r[:n], m[:n], -1.0)\nexp(t[:n], s[:n], bias=r[:n])\nexp(p[:n], s[:n], bias=r[:n])",
        None,
        1,
    ),
)
