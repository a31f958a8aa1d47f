"""The list and the learned proposal as agents: what they promise, and that nothing is left over."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from m890sim.agents import AGENTS, run_agent
from m890sim.agents.agent import AgentSession
from m890sim.agents.learned.features import (
    MOVE_NAMES,
    STATE_NAMES,
    Experience,
    RunSoFar,
    chip_features,
    move_rows,
    state_row,
)
from m890sim.agents.learned.forest import TrainedFileError
from m890sim.agents.learned.search import LearnedBlindToChip
from m890sim.agents.learned.vocabulary import DIGEST, NUMBERS, VOCABULARY, Moves
from m890sim.agents.recipe import (
    ReplayedList,
    moves_of_recipe,
    read_recipe,
    recipe_kernel,
    recipe_text,
    replay,
)
from m890sim.bench.cells import cells_of
from m890sim.judge import judge_kernel

CELLS = cells_of(("validation",), ("vector_add", "attention_head"), 1, 1)


def session_on(cell: int = 0, budget: int = 40, **settings: object) -> AgentSession:
    """A session on a drawn chip."""
    chosen = CELLS[cell]
    arguments = {"budget": budget, "verify": "best", "sources": False, **settings}
    return AgentSession(chosen.task, chosen.cases, chosen.chip, **arguments)


@pytest.mark.parametrize("cell", [0, 1])
def test_the_list_gains_nothing_from_its_end(cell: int) -> None:
    chosen = CELLS[cell]
    end = recipe_kernel(chosen.task, chosen.cases, chosen.chip)
    judged = judge_kernel(end, chosen.task, chosen.chip, hidden=0, seed=5, cases=chosen.cases)
    assert judged.correct and judged.speedup > 1.2
    again = session_on(cell, 400, start=end)
    run_agent(ReplayedList(), again, 0)
    assert again.best_speedup == again.log[0].speedup
    assert again.spent < 400  # it ended of itself


def test_the_list_keeps_what_helps_alone() -> None:
    session = session_on()
    replay(session, moves_of_recipe())
    assert session.best_kernel == session.kernel and session.best_speedup > 1.2
    # Whatever the seed.
    other = session_on()
    run_agent(AGENTS["recipe"], other, 7)
    assert [e.digest for e in other.log] == [e.digest for e in session.log]


def test_recipes_that_cannot_be_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(recipe_text(["no fences", "blocks double"], {"by": "hand"}))
    assert read_recipe(file) == (NUMBERS["no fences"], NUMBERS["blocks double"])
    data = json.loads(file.read_text())
    assert data["vocabulary"] == DIGEST
    for change, words in (
        ({"kind": "x"}, "is no recipe of this version's moves"),
        ({"vocabulary": "x"}, "is no recipe of this version's moves; train it again"),
        ({"moves": ["nothing"]}, "moves must be names of the vocabulary"),
        ({"moves": 3}, "moves must be names of the vocabulary"),
    ):
        file.write_text(json.dumps(data | change))
        with pytest.raises(TrainedFileError, match=words):
            read_recipe(file)


def test_candidates_are_moves_that_do_something() -> None:
    session = session_on(1)
    moves = Moves(session)
    found = moves.candidates()
    assert found == sorted(found) and found == moves.candidates()
    made = 0
    for number in found:
        place = session.position()
        count = moves.perform(number)
        made += count > 0
        assert count == len(session.edits)
        session.go_to(place)
        if VOCABULARY[number].macro is not None:
            assert count, VOCABULARY[number].name
    assert made > 0.8 * len(found)
    left = set(range(len(VOCABULARY))) - set(found)
    macros = [number for number in left if VOCABULARY[number].macro is not None]
    assert macros  # of which none is legal, as `MacroActions` says


def test_features_are_finite_and_have_their_names() -> None:
    session = session_on(1)
    start = session.evaluate()
    standing = RunSoFar(start, start, 1)
    row = state_row(chip_features(session.chip), standing, session.kernel, session.edits)
    assert row.shape == (len(STATE_NAMES),) and np.isfinite(row).all()
    named = dict(zip(STATE_NAMES, row, strict=True))
    assert named["chip cores"] == pytest.approx(math.log2(1 + session.chip.cores), abs=1e-6)
    assert named["of the way"] == named["speedup"] == 0
    assert 0 < named["dma busy"] < 1 and named["op load"] > 0
    for unit in ("dma", "matrix", "vector", "sfu"):  # every cycle has one cause
        shares = [v for name, v in named.items() if name.startswith(f"{unit} ")]
        assert sum(shares) == pytest.approx(1, abs=1e-4)
    experience = Experience()
    experience.note(2, 0.5, -math.inf)
    rows = move_rows([0, 2], np.zeros((len(VOCABULARY), 5)), experience, 0.75)
    assert rows.shape == (2, len(MOVE_NAMES))
    tried = dict(zip(MOVE_NAMES, rows[1], strict=True))
    assert (tried["tried times"], tried["tried level since"], tried["tried earned last"]) == (
        *(1, 0.25, -1),
    )
    assert rows[0][MOVE_NAMES.index("tried times")] == 0


@pytest.mark.parametrize("agent", [AGENTS["learned"], LearnedBlindToChip()])
def test_the_learned_agent_is_fast_and_right(agent: object) -> None:
    logs = []
    for _ in range(2):
        session = session_on(1, 24)
        run_agent(agent, session, 3)  # type: ignore[arg-type]
        logs.append([entry.digest for entry in session.log])
        assert session.best is not None and session.best.correct
        assert session.best_speedup > 2
    assert logs[0] == logs[1]
