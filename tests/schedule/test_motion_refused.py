"""Moving statements: what is refused, and why."""

from __future__ import annotations

import pytest

from m890sim.kernel import ir
from m890sim.schedule import legal_edits
from m890sim.schedule.edit import EditError
from tests.schedule.motion_cases import PAIR, STAGED, SUM, body_of, edited, kernel_of

# edit, statement, argument, body, what the message says
REFUSED = {
    "dependent": ("move_up", "add(a", None, PAIR, "line 12: .*cannot move up: .*neighbour in line"),
    "top": ("move_up", "a = sram", None, PAIR, "its block ends there"),
    "near": (
        "move_up_far",
        "fill",
        None,
        "a = sram(8, 8, bf16)\nfill(a, 0.0)",
        "its block ends there, before it has passed 2",
    ),
    "stages_swap": (
        "move_down",
        "with stage(0)",
        None,
        STAGED,
        "an instruction but fence, not on a stage",
    ),
    "phase_swap": ("move_down", "for i", None, PAIR, "not on a phase"),
    "hoist_from_the_top": ("hoist", "for i", None, PAIR, "hoist acts on an assignment or a tile"),
    "hoist_loop": ("hoist", "for j", None, SUM, "not on a range loop"),
    "hoist_own_name": (
        "hoist",
        "n =",
        None,
        "for j in range(N):\n    n = j + 1",
        "depends on `j`, which belongs",
    ),
    "hoist_tile_of_a_phase": ("hoist", "a = sram", None, PAIR, "a tile belongs to its phase"),
    "hoist_taken_name": (
        "hoist",
        "n =",
        None,
        "if i > 1:\n    n = 2\nelse:\n    n = 3",
        "`n` has another meaning",
    ),
    "hoist_taken_below": (
        "hoist",
        "n =",
        None,
        "if i > 1:\n    n = 2\nfor n in range(3):\n    fence()",
        "`n` has another meaning",
    ),
    "hoist_table": ("hoist", "n =", None, "if i > 1:\n    n = t[i]", "reads a table, divides"),
    "hoist_division": ("hoist", "n =", None, "if i > 1:\n    n = 8 // i", "a table, divides"),
    "hoist_product": (
        "hoist",
        "n =",
        None,
        "if N < 99:\n    n = N * N * N",
        "may leave 64 bits, and would do so where its block may not run",
    ),
    "hoist_long_product": (
        "hoist",
        "n =",
        None,
        "k = N * N\nif N < 99:\n    n = k * 4 * K",
        "may leave 64 bits",
    ),
    "hoist_two_stages": ("hoist", "a = sram", None, STAGED, "used in stages 0 and 1"),
    "hoist_from_branch": (
        "hoist",
        "fill(a",
        None,
        "a = sram(8, 8, bf16)\nif i > 1:\n    fill(a, 0.0)",
        "an instruction leaves loops only",
    ),
    "hoist_fence": (
        "hoist",
        "fence",
        None,
        "for j in range(3):\n    fence()",
        "an instruction but fence and store, not on fence",
    ),
    "hoist_dependent": ("hoist", "load(a", None, SUM, "depends on `a`, which belongs"),
    "hoist_update": (
        "hoist",
        "add(a",
        None,
        "a = sram(8, 8, bf16)\nfill(a, 0.0)\nfor j in range(3):\n    add(a, a, 1.0)",
        "changes `a` in every iteration",
    ),
    "hoist_store": (
        "hoist",
        "store",
        None,
        "a = sram(8, 8, bf16)\nfill(a, 0.0)\nfor j in range(3):\n    store(y[i, :, :], a)",
        "not on store",
    ),
    "hoist_written_elsewhere": (
        "hoist",
        "fill(a, 0.0)",
        None,
        "a = sram(8, 8, bf16)\nfor j in range(3):\n    fill(a, 0.0)\n    fill(a, 1.0)",
        "written elsewhere in the loop",
    ),
    "hoist_read_above": (
        "hoist",
        "fill(a, 0.0)",
        None,
        "a = sram(8, 8, bf16)\nb = sram(8, 8, bf16)\nfill(a, 1.0)\n"
        "for j in range(3):\n    copy(b, a)\n    fill(a, 0.0)",
        "read above it in the loop",
    ),
    "sink_unused": ("sink", "n =", None, "n = 3\nif i > 1:\n    k = 3", "nothing uses `n`"),
    "sink_fence": ("sink", "fence", None, PAIR, "not on fence"),
    "sink_loop": ("sink", "for j", None, SUM, "not on a range loop"),
    "sink_used_beside": ("sink", "s = acc", None, SUM, "used beside loops and branches"),
    "sink_bounds": (
        "sink",
        "n =",
        None,
        "n = i + 1\nfor j in range(n):\n    m = n + j",
        "bounds or the condition",
    ),
    "sink_twice": (
        "sink",
        "n =",
        None,
        "n = i + 1\nif i > 0:\n    m = n\nif i > 1:\n    k = n",
        "several blocks below",
    ),
    "sink_both_branches": (
        "sink",
        "n =",
        None,
        "n = i + 1\nif i > 0:\n    m = n\nelse:\n    k = n",
        "several blocks below",
    ),
    "sink_carried_tile": (
        "sink",
        "a = sram",
        None,
        "a = sram(8, 8, bf16)\nfor j in range(3):\n    if j < 1:\n        fill(a, 0.0)\n"
        "    add(a, a, 1.0)",
        "may be read in line 11",
    ),
    "sink_wider_read": (
        "sink",
        "a = sram",
        None,
        "a = sram(8, 8, bf16)\nfor j in range(3):\n    fill(a[:j], 0.0)\n"
        "    add(a[: j + 1], a[: j + 1], 1.0)",
        "has not written it",
    ),
    "sink_instruction_read_elsewhere": (
        "sink",
        "fill(a",
        None,
        "a = sram(8, 8, bf16)\nfill(a, 0.0)\nif i > 2:\n    add(a, a, 1.0)\nstore(y[i, :, :], a)",
        "read outside that block",
    ),
    "sink_instruction_written_in_loop": (
        "sink",
        "fill(a",
        None,
        "a = sram(8, 8, bf16)\nfill(a, 0.0)\nfor j in range(3):\n    add(a, a, 1.0)",
        "written in the loop too",
    ),
    "sink_instruction_nowhere": (
        "sink",
        "fill(b",
        None,
        PAIR,
        "no block below it uses it",
    ),
    "sink_last_instruction": (
        "sink",
        "fill(a",
        None,
        "a = sram(8, 8, bf16)\nfill(a, 0.0)",
        "no block below it uses it",
    ),
    "split_no_transfer": (
        "split_transfer",
        "fence",
        1,
        PAIR,
        "split_transfer acts on load or store, not on fence",
    ),
    "split_queue": ("split_transfer", "load", 9, PAIR, "from 0 to 3 and another one, not 9"),
    "split_same_queue": ("split_transfer", "load", 0, PAIR, "and another one, not 0"),
    "split_row": (
        "split_transfer",
        "load",
        1,
        "a = sram(1, 8, bf16)\nload(a, x[i, 0, :])",
        "one row, which cannot",
    ),
    "split_too_few": (
        "split_transfer",
        "load",
        1,
        "a = sram(8, 8, bf16)\nload(a[2:3], x[i, 2:3, :])",
        "1 rows, too few",
    ),
    "split_step": (
        "split_transfer",
        "load",
        1,
        "a = sram(16, 8, bf16)\nload(a[::2], x[i, :, :])",
        "have a step",
    ),
    "coalesce_last": ("coalesce", "store", None, PAIR, "no transfer of the same kind"),
    "coalesce_other": ("coalesce", "load", None, PAIR, "no transfer of the same kind"),
    "coalesce_tensor_gap": (
        "coalesce",
        "load",
        None,
        "a = sram(8, 8, bf16)\nload(a[:2], x[i, :2, :])\nload(a[2:4], x[i, 4:6, :])",
        "rows of the tensor below",
    ),
    "coalesce_tile_gap": (
        "coalesce",
        "load",
        None,
        "a = sram(8, 8, bf16)\nload(a[:2], x[i, :2, :])\nload(a[4:6], x[i, 2:4, :])",
        "rows of the tile below",
    ),
    "coalesce_other_part": (
        "coalesce",
        "load",
        None,
        "a = sram(8, 8, bf16)\nload(a[:2], x[i, :2, :])\nload(a[2:4], x[0, 2:4, :])",
        "another part of the tensor",
    ),
    "coalesce_other_tile": (
        "coalesce",
        "load",
        None,
        "a = sram(8, 8, bf16)\nb = sram(8, 8, bf16)\n"
        "load(a[:2], x[i, :2, :])\nload(b[2:4], x[i, 2:4, :])",
        "another tile or tensor",
    ),
    "coalesce_tables": (
        "coalesce",
        "load",
        None,
        "a = sram(64, 8, bf16)\nload(a[:16], x[t[:2], :, :])\nload(a[16:32], x[r[2:4], :, :])",
        "a table of its own",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_edit_says_why_it_is_refused(case: str) -> None:
    name, text, argument, body, message = REFUSED[case]
    kernel = kernel_of(body)
    with pytest.raises(EditError, match=message):
        edited(kernel, name, text, argument)


def test_statement_that_would_pass_its_equals_only_has_no_move() -> None:
    for other, legal in ((1, False), (2, True)):
        kernel = kernel_of(f"if i > 1:\n    pass\nif i > 1:\n    pass\nif i > {other}:\n    pass")
        found = {edit.name for edit in legal_edits(kernel)}
        assert ("move_down_far" in found) == legal
        assert ("move_up" in found) == legal


def test_pieces_of_a_tile_in_any_number_are_looked_at_quickly() -> None:
    def made(count: int) -> ir.Kernel:
        fills = "".join(f"    fill(a[{n} : {n + 1}], 0.0)\n" for n in range(count))
        end = f"    store(y[i, :, :], a[{count - 8} : {count}])"
        return kernel_of(f"a = sram({count}, 8, bf16)\nfor j in range(1):\n{fills}{end}")

    sunk = edited(made(8), "sink", "a = sram")
    assert body_of(sunk).index("for j") < body_of(sunk).index("a = sram")
    with pytest.raises(EditError):  # too many pieces to see that all is written
        edited(made(200), "sink", "a = sram")


def test_transfer_is_not_cut_without_end() -> None:
    kernel = kernel_of("a = sram(64, 8, bf16)\nn = min(8, N)\nload(a[:n], x[i, :n, :])")
    with pytest.raises(EditError, match="too long already to be cut again"):
        for cut in range(40):
            kernel = edited(kernel, "split_transfer", "load", 1 - cut % 2, nth=cut)
    assert cut >= 2
