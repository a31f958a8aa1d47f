"""`profile_kernel`: what it says of real kernels, held against other ways to know it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from m890sim import apply, get_chip, get_task, legal_edits, load_kernel, parse, print_kernel
from m890sim.chip import ChipSpec
from m890sim.errors import BindError, ChipError, LanguageError
from m890sim.kernel import ir
from m890sim.profile import Profile, profile_kernel
from m890sim.workloads import simulate

RUNS = (
    ("vector_add_reference", "vector_add", 0),
    ("matmul_expert", "matmul", 0),
    ("attention_head_expert", "attention_head", 0),
    ("decode_expert", "decode", 0),
    ("attention_9_balance", "extend", 4),
)
runs = pytest.mark.parametrize("run", RUNS, ids=lambda run: run[0])


def profile_of(run: tuple[str, str, int], chip: str = "m890") -> Profile:
    name, task, number = run
    return profile_kernel(load_kernel(name, chip), get_task(task).cases[number], chip)


@runs
def test_parts_add_up(run: tuple[str, str, int]) -> None:
    profile = profile_of(run)
    timing = simulate(profile.kernel, profile.case)
    assert profile.cycles == timing.cycles
    assert sum(part.cycles for part in profile.critical_path) == profile.cycles
    assert max(profile.cores) == profile.cycles
    written = [s for s in ir.walk(profile.kernel.body) if isinstance(s, ir.Instr)]
    ran = sum(line.count for line in profile.lines)
    if any(stmt.op == "fence" for stmt in written):  # no line of any engine
        assert ran < timing.instructions
    else:
        assert ran == timing.instructions
    for engine in profile.engines:
        assert sum(engine.causes.values()) == profile.cycles * len(profile.cores)
        own = [line for line in profile.lines if line.engine == engine.name]
        rest = engine.causes.get("launch", 0) + engine.causes.get("nothing left", 0)
        found = sum(line.cycles + line.waiting for line in own) + rest
        assert found == profile.cycles * len(profile.cores)
    moved = [line.amount for line in profile.lines if line.engine.startswith("dma")]
    assert sum(moved) == profile.hbm_bytes == timing.hbm_bytes
    assert profile.least_bytes is None or profile.least_bytes <= profile.hbm_bytes
    for line in profile.lines:
        assert line.text.split("(")[0] == line.op
        source = profile.source.splitlines()[line.line - 1]
        assert f"{line.op}(" in source
        parts = sum(line.transfer.values()) - line.transfer.get("latency", 0)
        assert parts == (line.cycles if line.transfer else 0)


def test_products_of_a_matmul_are_counted() -> None:
    profile = profile_of(("matmul_reference", "matmul", 0))
    symbols = profile.case.symbols
    macs = symbols["M"] * symbols["K"] * symbols["N"]
    assert profile.rates[0].achieved == macs
    assert [line.amount for line in profile.lines if line.op == "matmul"] == [macs]
    assert profile.roofline.intensity == macs / profile.hbm_bytes
    assert profile.roofline.attainable <= profile.roofline.peak


@runs
def test_what_ifs_are_runs_on_the_changed_chip(run: tuple[str, str, int]) -> None:
    profile = profile_of(run)
    chips = [one for one in profile.what_if if one.fields]
    assert len(chips) >= 18
    for one in chips:
        changed = profile.chip.replace(**one.fields)
        if one.cycles is None:
            with pytest.raises(BindError):
                simulate(profile.kernel, profile.case, changed)
        else:
            assert one.cycles == simulate(profile.kernel, profile.case, changed).cycles
            assert one.saved == profile.cycles - one.cycles
    saved = [one.saved for one in profile.what_if]
    assert saved == sorted(saved, reverse=True)


def test_a_slot_more_is_a_run_of_the_changed_kernel() -> None:
    profile = profile_of(RUNS[0])
    slots = [one for one in profile.what_if if one.change.startswith("one slot more")]
    tiles = [s for s in ir.walk(profile.kernel.body) if isinstance(s, ir.TileDecl)]
    assert len(slots) == len(tiles)
    for tile in tiles:
        text = f"one slot more for {tile.name} (line {tile.loc.line})"
        (one,) = [found for found in slots if found.change == text]
        lines = profile.source.splitlines()
        assert "slots" not in lines[tile.loc.line - 1]
        lines[tile.loc.line - 1] = lines[tile.loc.line - 1].rstrip(")") + ", slots=2)"
        assert one.cycles == simulate(parse("\n".join(lines) + "\n"), profile.case).cycles


def test_no_fences_is_a_run_of_the_kernel_without_them() -> None:
    profile = profile_of(RUNS[0])
    lines = [line for line in profile.source.splitlines() if line.strip() != "fence()"]
    (one,) = [found for found in profile.what_if if found.change == "no fences"]
    assert one.cycles == simulate(parse("\n".join(lines) + "\n"), profile.case).cycles
    assert one.cycles < profile.cycles
    without = profile_of(RUNS[2])
    assert "no fences" not in {found.change for found in without.what_if}


def test_changes_name_fields_and_never_what_the_chip_has_already() -> None:
    free = get_chip("m890").replace(barrier_cycles=0, dependence_cycles=0)
    kernel, case = load_kernel("vector_add_reference"), get_task("vector_add").cases[0]
    changes = {one.change for one in profile_kernel(kernel, case, free).what_if}
    assert "barriers cost nothing" not in changes and "HBM: twice as fast" in changes


@runs
def test_slots_lie_side_by_side(run: tuple[str, str, int]) -> None:
    profile = profile_of(run)
    chip = profile.rows.chip
    for phase in profile.memory:
        end = taken = 0
        for place in phase.sram:
            if not place.size:
                continue
            assert place.address >= end
            end = place.address + place.size
            taken += -(-place.size // 64) * 64
            assert place.banks == (place.address // chip.bank_bytes, (end - 1) // chip.bank_bytes)
        assert end <= chip.sram_bytes and phase.sram_free == chip.sram_bytes - taken
        assert phase.acc_free >= 0
        for (line, bank), tiles in phase.collisions.items():
            assert len(tiles) > 1 and 0 <= bank < chip.sram_banks
            (text,) = {one.text for one in profile.rows.instructions if one.line == line}
            assert all(tile in text for tile in tiles)
    ports = sum(engine.causes.get("port", 0) for engine in profile.engines)
    assert sum(sum(phase.cost.values()) for phase in profile.memory) == ports


def test_a_case_on_part_of_a_chip_has_that_many_cores() -> None:
    profile = profile_of(RUNS[2])
    assert profile.case.cores == len(profile.cores) == 1


def test_json_holds_everything_and_is_json() -> None:
    profile = profile_of(RUNS[3])
    data = json.loads(json.dumps(profile.to_json()))
    assert data["cycles"] == profile.cycles
    assert sum(data["critical_path"]["kinds"].values()) == profile.cycles
    assert sum(entry["cycles"] for entry in data["critical_path"]["lines"]) == profile.cycles
    assert sum(part["cycles"] for part in data["critical_path"]["parts"]) == profile.cycles
    assert len(data["lines"]) == len(profile.lines)
    assert len(data["what_if"]) == len(profile.what_if)
    assert [engine["name"] for engine in data["engines"]] == [e.name for e in profile.engines]
    assert "what_if" not in profile.to_json(what_if=False)


def test_lines_of_an_edited_kernel_are_those_of_its_printed_text() -> None:
    task = get_task("vector_add")
    kernel = load_kernel("vector_add_reference")
    edited = apply(kernel, legal_edits(kernel, task)[0], task)
    profile = profile_kernel(edited, task.cases[0])
    assert profile.source == print_kernel(edited)
    assert profile.cycles == simulate(edited, task.cases[0]).cycles


def test_lines_of_a_text_are_its_own() -> None:
    text = "# a remark\n" * 3 + print_kernel(load_kernel("vector_add_reference"))
    profile = profile_kernel(parse(text), get_task("vector_add").cases[0], source=text)
    plain = profile_of(RUNS[0])
    assert [line.line - 3 for line in profile.lines] == [line.line for line in plain.lines]


KERNEL, CASE = load_kernel("vector_add_reference"), get_task("vector_add").cases[0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((print_kernel(KERNEL), CASE), TypeError, "kernel must be a Kernel, as load_kernel gives"),
        ((KERNEL, "prefill-256"), TypeError, "case must be a Case, as get_task"),
        ((KERNEL, CASE, "m891"), ChipError, "m891"),
        ((KERNEL, CASE, 3), TypeError, "chip"),
        (
            (KERNEL, CASE, ChipSpec(sram_bytes=2**14, matrix_rows=16)),
            BindError,
            "SRAM",
        ),
        ((replace(KERNEL, body=()), CASE), LanguageError, "phase"),
    ],
)
def test_refusals_say_what_is_wrong(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        profile_kernel(*arguments)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (7, TypeError, "source must be a text or None, not 7"),
        ("one line\n", ValueError, "source is not the text that the kernel was parsed from"),
    ],
)
def test_a_text_that_is_not_the_kernels_is_refused(
    source: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        profile_kernel(KERNEL, CASE, source=source)
