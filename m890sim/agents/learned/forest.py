"""Forest: boosted regression trees as arrays, read from a file and asked with NumPy alone."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m890sim.agents.learned.features import MOVE_NAMES, STATE_NAMES, Floats
from m890sim.agents.learned.vocabulary import DIGEST, VOCABULARY
from m890sim.agents.reading import read_bounded
from m890sim.errors import M890Error

KIND = "m890sim trained proposal"
FORMAT = 1
MOST_BYTES = 5_000_000  # of a file
MOST_UNPACKED = 50_000_000
MOST_NODES, MOST_DEPTH = 2_000_000, 32
PRIORS = 5  # numbers of a move that the training chips gave
_ARRAYS = ("columns", "feature", "threshold", "left", "right", "value", "root", "priors")


class TrainedFileError(M890Error):
    """A trained file that cannot be read, or was made for another version."""


@dataclass(frozen=True)
class Forest:
    """What a training gave.

    columns: of state and move features that it sees, shape (seen,). The nodes of all trees, shape
    (nodes,): feature, an index into columns, -1 for a leaf; threshold: `<=` goes left; left, right:
    nodes; value: of a leaf. root: of each tree. priors: of each move, shape (moves, 5).
    """

    columns: Any
    feature: Any
    threshold: Floats
    left: Any
    right: Any
    value: Floats
    root: Any
    priors: Floats
    about: Mapping[str, Any]

    def predict(self, rows: Floats) -> Floats:
        """The sum of all trees for rows of state and move features, shape (rows,).

        The order of the sum is that of the trees, so that it is the same on every machine.
        """
        seen = np.ascontiguousarray(rows[:, self.columns])
        at = np.broadcast_to(self.root, (len(seen), len(self.root))).copy()
        lines = np.arange(len(seen))[:, None]
        for _ in range(MOST_DEPTH):
            feature = self.feature[at]
            leaf = feature < 0
            if leaf.all():
                break
            goes_left = seen[lines, np.where(leaf, 0, feature)] <= self.threshold[at]
            at = np.where(leaf, at, np.where(goes_left, self.left[at], self.right[at]))
        values = self.value[at]
        total = np.zeros(len(seen))
        for tree in range(values.shape[1]):  # np.sum adds in an order of its own
            total += values[:, tree]
        return total

    def save(self, file: Path) -> None:
        """Write it; the same bytes for the same forest."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            about = {"kind": KIND, "format": FORMAT, "vocabulary": DIGEST, **self.about}
            _put(archive, "about.json", json.dumps(about, indent=1, sort_keys=True).encode())
            for name in _ARRAYS:
                array = io.BytesIO()
                np.lib.format.write_array(array, np.asarray(getattr(self, name)), version=(1, 0))
                _put(archive, f"{name}.npy", array.getvalue())
        file.write_bytes(packed.getvalue())


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


def load_forest(file: Path) -> Forest:
    """Read a trained file. Raises: TrainedFileError for what is damaged, foreign or too large."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bounded(file, MOST_BYTES))) as archive:
            if sum(one.file_size for one in archive.infolist()) > MOST_UNPACKED:
                raise ValueError(f"it unpacks to more than {MOST_UNPACKED:,} bytes")
            about = json.loads(archive.read("about.json"))
            arrays = {
                name: np.lib.format.read_array(
                    io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False
                )
                for name in _ARRAYS
            }
        if not isinstance(about, dict) or about.pop("kind", None) != KIND:
            raise ValueError(f"it is no {KIND}")
        said = about.pop("format", None), about.pop("vocabulary", None)
        if said != (FORMAT, DIGEST):
            raise ValueError("it was made for other moves than this version has; train it again")
        forest = Forest(**arrays, about=about)
        _check(forest)
    except M890Error as error:
        raise TrainedFileError(f"{file} is no trained model: {error}") from error
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise TrainedFileError(f"{file} is no trained model: {error!s:.200}") from error
    return forest


def _check(forest: Forest) -> None:
    """Raises: ValueError for arrays that no forest has."""
    nodes, seen = len(forest.feature), len(forest.columns)
    for name in ("columns", "feature", "left", "right", "root"):
        if getattr(forest, name).dtype.kind not in "iu" or getattr(forest, name).ndim != 1:
            raise ValueError(f"{name} must be a row of integers")
    for name in ("threshold", "value", "priors"):
        found = getattr(forest, name)
        if found.dtype != np.float64 or not np.isfinite(found).all():
            raise ValueError(f"{name} must be finite float64")
    if not 0 < nodes <= MOST_NODES:
        raise ValueError(f"it has {nodes} nodes, 1 to {MOST_NODES:,} are read")
    for name in ("threshold", "left", "right", "value"):
        if getattr(forest, name).shape != (nodes,):
            raise ValueError(f"{name} must have as many entries as there are nodes")
    if forest.priors.shape != (len(VOCABULARY), PRIORS):
        raise ValueError("priors are of another vocabulary")
    width = len(STATE_NAMES) + len(MOVE_NAMES)
    inner = forest.feature >= 0
    if not (
        ((forest.columns >= 0) & (forest.columns < width)).all()
        and (forest.feature < seen).all()
        and ((forest.root >= 0) & (forest.root < nodes)).all()
        # Children stand behind their parents, so that no walk turns in a circle.
        and (forest.left[inner] > np.flatnonzero(inner)).all()
        and (forest.right[inner] > np.flatnonzero(inner)).all()
        and (forest.left[inner] < nodes).all()
        and (forest.right[inner] < nodes).all()
    ):
        raise ValueError("a node leads to where no node is")
