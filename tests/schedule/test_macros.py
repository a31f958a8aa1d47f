"""Macro actions: one fixed numbering, legal exactly where one place is, at all places at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from m890sim.kernel import ir
from m890sim.language import parse
from m890sim.schedule import EDITS, Context, Edit, EditError, legal_edits, rewrite
from m890sim.schedule.actions import ROWS
from m890sim.schedule.core.tree import node, sites
from m890sim.schedule.growth import added, statements_of
from m890sim.schedule.kinds import KINDS, kinds_of
from m890sim.schedule.macros import EVERYWHERE, MACROS, Macro, MacroActions
from m890sim.workloads import KERNELS, load_kernel
from tests.generators import random_program

GOLDEN = Path(__file__).parent / "golden" / "macros.txt"
MINI = Context(queues=2, banks=8)
SMALL = ("vector_add_reference", "row_softmax_reference", "matmul_expert", "attention_head_expert")


def number_of(name: str, argument: object = None, reach: str = EVERYWHERE) -> int:
    """The action of a macro."""
    return 1 + MACROS.index(Macro(name, argument, reach))  # type: ignore[arg-type]


def test_macros_are_appended_only(golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN, "".join(f"{number} {macro}\n" for number, macro in enumerate(MACROS, 1)))


def test_number_of_actions_is_below_a_thousand_and_the_same_on_every_chip() -> None:
    assert MacroActions().n == MacroActions(MINI).n == 1 + len(MACROS) < 1000
    assert len(set(MACROS)) == len(MACROS) and len(set(KINDS)) == len(KINDS)


def test_every_row_but_banks_reaches_everywhere_and_kinds_are_known() -> None:
    everywhere = [(m.name, m.argument) for m in MACROS if m.reach == EVERYWHERE]
    assert everywhere == [row for row in ROWS if row[0] != "set_bank"]
    assert {name for name, _ in everywhere} == set(EDITS) - {"set_bank"}
    assert {macro.reach for macro in MACROS} == {EVERYWHERE, *KINDS}


@pytest.mark.parametrize("context", [Context(), MINI], ids=["m890", "m890-mini"])
@pytest.mark.parametrize("more", [0, 3, 500])
@pytest.mark.parametrize("name", SMALL)
def test_macro_is_legal_exactly_where_it_is_performed(
    name: str, more: int, context: Context
) -> None:
    """Also where only few statements more are allowed, or none."""
    kernel = load_kernel(name)
    most = statements_of(kernel) + more
    actions = MacroActions(context, most)
    mask = actions.mask(kernel, legal_edits(kernel, context))
    assert mask.shape == (actions.n,) and mask.dtype == "int8" and mask[0] == 1
    for action in range(1, actions.n):
        try:
            changed, made = actions.perform(kernel, action)
        except EditError as error:
            assert not mask[action] and str(error)
            continue
        assert statements_of(changed) <= most
        assert mask[action] and made
        assert {edit.name for edit in made} == {MACROS[action - 1].name}


@pytest.mark.parametrize("name", SMALL)
def test_edits_one_by_one_lead_to_the_same_kernel(name: str) -> None:
    rng, actions, kernel = random.Random(5), MacroActions(), load_kernel(name)
    for _ in range(12):
        found = list(actions.by_id(kernel, legal_edits(kernel)))
        changed, made = actions.perform(kernel, rng.choice(found))
        for edit in made:
            assert edit in legal_edits(kernel, name=edit.name)
            kernel = rewrite(kernel, edit)
        assert kernel == changed


@pytest.mark.parametrize("context", [Context(), MINI, Context(banks=2)])
@pytest.mark.parametrize("name", ["attention_reference", "decode_5_split", *SMALL])
@pytest.mark.parametrize("more", [4, 500])
def test_legal_macros_are_those_of_the_legal_edits(name: str, more: int, context: Context) -> None:
    rng, kernel = random.Random(7), load_kernel(name)
    actions = MacroActions(context, statements_of(kernel) + more)
    for _ in range(4):
        found = actions.legal(kernel)
        assert found == sorted(actions.by_id(kernel, legal_edits(kernel, context)))
        kernel, _ = actions.perform(kernel, rng.choice(found))


def test_first_edit_is_the_last_legal_place_of_its_reach() -> None:
    kernel, actions = load_kernel("attention_reference"), MacroActions()
    for number, edits in actions.by_id(kernel, legal_edits(kernel)).items():
        assert actions.perform(kernel, number)[1][0] == edits[-1]


def test_all_fences_go_at_once() -> None:
    kernel = load_kernel("attention_reference")
    fences = [site for site, s in sites(kernel) if isinstance(s, ir.Instr) and s.op == "fence"]
    changed, made = MacroActions().perform(kernel, number_of("remove_fence"))
    assert [edit.site for edit in made] == fences[::-1] and len(fences) > 5
    assert not [s for s in ir.walk(changed.body) if isinstance(s, ir.Instr) and s.op == "fence"]


def test_reach_confines_the_edit() -> None:
    kernel, actions = load_kernel("attention_reference"), MacroActions()
    kinds = kinds_of(kernel)
    loads = {
        site
        for site, stmt in sites(kernel)
        if isinstance(stmt, ir.Instr) and stmt.op == "load" and "tensor 2" in kinds[site]
    }
    _, made = actions.perform(kernel, number_of("set_queue", 1, "tensor 2"))
    assert {edit.site for edit in made} == loads and loads


def test_every_tunable_is_changed() -> None:
    kernel = load_kernel("matmul_reference")
    changed, made = MacroActions().perform(kernel, number_of("set_tunable", "halve"))
    assert [edit.argument for edit in made] == [(n, "halve") for n in reversed(kernel.tunables)]
    assert all(value < kernel.tunables[name] for name, value in changed.tunables.items())
    _, made = MacroActions().perform(kernel, number_of("set_tunable", "halve", "tunable 2"))
    assert made == (Edit("set_tunable", (), (list(kernel.tunables)[1], "halve")),)


HOISTED = """from m890sim.lang import *


