"""`m890 check`: every error, whether a kernel fits, and what stays free."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.bind import bind
from m890sim.chip import get_chip
from m890sim.cli import main
from m890sim.cli.fit import fit
from m890sim.errors import BindError
from m890sim.kernel import print_kernel
from m890sim.language import parse
from m890sim.profile import profile_kernel
from m890sim.workloads import KERNELS, get_task, load_kernel
from tests.cli.kernels import SMALL, with_queues
from tests.generators import random_program

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A right kernel in a file."""
    path = tmp_path / "twice.py"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_check_says_that_nothing_was_run(small: Path, capsys: Capture) -> None:
    assert main(["check", str(small), "attention_reference"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"{small}: well formed, not run (3 instructions in the text, 1 phase)"


def test_check_lists_the_errors_of_all_files(small: Path, tmp_path: Path, capsys: Capture) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(SMALL.replace("t = sram", "u = sram"), encoding="utf-8")
    assert main(["check", str(wrong), str(small), "--json"]) == 2
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["ok"] is False
    assert [entry["ok"] for entry in found["kernels"]] == [False, True]
    errors = found["kernels"][0]["errors"]
    assert len(errors) >= 3
    for error in errors:
        assert f"wrong.py:{error['line']}:{error['column']}: {error['code']}" in captured.err


@pytest.mark.parametrize("name", KERNELS)
def test_check_fits_built_in_kernels_to_every_case(name: str, capsys: Capture) -> None:
    assert main(["check", name, "--task", KERNELS[name].task, "--chip", "m890"]) == 0


def test_every_bad_queue_is_named_with_its_place(tmp_path: Path, capsys: Capture) -> None:
    path = with_queues(tmp_path, 7, 9)
    assert main(["check", str(path), "--chip", "m890", "--json"]) == 2
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    errors = found["kernels"][0]["errors"]
    assert [error["code"] for error in errors] == ["E303", "E303"]
    assert [error["line"] for error in errors] == [9, 11]
    assert "queue 7, m890 has queues 0 to 3" in errors[0]["message"]
    assert found["error"]["code"] == "E303" and found["error"]["status"] == 2
    assert captured.err.count("E303") == 2 and "m890: 2 errors" in captured.err


def test_check_of_a_task_names_the_cases_that_do_not_fit(capsys: Capture) -> None:
    given = ["check", "attention_expert", "--task", "extend", "--set", "BQ=256", "--set", "BK=256"]
    assert main([*given, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["kernels"][0]
    kernel = load_kernel("attention_expert", "m890")
    changed = {case["case"] for case in found["fit"]["cases"] if not case["fits"]}
    assert changed == {name for error in found["errors"] for name in error["cases"]}
    assert 0 < len(changed) < len(get_task("extend").cases)
    assert {error["code"] for error in found["errors"]} == {"E301", "E302"}
    assert found["tunables"] == kernel.tunables | {"BQ": 256, "BK": 256}
    assert main(given) == 2
    captured = capsys.readouterr()
    assert f"fits m890 on {6 - len(changed)} of 6 cases of extend" in captured.out
    for error in found["errors"]:
        assert "bytes a core" in error["message"]
        assert f"{error['message']} ({', '.join(error['cases'])})" in captured.err


@pytest.mark.parametrize("chip", ["m890", "m890-lean", "m890-mini"])
@pytest.mark.parametrize("name", ["attention_expert", "decode_expert", "matmul_expert"])
def test_fit_agrees_with_the_launch(name: str, chip: str) -> None:
    """A case fits exactly where it can be launched; `launch` stops at the first reason."""
    kernel, spec = load_kernel(name, "m890"), get_chip(chip)
    task = get_task(KERNELS[name].task)
    found = fit(kernel, spec, task.cases)
    codes = {finding.code for finding in found.findings}
    for case, shown in zip(task.cases, found.cases, strict=True):
        try:
            bind(kernel, spec).launch(case.symbols, case.tables)
        except BindError as error:
            assert not shown.fits and error.code in codes
        else:
            assert shown.fits


def test_free_bytes_are_those_of_the_profile(capsys: Capture) -> None:
    task, chip = get_task("matmul"), get_chip("m890-mini")
    kernel = load_kernel("matmul_expert", chip)
    found = fit(kernel, chip, task.cases)
    assert not found.findings
    for case, shown in zip(task.cases, found.cases, strict=True):
        memory = profile_kernel(kernel, case, chip).memory
        expected = [(phase.line, phase.sram_free, phase.acc_free) for phase in memory]
        actual = [(each["line"], each["sram_free"], each["acc_free"]) for each in shown.phases]
        assert actual == expected
    least = found.least("sram")
    assert least is not None
    assert main(["check", "matmul_expert", "--task", "matmul", "--chip", "m890-mini"]) == 0
    assert f"least free on a core: {least[0]:,} B of SRAM ({least[1]}" in capsys.readouterr().out


def test_parameters_of_another_task_are_all_named(capsys: Capture) -> None:
    assert main(["check", "attention_reference", "--task", "decode", "--json"]) == 2
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert len(errors) > 2 and all(error["line"] for error in errors)


def test_chip_alone_says_what_it_leaves_open(small: Path, capsys: Capture) -> None:
    assert main(["check", str(small), "--chip", "m890"]) == 0
    assert "whether its tiles have room depends on the case: --task TASK" in capsys.readouterr().out


SPARE = """from m890sim.lang import *


@kernel
def spare(x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"], B: Tunable = 64):
    for i in cores(ceil_div(R, B)):
        rows = min(B, R - i * B)
        a = sram(B, C, bf16, slots=2)
        b = sram(B, C, bf16)
        c = sram(B, C, bf16)
        load(a[:rows], x[i * B : i * B + rows, :])
        load(b[:rows], y[i * B : i * B + rows, :])
        add(a[:rows], a[:rows], b[:rows])
        store(z[i * B : i * B + rows, :], a[:rows])
"""


def test_warnings_are_told_and_change_no_status(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "spare.py"
    path.write_text(SPARE, encoding="utf-8")
    assert main(["check", str(path)]) == 0
    captured = capsys.readouterr()
    unused = "W102 nothing uses the tile `c`: it only takes memory"
    assert captured.err.splitlines() == [f"{path}:10:9: {unused}"]
    assert main(["check", str(path), "--task", "vector_add", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["ok"] and "error" not in found
    warnings = found["kernels"][0]["warnings"]
    assert [(one["code"], one["line"], one["cases"]) for one in warnings] == [
        ("W202", 8, []),
        ("W102", 10, []),
    ]
    assert captured.err.count("W102") == 1


def test_slots_that_one_case_needs_are_no_warning(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "needed.py"
    path.write_text(SPARE.replace("= 64):", "= 32):"), encoding="utf-8")
    assert main(["check", str(path), "--task", "vector_add"]) == 0
    told = capsys.readouterr().err
    assert "W202" not in told
    banks = [line for line in told.splitlines() if "W201" in line]
    assert len(banks) == 1 and banks[0].startswith(f"{path}:13:9: W201 `a` and `b` share bank 0")
    assert banks[0].endswith("(add-600x96)")


def test_warnings_of_a_chip_need_no_task_where_nothing_is_given_at_launch(
    tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "fixed.py"
    text = SPARE.replace('"R", "C"', "64, 64").replace("ceil_div(R, B)", "1")
    path.write_text(text.replace("R - i", "64 - i").replace("B, C, ", "B, 64, "), encoding="utf-8")
    assert main(["check", str(path), "--chip", "m890"]) == 0
    assert "W201" in capsys.readouterr().err


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), queues=st.integers(1, 4), share=st.sampled_from([1, 8, 64]))
def test_generated_kernel_fits_exactly_where_it_can_be_launched(
    seed: int, queues: int, share: int
) -> None:
    program = random_program(seed)
    kernel = parse(print_kernel(program.kernel))
    sram, acc = (max(64, n // share) for n in (program.chip.sram_bytes, program.chip.acc_bytes))
    banks = max(1, program.chip.sram_banks // share)
    chip = replace(
        program.chip,
        dma_queues=queues,
        sram_banks=banks,
        sram_bytes=sram // banks * banks,
        acc_bytes=acc,
    )
    case = SimpleNamespace(name="case", symbols=program.symbols, tables=program.tables)
    found = fit(kernel, chip, [case])
    try:
        launch = bind(kernel, chip).launch(program.symbols, program.tables)
    except BindError as error:
        assert not found.cases[0].fits
        assert error.code in {finding.code for finding in found.findings}
    else:
        assert found.cases[0].fits and not found.findings
        free = [phase["sram_free"] for phase in found.cases[0].phases]
        assert len(free) == len(kernel.phases) and min(free, default=0) >= 0
        assert launch.places.size
