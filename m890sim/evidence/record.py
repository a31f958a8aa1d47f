"""Record: what a run directory or a submission says, read and bounded, not yet believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m890sim.agents.chain import commitment, head_of
from m890sim.agents.files import (
    BEST,
    RESULT,
    check_line,
    read_lines,
    read_manifest,
)
from m890sim.agents.plan import FORMAT, Plan, plan_of
from m890sim.agents.reading import MOST_LINE_BYTES, RunError, parse_object, read_bounded
from m890sim.protocol.log import check_call, read_calls

KIND = "m890sim submission"
KEYS = ("kind", "format", "manifest", "log", "best", "result", "chain")


@dataclass(frozen=True, slots=True)
class Record:
    """One run as its files say."""

    path: Path
    manifest: dict[str, Any]
    lines: list[dict[str, Any]]
    best: str | None  # text of the best kernel; None: there is none yet
    result: dict[str, Any] | None  # None: the run has not ended
    chain: str  # the chain's value after the last line; of a submission as it says
    calls: list[dict[str, Any]] | None = None  # of an agent that writes source

    def plan(self) -> Plan:
        """What the run follows from. Raises: RunError, DifferError."""
        return plan_of(self.manifest, str(self.path))

    @property
    def head(self) -> str:
        """The chain's value after the last line, worked out."""
        return head_of(self.manifest, self.lines)

    @property
    def commitment(self) -> str:
        """Names the finished run: SHA-256 over its chain and its best kernel's digest."""
        best = self.result["best"]["digest"] if self.result and self.result["best"] else ""
        return commitment(self.head, str(best))


def read_record(path: Path) -> Record:
    """Read a run directory, or the file of a submission; nothing is written.

    Raises: RunError for what is neither, or damaged.
    """
    return _of_directory(path) if path.is_dir() else _of_file(path)


def read_submission(path: Path) -> Record:
    """Read the file of a submission, never a directory. Raises: RunError as `read_record`."""
    return _of_file(path)


def _of_directory(path: Path) -> Record:
    manifest = read_manifest(path)
    plan_of(manifest, str(path))
    lines, _ = read_lines(path)
    best = result = None
    if _there(path / BEST):
        best = _text(read_bounded(path / BEST, MOST_LINE_BYTES), path / BEST)
    if _there(path / RESULT):
        result = parse_object(read_bounded(path / RESULT), str(path / RESULT))
        _check_best(result, path / RESULT)
    calls = read_calls(path)[0] if "terms" in manifest else None
    return Record(path, manifest, lines, best, result, head_of(manifest, lines), calls)


def _of_file(path: Path) -> Record:
    data = parse_object(read_bounded(path), str(path))
    if data.get("kind") != KIND:
        raise RunError(f"{path} is no submission of m890 submit, by its `kind`")
    if type(data.get("format")) is not int or data["format"] != FORMAT:
        raise RunError(
            f"{path} was made by another version: format {data.get('format')!r:.60}, "
            f"here {FORMAT!r}; install that version to verify it"
        )
    manifest = data.get("manifest")
    keys = (*KEYS, "calls") if isinstance(manifest, dict) and "terms" in manifest else KEYS
    for key in (*data, *keys):
        if key not in keys or key not in data:
            what = "has no" if key in keys else "must not have"
            raise RunError(f"{path} is damaged: it {what} {key!r:.60}; nothing was changed")
    for key, kind in (("manifest", dict), ("log", list), ("result", dict)):
        if not isinstance(data[key], kind):
            raise RunError(f"{path} is damaged: {key} must not be {data[key]!r:.60}")
    if not isinstance(data["best"], (str, type(None))) or not isinstance(data["chain"], str):
        raise RunError(f"{path} is damaged: best and chain must be texts")
    plan_of(data["manifest"], str(path))
    for number, line in enumerate(data["log"]):
        try:
            check_line(line, number)
        except ValueError as error:
            raise RunError(f"{path} is damaged in evaluation {number}: {error}") from error
    for number, line in enumerate(_list_of(data, "calls", path)):
        try:
            check_call(line, number)
        except ValueError as error:
            raise RunError(f"{path} is damaged in call {number}: {error}") from error
    _check_best(data["result"], path)
    if data["result"].get("interrupted") is not False:
        raise RunError(
            f"{path} is no submission: its run was interrupted before its best kernel was judged; "
            "finish the run with m890 optimize --resume, and submit it again"
        )
    return Record(
        path,
        data["manifest"],
        data["log"],
        data["best"],
        data["result"],
        data["chain"],
        data.get("calls"),
    )


def _list_of(data: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    found = data.get(key, [])
    if not isinstance(found, list):
        raise RunError(f"{path} is damaged: {key} must not be {found!r:.60}")
    return found


def _check_best(result: Mapping[str, Any], file: Path) -> None:
    best = result.get("best")
    if "best" not in result or not isinstance(best, (dict, type(None))):
        raise RunError(f"{file} is damaged: best must not be {best!r:.60}; nothing was changed")
    if best is not None and not isinstance(best.get("digest"), str):
        raise RunError(f"{file} is damaged: best has no digest; nothing was changed")


def _there(file: Path) -> bool:
    return file.is_symlink() or file.exists()


def _text(data: bytes, file: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{file} is damaged: {error}; nothing was changed") from error
