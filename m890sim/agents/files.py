"""The files of a run directory: made at once, appended a line at a time, replaced atomically.

Every failure is a RunError that names the file; what was written before stays as it is.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from m890sim.agents.chain import CHAIN, next_link
from m890sim.agents.reading import (
    AS_ITSELF,
    MOST_LINE_BYTES,
    RunError,
    check_parts,
    parse_json,
    parse_object,
    read_bounded,
)

try:
    import fcntl
except ImportError:  # not on Windows; there two processes must not share a run directory
    fcntl = None  # type: ignore[assignment]

MANIFEST, EVALUATIONS, BEST = "manifest.json", "evaluations.jsonl", "best.py"
RESULT, PICTURE, TIMES = "result.json", "speedup.png", "times.json"
TEMPORARY = ".tmp"  # suffix of what is not whole yet
NOTHING = type(None)
# What a line holds, by key; besides, `edits` since the parent, or the kernel's `source`; and
# `profile` where it counts one and no evaluation.
LINE: dict[str, tuple[type, ...]] = {
    "index": (int,),
    "digest": (str,),
    "start": (str,),
    "cycles": (dict,),
    "speedup": (float,),
    "gap_closed": (float, NOTHING),
    "correct": (bool, NOTHING),
    "accepted": (bool,),
    "code": (str,),
    "message": (str,),
    "parent": (int, NOTHING),
    "best_speedup": (float,),
    CHAIN: (str,),
}
KINDS = {"edits": list, "source": str, "profile": dict}  # of the keys that not every line has
NOTE = ("case", "digest")  # what `profile` says: of which case, and the digest of what was given


class InUseError(RunError):
    """A run directory that another process writes."""


def create(path: Path, manifest: dict[str, Any], logs: Sequence[str] = (EVALUATIONS,)) -> None:
    """Make a run directory with its manifest and empty logs.

    It appears under its name only when it is whole, so that a run that is killed at any moment
    either has a directory that can be resumed or none. An empty directory is taken.
    Raises: RunError where something is there already, or nothing can be written.
    """
    refuse_used(path)
    with errors_of(path, "make the run directory"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _unused(path)
        temporary.mkdir()
        try:
            write_whole(temporary / MANIFEST, _json(manifest))
            for name in logs:
                write_whole(temporary / name, b"")
            # The system refuses this where another run has used the name meanwhile.
            os.rename(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def create_whole(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a run directory of files that are known already; it appears when it is whole.

    What stands there by another process is kept: it says the same.
    Raises: RunError where nothing can be written.
    """
    with errors_of(path, "make the run directory"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _unused(path)
        temporary.mkdir()
        try:
            for name, data in files.items():
                (temporary / Path(name).name).write_bytes(data)
            with contextlib.suppress(FileExistsError):
                temporary.rename(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def refuse_used(path: Path) -> None:
    """Raises: RunError where a run directory cannot be made because something is there."""
    with errors_of(path, "look for the run directory"):
        if not os.path.lexists(path):
            return
        if not path.is_dir():
            raise RunError(f"{path} is there and is no directory; choose another with --out")
        if any(path.iterdir()):
            known = (path / MANIFEST).exists()
            hint = f"go on with --resume {path}, or choose" if known else "choose"
            raise RunError(f"{path} is not empty; {hint} another directory with --out")


def free_name(path: Path) -> Path:
    """The path, or the first of path-2, path-3, ... that nothing uses yet."""
    found, number = path, 1
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest as it is. Raises: RunError where there is none or it is damaged."""
    if not path.is_dir():
        what = "is no directory" if os.path.lexists(path) else "does not exist"
        raise RunError(f"{path} {what}; --resume takes the directory of an earlier run")
    file = path / MANIFEST
    if not file.exists():
        raise RunError(f"{path} is no run directory: it has no {MANIFEST}")
    return parse_object(read_bounded(file), str(file))


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The evaluations of a run directory, and how many bytes of the file they are.

    A last line that is not whole was being written when the run was killed; it is left out.
    Raises: RunError where the file is missing, or damaged before its last line.
    """
    file = path / EVALUATIONS
    if not file.exists():
        raise RunError(f"{path} is damaged: {EVALUATIONS} is missing; nothing was changed")
    return read_log(file, check_line)


def read_log(
    file: Path, check: Callable[[Any, int], None], most_bytes: int = MOST_LINE_BYTES
) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a log, and how many bytes they are.

    check: raises ValueError for what is no line of that number. most_bytes: of one line.
    Raises: RunError for a damaged log, with its line.
    """
    text = read_bounded(file)
    try:
        check_parts(text)
    except ValueError as error:
        raise RunError(f"{file} is damaged: {error}; nothing was changed") from error
    whole = text.rfind(b"\n") + 1
    lines: list[dict[str, Any]] = []
    for number, line in enumerate(text[:whole].split(b"\n")[:-1], 1):
        try:
            if len(line) > most_bytes:
                raise ValueError(f"it has {len(line)} bytes, at most {most_bytes} are read")
            found = parse_json(line)
            check(found, number - 1)
        except ValueError as error:
            raise RunError(
                f"{file} is damaged in line {number}: {error}; nothing was changed"
            ) from error
        lines.append(found)
    return lines, whole


def check_line(line: Any, index: int) -> None:
    """Raises: ValueError for what is no line of that number, by its keys and their types."""
    if not isinstance(line, dict) or type(line.get("index")) is not int or line["index"] != index:
        raise ValueError(f"it must be evaluation {index}")
    wanted = LINE.keys() | ({"source"} if "source" in line else {"edits"})
    if "profile" in line:
        wanted |= {"profile"}
        said = line["profile"]
        if not isinstance(said, dict) or [*map(type, map(said.get, NOTE))] != [str, str]:
            raise ValueError(f"profile must not be {said!r:.60}")
    for key in (*line, *sorted(wanted)):
        if key not in wanted:
            raise ValueError(f"a line has no {key!r:.60}")
        if key not in line:
            raise ValueError(f"it has no {key!r}")
        kinds = LINE.get(key) or (KINDS[key],)
        if type(line[key]) not in kinds:
            raise ValueError(f"{key} must not be {line[key]!r:.60}")
    if any(type(value) not in (int, type(None)) for value in line["cycles"].values()):
        raise ValueError("cycles must be integers or null")


class Log:
    """A log of a run directory, open for writing by this process alone."""

    def __init__(
        self, path: Path, whole: int, count: int = 0, head: str = "", name: str = EVALUATIONS
    ) -> None:
        """Open; `whole`: bytes of the `count` whole lines, the first append cuts off the rest.

        head: the chain's value after them. name: of the file.
        """
        self.file = path / name
        self.count = count
        self.head = head
        self._end = whole
        self._cut = False
        with errors_of(self.file, "write"):
            self._handle = os.open(self.file, os.O_RDWR | AS_ITSELF)
            try:
                found = os.fstat(self._handle)
                if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                    # What is written here would change a file elsewhere.
                    os.close(self._handle)
                    raise RunError(
                        f"cannot write {self.file}: it is no file of this directory alone "
                        f"(it has {found.st_nlink} names); copy the directory, and resume the copy"
                    )
                if fcntl is not None:
                    fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._handle)
                raise InUseError(f"{path} is in use by another run") from None

    def append(self, line: dict[str, Any]) -> None:
        """One more line, chained, in the file when this returns.

        Raises: RunError; no part of it stays.
        """
        head = next_link(self.head, line)
        chained = line | {CHAIN: head}
        data = json.dumps(chained, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
        with errors_of(self.file, "write"):
            if not self._cut:
                os.ftruncate(self._handle, self._end)
                self._cut = True
            os.lseek(self._handle, self._end, os.SEEK_SET)
            # One call, so that neither a signal nor a kill comes in between.
            rest = data[os.write(self._handle, data) :]
            try:
                while rest:
                    rest = rest[os.write(self._handle, rest) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._handle, self._end)
                raise
        self._end += len(data)
        self.count += 1
        self.head = head

    def close(self) -> None:
        """Let others write."""
        os.close(self._handle)


def write_json(file: Path, data: dict[str, Any]) -> None:
    """Replace a file by one JSON object. Raises: RunError."""
    write_whole(file, _json(data))


def write_whole(file: Path, data: bytes) -> None:
    """Replace a file as a whole: at every moment there is the old content or the new one.

    A link of that name is replaced, never followed. Nothing that lies in the folder already is
    opened: the data go into a new file, whose name nobody can know before.
    Raises: RunError; the old content is still there then.
    """
    temporary = _unused(file)
    with errors_of(file, "write"):
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | AS_ITSELF, 0o666)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, file)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def _unused(path: Path) -> Path:
    """A name beside the path that nothing uses, and that nobody can have prepared."""
    return path.with_name(f".{path.name[:60]}.{secrets.token_hex(8)}{TEMPORARY}")


@contextlib.contextmanager
def errors_of(file: Path, verb: str) -> Iterator[None]:
    """Turn the errors of the system into a RunError that names the file."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot {verb} {file}: {error.strerror or error}") from error


def _json(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode("ascii")
