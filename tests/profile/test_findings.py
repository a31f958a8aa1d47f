"""Findings and remedies: what a profile's numbers say, and which edits that speaks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from m890sim import get_task, load_kernel
from m890sim.kernel import ir, print_kernel
from m890sim.language import parse
from m890sim.profile import profile_kernel
from m890sim.profile.findings import REASONS, findings
from m890sim.profile.remedies import REMEDIES, Remedy, single_tunables
from m890sim.profile.remedy_parts import (
    EachPlace,
    HalvedTransfers,
    SpreadTransfers,
    StoresApart,
    mark,
    weights_of,
)
from m890sim.schedule import EDITS
from m890sim.schedule.core.tree import sites
from m890sim.schedule.kinds import KINDS
from m890sim.session import KernelSession, Memory
from m890sim.workloads import KERNELS

NAMES = (
    "vector_add_reference",
    "matmul_reference",
    "attention_head_reference",
    "attention_head_expert",
    "decode_8_pages",
)
MEMORY = Memory()


def data_of(name: str) -> dict[str, Any]:
    task = get_task(KERNELS[name].task)
    return profile_kernel(load_kernel(name), task.cases[0]).to_json(what_if=False)


def session(start: str | ir.Kernel, task: str) -> KernelSession:
    cases = [get_task(task).cases[0]]
    return KernelSession(task, cases, start=start, verify="never", memory=MEMORY)


def remedy(name: str) -> Remedy:
    return next(one for one in REMEDIES if one.name == name)


def tiny() -> dict[str, Any]:
    """A run of 100 cycles on two cores, one of them idle: a load, then a sum behind a fence."""
    load = {"line": 5, "op": "load", "engine": "dma0", "cycles": 40, "stalls": {}, "critical": {}}
    transfer = {"issue": 10, "bytes": 10, "runs": 20, "hbm": 0, "port": 0, "latency": 30}
    add = {"line": 7, "op": "add", "engine": "vector", "cycles": 20, "stalls": {"fence": 70}}
    return {
        "cycles": 100,
        "cores": {"ends": [100, 0]},
        "engines": [
            {"name": "dma0", "busy": 0.2, "causes": {"busy": 40, "slot": 12, "nothing left": 148}},
            {"name": "dma1", "busy": 0.0, "causes": {"nothing left": 200}},
            {"name": "vector", "busy": 0.1, "causes": {"busy": 20, "fence": 70, "launch": 110}},
        ],
        "rates": [{"name": "vector", "share": 0.05}],
        "hbm": {"bytes": 400, "least_bytes": 100},
        "lines": [
            load | {"critical": {"busy": 40, "latency": 30}, "transfer": transfer},
            add | {"critical": {"busy": 20}, "transfer": {}},
        ],
        "critical_path": {
            "kinds": {"launch": 10, "barrier": 0},
            "parts": [
                {"line": 0, "engine": "", "kind": "launch", "cycles": 10},
                {"line": 5, "engine": "dma0", "kind": "busy", "cycles": 40},
                {"line": 5, "engine": "dma0", "kind": "latency", "cycles": 30},
                {"line": 7, "engine": "vector", "kind": "busy", "cycles": 20},
            ],
        },
    }


def test_findings_of_a_run_that_one_can_check_by_hand() -> None:
    found = {one.reason: (one.saved, one.lines) for one in findings(tiny())}
    assert found == {
        "balance": (50, ()),  # the cores end at 50 in the mean
        "bytes": (52, (5,)),  # 3 of 4 bytes, 70 cycles of loads on the path
        "fences": (35, (7,)),  # 70 cycles, two cores
        "overhead": (20, (5, 7)),  # half of 30 latency, and of 20 vector cycles 10 are start-up
        "runs": (20, (5,)),  # half of the 40 cycles that the load is at work
        "arithmetic": (20, (7,)),
        "queues": (10, (5,)),  # 20 cycles a core on one queue of two
        "serial": (7, (5, 7)),  # 100 - 10 - 40 cycles, of which all waiting but 12 is for fences
        "slots": (6, ()),
    }


def test_what_a_task_does_not_say_is_no_finding() -> None:
    data = tiny()
    data["hbm"]["least_bytes"] = None
    assert "bytes" not in {one.reason for one in findings(data)}


@pytest.mark.parametrize("name", NAMES)
def test_findings_are_bounds_within_the_run_and_need_the_json_alone(name: str) -> None:
    data = data_of(name)
    found = findings(data)
    assert found == findings(json.loads(json.dumps(data)))
    saved = [one.saved for one in found]
    assert saved == sorted(saved, reverse=True)
    assert saved and min(saved) >= 1 and max(saved) <= data["cycles"]
    lines = {line["line"] for line in data["lines"]}
    assert all(one.reason in REASONS and lines.issuperset(one.lines) for one in found)
    assert all(one.words(data["cycles"]).startswith("up to ") for one in found)


def test_without_fences_nothing_waits_for_them() -> None:
    used = session("attention_head_reference", "attention_head")
    used.evaluate()
    (case,) = used.cases
    before = findings(used.profile(case))
    assert before[0].reason == "fences" or before[1].reason == "fences"
    fences = sum(isinstance(s, ir.Instr) and s.op == "fence" for _, s in sites(used.kernel))
    assert remedy("no fences").perform(used, {}) == fences
    used.evaluate()
    assert "fences" not in {one.reason for one in findings(used.profile(case))}


def test_table_speaks_of_reasons_edits_and_kinds_that_there_are() -> None:
    assert len({one.name for one in REMEDIES}) == len(REMEDIES)
    # No edit makes the matrix unit compute less.
    assert set(REASONS) - {"matrix"} == {reason for one in REMEDIES for reason in one.reasons}
    for one in REMEDIES:
        assert one.text and one.parts
        for part in one.parts:
            if isinstance(part, EachPlace):
                assert part.name in EDITS and part.only in ("", *KINDS), one.name


def test_table_and_findings_name_no_kernel_no_task_and_no_tensor() -> None:
    folder = Path(__file__).resolve().parents[2] / "m890sim" / "profile"
    names = {*KERNELS, "extend", "decode", "attention", "BQ", "BK", "kt", "vt", "qt"}
    for file in ("findings.py", "remedies.py", "remedy_parts.py"):
        text = (folder / file).read_text("utf-8")
        words = set(text.replace('"', " ").replace("(", " ").replace(",", " ").split())
        assert not words & names, file


@pytest.mark.parametrize("one", REMEDIES, ids=lambda one: one.name)
def test_remedy_makes_legal_edits_alone_and_counts_them(one: Remedy) -> None:
    used = session("attention_head_reference", "attention_head")
    made = one.perform(used, {})
    assert made == len(used.edits)
    again = session("attention_head_reference", "attention_head")
    for edit in used.edits:
        again.apply(edit)  # raises for what is not legal
    assert again.digest == used.digest


def test_each_place_is_where_it_says() -> None:
    used = session("attention_head_reference", "attention_head")
    EachPlace("set_slots", 2, only="loaded tile").perform(used, {})
    loaded = {
        stmt.operands[0].tile
        for _, stmt in sites(used.kernel)
        if isinstance(stmt, ir.Instr) and stmt.op == "load"
    }
    slots = {
        stmt.name: stmt.slots.value
        for _, stmt in sites(used.kernel)
        if isinstance(stmt, ir.TileDecl)
    }
    assert {name for name, count in slots.items() if count == 2} == loaded
    EachPlace("set_slots", 3, only="loaded tile").perform(used, {})
    before = used.digest
    assert EachPlace("set_slots", 2, only="loaded tile").perform(used, {}) == 0
    assert used.digest == before, "it gives slots, and takes none"
    assert str(EachPlace("cse", again=True)) == "cse, until none is left"


def queues_of_loop(kernel: ir.Kernel) -> list[int]:
    loop = next(stmt for _, stmt in sites(kernel) if isinstance(stmt, ir.Loop))
    return [
        stmt.keyword("queue", ir.Const(0)).value
        for stmt in ir.walk(loop.body)
        if isinstance(stmt, ir.Instr) and stmt.op in ("load", "store")
    ]


def test_transfers_of_a_block_come_to_different_queues() -> None:
    used = session("attention_head_reference", "attention_head")
    assert queues_of_loop(used.kernel) == [0, 0]
    SpreadTransfers().perform(used, {"load vt v": 900, "load kt k": 100})
    assert queues_of_loop(used.kernel) == [1, 0], "the longest first"
    assert SpreadTransfers().perform(used, {"load vt v": 900, "load kt k": 100}) == 0
    HalvedTransfers().perform(used, {"load vt v": 900, "load kt k": 100})
    assert sorted(queues_of_loop(used.kernel)) == [0, 1, 2, 3]
    assert HalvedTransfers().perform(used, {}) == 0, "no queue of the loop is idle"


def test_stores_come_to_the_queue_that_loads_use_least() -> None:
    used = session("attention_head_reference", "attention_head")
    SpreadTransfers().perform(used, {})
    StoresApart().perform(used, {"load kt k": 50, "load vt v": 50, "load qt q": 5})
    stores = [
        stmt.keyword("queue").value
        for _, stmt in sites(used.kernel)
        if isinstance(stmt, ir.Instr) and stmt.op == "store"
    ]
    assert stores == [3]


def test_weights_follow_a_statement_through_edits() -> None:
    kernel = load_kernel("attention_head_reference")
    printed = parse(print_kernel(kernel), "printed.py")
    lines = {s.loc.line: 10 for _, s in sites(printed) if isinstance(s, ir.Instr)}
    weights = weights_of(kernel, lines)
    count = sum(isinstance(s, ir.Instr) for _, s in sites(kernel))
    assert sum(weights.values()) == 10 * count
    used = session(kernel, "attention_head")
    SpreadTransfers().perform(used, weights)
    marks = {mark(s) for _, s in sites(used.kernel) if isinstance(s, ir.Instr)}
    assert marks == set(weights)


def test_sizes_of_blocks_are_tried_together_and_alone() -> None:
    double = remedy("blocks double")
    kernel = load_kernel("attention_reference")
    assert [one.name for one in single_tunables(double, kernel)] == [
        "blocks double",
        "blocks double, BQ",
        "blocks double, BK",
    ]
    assert single_tunables(remedy("no fences"), kernel) == (remedy("no fences"),)
    used = session(kernel, "extend")
    assert single_tunables(double, kernel)[2].perform(used, {}) == 1
    assert used.kernel.tunables == {"BQ": 64, "BK": 128}
