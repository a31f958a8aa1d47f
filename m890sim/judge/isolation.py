"""Judging in a child process with limits on time and memory: a crash or a limit there is a verdict.

Nothing of a kernel is executed, and every size is bounded before work is done; the child is there
for what we have not thought of. Plain data goes in, bounded JSON comes out and is not trusted.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m890sim.chip import ChipSpec, get_chip
from m890sim.errors import M890Error
from m890sim.judge.evaluation import evaluate
from m890sim.language import parse
from m890sim.workloads import Task, get_task, registered

MOST_REQUEST = 4 * 2**20  # bytes of JSON
MOST_ANSWER = 16 * 2**20
SECONDS, MEMORY_MB = 60.0, 1024

ANSWERED, REFUSED, CRASHED, LIMIT, TIMEOUT = "answered", "refused", "crashed", "limit", "timeout"
_MINE = (ANSWERED, REFUSED, CRASHED, LIMIT)  # what a child may say of itself
_CHILD = "from m890sim.judge.isolation import serve; serve()"
# What the child does first, in an interpreter that looks neither into the current folder nor at
# PYTHONPATH: it finds this very package by its place, and libraries after the standard library, so
# that no json.py of a stranger can stand in for anything.
_START = """
import importlib.util, sys
sys.path += [entry for entry in {libraries} if entry not in sys.path]
spec = importlib.util.spec_from_file_location(
    "m890sim", {file}, submodule_search_locations=[{folder}]
)
sys.modules["m890sim"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["m890sim"])
"""
_LIBRARIES = ("numpy", "ml_dtypes", "numba", "llvmlite", "threadpoolctl")  # what judging imports
# What a child needs of the environment: where programs, libraries, caches and temporary files lie.
_KEPT = ("PATH", "HOME", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "XDG_CACHE_HOME")
_KEPT_TOO = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "NUMBA_DISABLE_JIT", "NUMBA_CPU_NAME")
# One thread: others would take processor time and address space that the limits count.
_SINGLE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Isolated:
    """How a child process ended, and what it said."""

    ended: str  # "answered", "refused" (bad input), "crashed", "limit" (of memory) or "timeout"
    reason: str  # why there is no answer; "" where it answered
    answer: dict[str, Any] | None = None  # plain data, as the child gave it

    @property
    def correct(self) -> bool:
        """True where the child answered that the kernel is right; everything else is wrong."""
        return self.answer is not None and self.answer.get("correct") is True

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "correct": self.correct,
            "ended": self.ended,
            "reason": self.reason,
            "answer": self.answer,
        }


def judge_isolated(
    source: str,
    task: Task | str,
    chip: ChipSpec | str = "m890",
    *,
    seconds: float = SECONDS,
    memory_mb: int = MEMORY_MB,
    function: str = "evaluate",
    **arguments: Any,
) -> Isolated:
    """Judge the text of a kernel in a child process.

    task: a name (a file is imported by the child too), or a Task that a name gives; seconds: of
    wall-clock time and of processor time; memory_mb: that it may take beyond what it has after its
    start; arguments: plain data for the function, as `seed`. `.answer` is `as_dict()` of the
    evaluation.
    Raises: TypeError, ValueError for impossible arguments; nothing that depends on the source.
    """
    if not isinstance(source, str):
        raise TypeError(f"source must be the text of a kernel, not {source!r:.60}")
    if isinstance(task, Task):
        name = task.origin or task.name
        if get_task(name) != task:
            raise ValueError(f"task {task.name!r} is another one by that name in a child process")
        if name in registered():
            raise ValueError(
                f"task {task.name!r} is registered in this process alone; give it as "
                "path/to/file.py:NAME, which a child process imports"
            )
        task = name
    if not isinstance(task, str):
        raise TypeError(f"task must be a Task or its name, not {task!r:.60}")
    if not isinstance(chip, (str, ChipSpec)):
        raise TypeError(f"chip must be a ChipSpec or its name, not {chip!r:.60}")
    spec = asdict(chip) if isinstance(chip, ChipSpec) else chip
    data = {"source": source, "task": task, "chip": spec, "arguments": arguments}
    return run_isolated(function, data, seconds=seconds, memory_mb=memory_mb)


def run_isolated(
    function: str,
    data: Mapping[str, Any],
    *,
    seconds: float = SECONDS,
    memory_mb: int = MEMORY_MB,
    module: str = __name__,
) -> Isolated:
    """Run a function of a module's FUNCTIONS on plain data in a child process.

    module: of this package, by its full name; this one where nothing is said.
    Raises: TypeError, ValueError for a wrong function, limit, or data that is not plain.
    """
    if not module.startswith("m890sim."):
        raise ValueError(f"module must be one of m890sim, not {module!r:.60}")
    functions = importlib.import_module(module).FUNCTIONS
    if function not in functions:
        raise ValueError(f"function must be one of {', '.join(functions)}, not {function!r:.60}")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"seconds must be a number, not {seconds!r:.60}")
    if not 0 < seconds <= 86_400:
        raise ValueError(f"seconds must lie above 0 and be at most 86,400, not {seconds!r:.60}")
    if type(memory_mb) is not int:
        raise TypeError(f"memory_mb must be an integer, not {memory_mb!r:.60}")
    if not 1 <= memory_mb <= 2**20:
        raise ValueError(f"memory_mb must lie in 1 ... 1,048,576, not {memory_mb!r:.60}")
    limits = {"seconds": seconds, "memory_mb": memory_mb}
    asked = {"module": module, "function": function, "data": dict(data), "limits": limits}
    request = json.dumps(asked).encode()
    if len(request) > MOST_REQUEST:
        return Isolated(
            REFUSED, f"the request has {len(request):,} bytes, at most {MOST_REQUEST:,} are taken"
        )
    return _supervise(request, seconds)


def _supervise(request: bytes, seconds: float) -> Isolated:
    """Start the child, feed it, and end it in time, whatever it does."""
    process = subprocess.Popen(
        [os.path.abspath(sys.executable), "-I", "-c", _start() + _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        cwd=os.path.abspath(os.sep),  # relative names of a library or a cache lead nowhere
        start_new_session=True,
    )
    answer = bytearray()

    def feed() -> None:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.write(request)
            process.stdin.close()

    def listen() -> None:
        assert process.stdout is not None
        while len(answer) <= MOST_ANSWER and (part := os.read(process.stdout.fileno(), 65_536)):
            answer.extend(part)
        if len(answer) > MOST_ANSWER:
            _kill(process)

    threads = [threading.Thread(target=task, daemon=True) for task in (feed, listen)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    late = False
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        _kill(process)  # its own children too
        process.wait()
    for thread in threads:
        thread.join(max(1.0, deadline - time.monotonic()))
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    if late:
        return Isolated(TIMEOUT, f"no verdict within {seconds:g} s of wall-clock time")
    return _read(bytes(answer), process.returncode, seconds)


def _start() -> str:
    """`_START` with the places of this package and of the libraries that it uses."""
    folder = Path(__file__).absolute().parents[1]
    places: dict[str, None] = {}
    for name in _LIBRARIES:
        spec = importlib.util.find_spec(name)
        for place in spec.submodule_search_locations or () if spec is not None else ():
            places[os.path.abspath(os.path.dirname(place))] = None
    return _START.format(
        libraries=ascii(list(places)),
        file=ascii(str(folder / "__init__.py")),
        folder=ascii(str(folder)),
    )


def _environment() -> dict[str, str]:
    """The environment of a child: what it needs, and nothing that a stranger could steer it by."""
    kept = {name: os.environ[name] for name in (*_KEPT, *_KEPT_TOO) if name in os.environ}
    return {**kept, **dict.fromkeys(_SINGLE, "1")}


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):  # it has ended
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _read(answer: bytes, status: int, seconds: float) -> Isolated:
    """What a child's answer and exit status mean; neither is trusted."""
    if status < 0:
        name = _signal_name(-status)
        if name == "SIGXCPU":
            return Isolated(TIMEOUT, f"no verdict within {seconds:g} s of processor time")
        return Isolated(CRASHED, f"the judging process was ended by {name}")
    if len(answer) > MOST_ANSWER:
        return Isolated(CRASHED, f"the judging process gave more than {MOST_ANSWER:,} bytes")
    if status != 0:
        return Isolated(CRASHED, f"the judging process ended with exit status {status}")
    try:
        found = json.loads(answer.decode("utf-8"))
    except (ValueError, RecursionError):
        return Isolated(CRASHED, "the judging process gave no JSON")
    if not isinstance(found, dict) or found.get("ended") not in _MINE:
        return Isolated(CRASHED, "the judging process gave JSON of another form")
    said, reason = found.get("answer"), found.get("reason")
    if found["ended"] == ANSWERED and isinstance(said, dict):
        return Isolated(ANSWERED, "", said)
    if found["ended"] == ANSWERED or not isinstance(reason, str):
        return Isolated(CRASHED, "the judging process gave JSON of another form")
    return Isolated(found["ended"], reason)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# In the child.


