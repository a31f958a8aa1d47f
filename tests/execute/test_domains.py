"""The interpreter over other number domains than floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from m890sim.errors import ExecutionError
from m890sim.execute import Domain, FloatDomain, execute_kernel, run_kernel
from tests.execute.texts import TWO_PHASES, kernel_of, randoms
from tests.execute.toy_domains import DependsDomain, IntervalDomain

SYMBOLS = {"T": 21, "H": 2, "D": 8}
INPUTS = {n: randoms((21, 2, 8), "bf16", seed) for seed, n in enumerate("qkv")}


def run(domain: Domain, inputs: Any = INPUTS, **rest: Any) -> Any:
    return execute_kernel(TWO_PHASES, SYMBOLS, {}, {"scale": 0.25}, inputs, domain=domain, **rest)


def test_attention_depends_on_all_inputs_and_copies_on_one() -> None:
    o = run(DependsDomain("q", "k", "v")).outputs["o"]
    assert (o == 0b111).all()
    kernel = kernel_of(
        'q: Tensor["T", "D"], k: Tensor["T", "D"], z: Tensor["T", "D"], t: Table["T"]',
        """
        for i in cores(1):
            a = sram(T, D, bf16)
            b = sram(T, D, bf16)
            load(a, q[:, :])
            load(b, k[t[:T], :])
            add(a[1:], a[1:], b[1:])
            limit_mask(a, limit=D - 1)
            fill(a[:, :1], 0.5)
            transpose(b[:D, :D], a[:D, :D])
            store(z[t[: T - 1], :], a[: T - 1])
        """,
    )
    inputs = {name: randoms((9, 8)) for name in "qk"}
    z = run_kernel(
        kernel, {"T": 9, "D": 8}, {"t": range(9)}, {}, inputs, domain=DependsDomain("q", "k")
    )["z"]
    expected = np.full((9, 8), 0b11)
    expected[0] = 0b01  # the first row is not added to
    expected[:, [0, 7]] = 0  # filled, masked
    expected[8] = -1  # not written
    np.testing.assert_array_equal(z, expected)


def test_undefined_reads_trap_in_every_domain() -> None:
    kernel = kernel_of(
        'q: Tensor["T", "D"], z: Tensor["T", "D"]',
        """
        for i in cores(1):
            a = sram(T, D, bf16)
            load(a[: T - 1], q[: T - 1, :])
            store(z[:, :], a)
        """,
    )
    for domain in (FloatDomain(), DependsDomain("q"), IntervalDomain(0.1)):
        with pytest.raises(ExecutionError, match=r'E401 store: tile "a" .* row 8 '):
            run_kernel(
                kernel, {"T": 9, "D": 8}, {}, {}, {"q": randoms((9, 8), "bf16")}, domain=domain
            )


def test_intervals_hold_every_float_run() -> None:
    radius = 0.01
    bounds = run(IntervalDomain(radius)).outputs["o"]
    assert (bounds.low <= bounds.high).all()
    assert np.isfinite(bounds.high - bounds.low).all()
    rng = np.random.default_rng(0)
    for _ in range(5):
        # Rounded once more to bf16, which the radius leaves room for.
        moved = {n: x + rng.uniform(-0.5, 0.5, x.shape) * radius for n, x in INPUTS.items()}
        moved = {n: np.where(abs(x) < 2, x, INPUTS[n]) for n, x in moved.items()}
        o = run(FloatDomain(), moved).outputs["o"]
        assert (bounds.low <= o).all()
        assert (o <= bounds.high).all()


def test_sampled_runs_take_a_domain_too() -> None:
    part = run(DependsDomain("q", "k", "v"), items=[1])
    assert set(np.unique(part.outputs["o"])) == {-1, 0b111}


def test_domains_fit_the_protocol() -> None:
    methods = {name for name in vars(Domain) if not name.startswith("_")}
    assert len(methods) > 20
    for domain in (FloatDomain, DependsDomain, IntervalDomain):
        assert methods <= set(dir(domain))
