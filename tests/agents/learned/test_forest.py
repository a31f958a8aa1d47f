"""Forests: the fast walk against a slow one, the same bytes, and files that are refused."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.agents.learned.features import MOVE_NAMES, STATE_NAMES, STATE_PARTS, columns_without
from m890sim.agents.learned.forest import PRIORS, Forest, TrainedFileError, load_forest
from m890sim.agents.learned.search import LearnedProposal, packaged
from m890sim.agents.learned.vocabulary import VOCABULARY
from m890sim.agents.registry import AGENTS

WIDTH = len(STATE_NAMES) + len(MOVE_NAMES)
FILES = ("learned.npz", "learned-no-chip.npz", "learned-no-profile.npz", "learned-no-program.npz")


def grown(random: np.random.Generator, trees: int, depth: int) -> Forest:
    """A forest of trees by chance, children behind their parents."""
    nodes: list[list[float]] = []
    root = []

    def grow(left: int) -> int:
        place = len(nodes)
        nodes.append([-1, 0.0, 0, 0, float(random.normal())])
        if left and random.random() < 0.8:
            nodes[place][0] = int(random.integers(WIDTH))
            nodes[place][1] = float(random.normal())
            nodes[place][2] = grow(left - 1)
            nodes[place][3] = grow(left - 1)
        return place

    for _ in range(trees):
        root.append(grow(depth))
    table = np.array(nodes)
    return Forest(
        columns=np.arange(WIDTH, dtype=np.int32),
        feature=table[:, 0].astype(np.int16),
        threshold=table[:, 1].copy(),
        left=table[:, 2].astype(np.int32),
        right=table[:, 3].astype(np.int32),
        value=table[:, 4].copy(),
        root=np.array(root, dtype=np.int32),
        priors=np.zeros((len(VOCABULARY), PRIORS)),
        about={"command": "a test"},
    )


def slow(forest: Forest, row: Any) -> float:
    """One row, tree by tree, in plain Python."""
    total = 0.0
    for at in forest.root.tolist():
        while forest.feature[at] >= 0:
            seen = row[forest.columns[forest.feature[at]]]
            at = int(forest.left[at] if seen <= forest.threshold[at] else forest.right[at])
        total += float(forest.value[at])
    return total


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 6))
def test_predictions_are_those_of_the_slow_walk(seed: int, trees: int, depth: int) -> None:
    random = np.random.default_rng(seed)
    forest, rows = grown(random, trees, depth), random.normal(size=(7, WIDTH))
    # The same sum in the same order: to the last bit.
    assert forest.predict(rows).tolist() == [slow(forest, row) for row in rows]


@pytest.mark.parametrize("name", FILES)
def test_what_comes_with_the_package(name: str) -> None:
    forest = packaged(name)
    rows = np.random.default_rng(1).normal(size=(5, WIDTH)).round(3)
    assert forest.predict(rows).tolist() == [slow(forest, row) for row in rows]
    assert forest.about["split"] == "train" and forest.about["command"]
    gone = [part for part in STATE_PARTS if f"no-{part}" in name]
    assert forest.about["without"] == gone
    assert forest.columns.tolist() == columns_without(gone)
    for part in gone:  # what an ablation does not see changes nothing
        hidden = [STATE_NAMES.index(one) for one in STATE_PARTS[part]]
        other = rows.copy()
        other[:, hidden] += 3
        assert not set(hidden) & set(forest.columns.tolist())
        assert (forest.predict(other) == forest.predict(rows)).all()


def test_a_file_is_the_same_for_the_same_forest(tmp_path: Path) -> None:
    forest = grown(np.random.default_rng(3), 3, 4)
    for name in ("a", "b"):
        forest.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    again = load_forest(tmp_path / "a")
    rows = np.random.default_rng(4).normal(size=(9, WIDTH))
    assert (again.predict(rows) == forest.predict(rows)).all()
    assert again.about == {"command": "a test"}


def test_no_model_sees_which_move_it_is() -> None:
    number = len(STATE_NAMES) + MOVE_NAMES.index("number")
    assert number not in columns_without(())
    assert AGENTS["learned"].trained and isinstance(AGENTS["learned"], LearnedProposal)


def changed(forest: Forest, **arrays: Any) -> Forest:
    return replace(forest, **arrays)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": np.full(3, np.nan)}, "threshold must be finite float64"),
        ({"feature": np.zeros(3)}, "feature must be a row of integers"),
        ({"feature": np.array([WIDTH, -1, -1])}, "a node leads to where no node is"),
        ({"left": np.array([0, 0, 0])}, "a node leads to where no node is"),
        ({"right": np.array([9, 0, 0])}, "a node leads to where no node is"),
        ({"root": np.array([3])}, "a node leads to where no node is"),
        ({"columns": np.array([-1])}, "a node leads to where no node is"),
        ({"priors": np.zeros((2, PRIORS))}, "priors are of another vocabulary"),
        ({"value": np.zeros(2)}, "value must have as many entries as there are nodes"),
    ],
)
def test_forests_that_cannot_be_are_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    forest = Forest(
        columns=np.arange(WIDTH),
        feature=np.array([0, -1, -1]),
        threshold=np.zeros(3),
        left=np.array([1, 0, 0]),
        right=np.array([2, 0, 0]),
        value=np.zeros(3),
        root=np.array([0]),
        priors=np.zeros((len(VOCABULARY), PRIORS)),
        about={},
    )
    forest.save(tmp_path / "right.npz")
    load_forest(tmp_path / "right.npz")
    changed(forest, **change).save(tmp_path / "wrong.npz")
    with pytest.raises(TrainedFileError, match=words):
        load_forest(tmp_path / "wrong.npz")


def test_files_that_are_no_forests_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.npz"
    for data in (b"", b"no archive", b"PK\x05\x06" + bytes(18)):
        file.write_bytes(data)
        with pytest.raises(TrainedFileError, match="model.npz is no trained model"):
            load_forest(file)
    with pytest.raises(TrainedFileError, match="none.npz"):
        load_forest(tmp_path / "none.npz")
    forest = grown(np.random.default_rng(3), 1, 2)
    forest.save(file)
    whole = file.read_bytes()
    for end in range(0, len(whole) - 1, 97):
        file.write_bytes(whole[:end])
        with pytest.raises(TrainedFileError):
            load_forest(file)
    for key, value, words in (
        ("kind", "other", "it is no m890sim trained proposal"),
        ("vocabulary", "00", "made for other moves than this version has; train it again"),
    ):
        with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(file, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name == "about.json":
                    data = json.dumps(json.loads(data) | {key: value}).encode()
                new.writestr(name, data)
        with pytest.raises(TrainedFileError, match=words):
            load_forest(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("about.json", b" " * 60_000_000)
    with pytest.raises(TrainedFileError, match="unpacks to more than"):
        load_forest(file)
