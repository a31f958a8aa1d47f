"""Flash attention in JAX Pallas, run by its interpreters on the CPU.

--mode FORM:WAY. WAY is `interpret` (`interpret=True`), `eager` (the same without jit, built in each
call as in a plain function), or `tpu` or `tpu-races`: the TPU interpret mode, which models a TPU's
memories, transfers and semaphores, without and with its race detector. FORM is `resident` (the keys
and values of a head are one block, and the kernel loops over them; the faster form) or `streamed`
(the grid brings one block of keys at a time, as where a head's keys don't fit the memory).
"""

from __future__ import annotations

import functools
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from protocol import BLOCK, Work, emit, measure, read_work

WAYS = {
    "interpret": lambda: True,
    "eager": lambda: True,
    "tpu": lambda: pltpu.InterpretParams(detect_races=False),
    "tpu-races": lambda: pltpu.InterpretParams(detect_races=True),
}


def step(q, k, v, largest, total, out, scale: float):
    """The running softmax after one more block of keys: the new largest, total and out."""
    scores = (
        jax.lax.dot_general(q, k, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
        * scale
    )
    larger = jnp.maximum(largest, scores.max(axis=1, keepdims=True))
    p = jnp.exp(scores - larger)
    shrink = jnp.exp(largest - larger)
    total = total * shrink + p.sum(axis=1, keepdims=True)
    return larger, total, out * shrink + jnp.dot(p, v, preferred_element_type=jnp.float32)


def start(d: int):
    """The running softmax before any key."""
    return jnp.full((BLOCK, 1), -jnp.inf), jnp.zeros((BLOCK, 1)), jnp.zeros((BLOCK, d))


def resident(q, k, v, o, *, scale: float) -> None:
    """One step of the grid (head, query block)."""

    def body(j, carried):
        keys = pl.ds(j * BLOCK, BLOCK)
        return step(q[0], k[0, keys, :], v[0, keys, :], *carried, scale)

    _, total, out = jax.lax.fori_loop(0, k.shape[1] // BLOCK, body, start(q.shape[2]))
    o[0] = out / total


def streamed(q, k, v, o, largest, total, out, *, scale: float) -> None:
    """One step of the grid (head, query block, key block); scratch refs carry the softmax."""

    @pl.when(pl.program_id(2) == 0)
    def _():
        largest[...], total[...], out[...] = start(q.shape[2])

    largest[...], total[...], out[...] = step(
        q[0], k[0], v[0], largest[...], total[...], out[...], scale
    )

    @pl.when(pl.program_id(2) == pl.num_programs(2) - 1)
    def _():
        o[0] = out[...] / total[...]


def build(work: Work, form: str, way: str):
    """The call of q, k and v."""
    blocks, d = work.tokens // BLOCK, work.d
    shape = jax.ShapeDtypeStruct(work.q.shape, jnp.float32)
    if form == "resident":
        query = pl.BlockSpec((1, BLOCK, d), lambda h, i: (h, i, 0))
        whole = pl.BlockSpec((1, work.tokens, d), lambda h, i: (h, 0, 0))
        rest = {"grid": (work.heads, blocks), "in_specs": [query, whole, whole], "out_specs": query}
    else:
        query = pl.BlockSpec((1, BLOCK, d), lambda h, i, j: (h, i, 0))
        piece = pl.BlockSpec((1, BLOCK, d), lambda h, i, j: (h, j, 0))
        rest = {
            "grid": (work.heads, blocks, blocks),
            "in_specs": [query, piece, piece],
            "out_specs": query,
            "scratch_shapes": [pltpu.VMEM((BLOCK, n), jnp.float32) for n in (1, 1, d)],
            "compiler_params": pltpu.CompilerParams(
                dimension_semantics=("parallel", "parallel", "arbitrary")
            ),
        }
    body = functools.partial({"resident": resident, "streamed": streamed}[form], scale=work.scale)
    call = pl.pallas_call(body, out_shape=shape, interpret=WAYS[way](), **rest)
    return call if way == "eager" else jax.jit(call)  # each build is compiled once


def main() -> None:
    """Run the work in float32."""
    work = read_work()
    if work.tokens % BLOCK:
        emit("failed", reason=f"tokens must be a multiple of {BLOCK} here, not {work.tokens}")
        return
    form, way = work.mode.split(":")
    built = build(work, form, way)
    q, k, v = jnp.asarray(work.q), jnp.asarray(work.k), jnp.asarray(work.v)

    def call() -> np.ndarray:
        run = build(work, form, way) if way == "eager" else built
        return np.asarray(run(q, k, v))

    measure(work, call)


if __name__ == "__main__":
    main()