@kernel
def k(x: Tensor["R", 16], out: Tensor["R", 16, f32]):
    for r in cores(ceil_div(R, 8)):
        a = sram(8, 16, f32)
        b = sram(8, 16, f32)
        c = sram(8, 16, f32)
        for i in range(0, 4):
            fill(a, 1.0)
            fill(b, 2.0)
            add(c, a, b)
        rows = min(8, R - r * 8)
        store(out[r * 8:r * 8 + rows, 0:16], c[:rows])
"""


def test_places_are_found_again_where_the_edit_moved_them() -> None:
    kernel = parse(HOISTED)
    single = rewrite(kernel, legal_edits(kernel, name="hoist")[-1])
    changed, made = MacroActions().perform(kernel, number_of("hoist", reach="copies"))
    assert len(made) == 2 and changed != single
    (phase,) = changed.phases
    loop = next(stmt for stmt in phase.body if isinstance(stmt, ir.Loop))
    assert [stmt.op for stmt in loop.body if isinstance(stmt, ir.Instr)] == ["add"]


def test_kinds_of_a_kernel_by_hand() -> None:
    kernel = parse(HOISTED)
    found = {stmt.loc.line: kinds_of(kernel)[site] for site, stmt in sites(kernel)}
    assert found == {
        6: ("phase 1", "elsewhere"),
        7: ("tile", "other tile", "elsewhere"),
        8: ("tile", "other tile", "elsewhere"),
        9: ("tile", "stored tile", "elsewhere"),
        10: ("loop", "innermost loop", "loop 1", "elsewhere"),
        11: ("copies", "within an innermost loop"),
        12: ("copies", "within an innermost loop"),
        13: ("elementwise", "within an innermost loop"),
        14: ("let", "elsewhere"),
        15: ("store", "tensor 2", "elsewhere"),
    }


def test_tiles_are_of_the_kinds_of_their_uses() -> None:
    kernel = load_kernel("attention_reference")
    kinds = kinds_of(kernel)
    tiles = {s.name: kinds[site][1:-1] for site, s in sites(kernel) if isinstance(s, ir.TileDecl)}
    assert tiles["kt"] == ("loaded tile", "tensor 4", "matrix operand", "tensor 2")
    assert tiles["ot"] == ("stored tile",) and tiles["m"] == ("other tile",)
    assert tiles["s"] == ("accumulator",)


def test_numbered_kinds_take_all_that_follow() -> None:
    for name in KERNELS:
        kernel = load_kernel(name)
        kinds = kinds_of(kernel)
        loops = [kinds[site] for site, s in sites(kernel) if isinstance(s, ir.Loop)]
        assert all("loop 4 and later" in found for found in loops[3:])
        assert set().union(*kinds.values()) <= set(KINDS)


def test_macro_stops_where_the_kernel_would_be_too_long() -> None:
    kernel = load_kernel("attention_reference")
    count, unroll = statements_of(kernel), number_of("unroll")
    split = number_of("split_transfer", 1)
    _, made = MacroActions().perform(kernel, split)
    assert len(made) > 3
    shorter, fewer = MacroActions(most=count + 2).perform(kernel, split)
    assert len(fewer) == 2 and statements_of(shorter) == count + 2
    assert MacroActions().perform(kernel, split, count + 2) == (shorter, fewer)
    with pytest.raises(EditError, match=rf"too long: it has {count} statements, and room for 0"):
        MacroActions(most=7).perform(kernel, unroll)
    longer_than_allowed, made = MacroActions(most=7).perform(kernel, number_of("remove_fence"))
    assert len(made) > 5 and 7 < statements_of(longer_than_allowed) < count


def test_reach_that_takes_in_the_same_statements_as_another_is_no_choice() -> None:
    kernel, actions = load_kernel("vector_add_reference"), MacroActions()
    twin = number_of("set_order", "cyclic", "phase 1")
    legal = actions.legal(kernel)
    assert number_of("set_order", "cyclic") in legal and twin not in legal
    with pytest.raises(EditError, match="another reach of this edit takes in the same statements"):
        actions.perform(kernel, twin)
    for name in SMALL:
        kernel = load_kernel(name)
        offered = actions.by_id(kernel, legal_edits(kernel))
        assert sorted(offered) == actions.legal(kernel)
        for number in offered:
            if number - 1 < len(MACROS) and MACROS[number - 1].reach == EVERYWHERE:
                mine = MACROS[number - 1]
                assert len(offered[number]) == sum(
                    (edit.name, _argument(edit)) == (mine.name, mine.argument)
                    for edit in legal_edits(kernel)
                )


def _argument(edit: Edit) -> object:
    """As a macro has it: of a tunable the step alone."""
    return edit.argument[1] if edit.name == "set_tunable" else edit.argument  # type: ignore[index]


def assert_bounds_hold(kernel: ir.Kernel) -> list[Edit]:
    """Every legal edit adds as many statements as `added` says; the legal edits."""
    legal, count = legal_edits(kernel), statements_of(kernel)
    for edit in legal:
        inside = count
        if edit.site:
            inside = sum(1 for _ in ir.walk((node(kernel, edit.site),)))
        least, most = added(edit.name, inside)
        grown = statements_of(rewrite(kernel, edit)) - count
        assert least <= grown <= most, (edit, grown)
    return legal


@pytest.mark.parametrize(
    "name", ["attention_textbook", "decode_5_split", "attention_reference", *SMALL]
)
def test_edits_add_as_many_statements_as_their_bounds_say(name: str) -> None:
    assert_bounds_hold(load_kernel(name))


@pytest.mark.parametrize("seed", range(12))
def test_bounds_of_what_edits_add_hold_on_walks_of_generated_kernels(seed: int) -> None:
    rng, kernel = random.Random(seed), random_program(seed).kernel
    for _ in range(3):
        kernel = rewrite(kernel, rng.choice(assert_bounds_hold(kernel)))


def test_number_of_statements_is_checked() -> None:
    with pytest.raises(TypeError, match="most must be an integer, not 1.5"):
        MacroActions(most=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="most must be at least 1, not 0"):
        MacroActions().perform(parse(HOISTED), 1, 0)


@pytest.mark.parametrize(
    ("macro", "message"),
    [
        (("guard_mask",), "guard_mask, everywhere: the kernel has no such place"),
        (("pipeline", 1, "loop 3"), "pipeline.1., loop 3: the kernel has no such place"),
        (("set_slots", 1, "stored tile"), "set_slots.0.2, 1. changes nothing"),
    ],
)
def test_macro_that_is_legal_nowhere_says_why(macro: tuple[object, ...], message: str) -> None:
    with pytest.raises(EditError, match=message):
        MacroActions().perform(parse(HOISTED), number_of(*macro))  # type: ignore[arg-type]


def test_number_outside_is_refused() -> None:
    kernel, actions = parse(HOISTED), MacroActions()
    for action in (-1, actions.n):
        with pytest.raises(ValueError, match=rf"an action must lie in 0 \.\.\. {actions.n - 1}"):
            actions.perform(kernel, action)
    with pytest.raises(TypeError, match="an action must be an integer, not 1.5"):
        actions.macro_of(1.5)
    with pytest.raises(ValueError, match="STOP edits nothing"):
        actions.perform(kernel, 0)
    assert actions.macro_of(0) is None