def serve() -> None:
    """The child: read a request, set the limits, answer. Prints of others go nowhere."""
    channel = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    request = json.loads(sys.stdin.buffer.read(MOST_REQUEST + 1))
    _limit(**request["limits"])
    text = json.dumps(_answer(request), allow_nan=False).encode()
    with os.fdopen(channel, "wb") as stream:
        stream.write(text)
    os._exit(0)  # nothing to tidy up; a thread or an exit handler must not change the answer


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        functions = importlib.import_module(request.get("module", __name__)).FUNCTIONS
        return {"ended": ANSWERED, "answer": functions[request["function"]](request["data"])}
    except Exception as error:
        if _out_of_memory(error):
            megabytes = request["limits"]["memory_mb"]
            return {"ended": LIMIT, "reason": f"judging takes more than {megabytes} MB of memory"}
        if isinstance(error, (M890Error, TypeError, ValueError)):
            return {"ended": REFUSED, "reason": f"{error!s:.4000}"}
        return {
            "ended": CRASHED,
            "reason": f"judging failed: {type(error).__name__}: {error!s:.2000}",
        }


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that there is no memory left.

    A library that cannot be mapped says so in words alone, and often within another error.
    """
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(error, (OSError, ImportError)) and any(
            words in str(error) for words in ("allocate memory", "failed to map")
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _limit(seconds: float, memory_mb: int) -> None:
    """Limits of this process, where the platform has them; the parent keeps the wall clock."""
    try:
        import resource
    except ImportError:
        return
    whole = int(seconds) + 1
    wanted = {
        resource.RLIMIT_CPU: (whole, whole + 2),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_AS: (_address_space() + memory_mb * 2**20,) * 2,
    }
    for kind, (soft, hard) in wanted.items():
        with suppress(OSError, ValueError):  # stricter ones hold already
            resource.setrlimit(kind, (soft, hard))


def _address_space() -> int:
    """Bytes that this process has mapped by now: libraries reserve far more than they touch."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 2**30
    return pages * os.sysconf("SC_PAGE_SIZE")


def evaluate_source(data: Mapping[str, Any]) -> dict[str, Any]:
    """`judge.evaluate` of a kernel's text, as plain data."""
    chip = data["chip"]
    spec = get_chip(chip) if isinstance(chip, str) else ChipSpec(**chip)
    kernel = parse(data["source"], filename="<source>")
    return evaluate(kernel, data["task"], spec, **data["arguments"]).as_dict()


def judge_source(data: Mapping[str, Any]) -> dict[str, Any]:
    """`judge.judge_kernel` of a kernel's text, as plain data."""
    from m890sim.judge.judgement import judge_kernel

    chip = data["chip"]
    spec = get_chip(chip) if isinstance(chip, str) else ChipSpec(**chip)
    kernel = parse(data["source"], filename="<source>")
    return judge_kernel(kernel, data["task"], spec, **data["arguments"]).as_dict()


def _echo(data: Mapping[str, Any]) -> dict[str, Any]:
    return dict(data)


# What a child may be asked for, by name. Kernels are text all the way: no code crosses over.
FUNCTIONS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "evaluate": evaluate_source,
    "judge": judge_source,
    "echo": _echo,
}
