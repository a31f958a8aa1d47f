"""Workers: processes of this machine that are given jobs, and replaced where they die."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from m890sim.scale.calls import SINGLE, TRIES, given_up
from m890sim.scale.worker import receive, send

_Job = tuple[int, Mapping[str, Any]]


class _Worker:
    """One process; started when its first job comes."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, function: str, job: Mapping[str, Any]) -> tuple[bool, Any]:
        """Whether a job ended as a function does, and what it gave or raised.

        Raises: EOFError, OSError where the process dies.
        """
        process = self._alive()
        assert process.stdin is not None and process.stdout is not None
        send(process.stdin, (function, dict(job)))
        found: tuple[bool, Any] = receive(process.stdout)
        return found

    def end(self) -> str:
        """End the process, and how it ended."""
        process, self.process = self.process, None
        if process is None:
            return "it could not be started"
        process.kill()
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if code < 0:
            return f"by signal {-code}"
        return f"with status {code}"

    def _alive(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from m890sim.scale.worker import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **SINGLE, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                # Ctrl-C of a terminal reaches the driver alone, which ends its workers.
                start_new_session=True,
            )
            assert self.process.stdin is not None
            send(self.process.stdin, list(sys.path))
        return self.process


class Workers:
    """Processes that stay for several lots of jobs; a context that ends them.

    Each takes the next job when it has done one. Where one dies, its job is done again by a new
    process, a few times. Raises: ValueError for fewer than one.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self._workers = [_Worker() for _ in range(workers)]

    @property
    def pids(self) -> list[int]:
        """The processes that live now."""
        found = [worker.process for worker in self._workers]
        return [process.pid for process in found if process is not None]

    def results(
        self, function: str, jobs: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """As `run_jobs`."""
        waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, bool, Any]] = queue.SimpleQueue()
        for each in enumerate(jobs):
            waiting.put(each)
        ended = threading.Event()
        used = self._workers[: len(jobs)]
        threads = [
            threading.Thread(
                target=_work, args=(worker, function, waiting, done, ended), daemon=True
            )
            for worker in used
        ]
        for thread in threads:
            waiting.put(None)
            thread.start()
        left = len(jobs)
        try:
            while left:
                # A wait without an end cannot be interrupted on every system.
                try:
                    number, whole, found = done.get(timeout=1.0)
                except queue.Empty:
                    continue
                left -= 1
                if not whole:
                    raise found
                yield number, found
        finally:
            if left:  # interrupted, or an error: nobody waits for what is being done
                ended.set()
            for worker, thread in zip(used, threads, strict=True):
                while thread.is_alive():
                    process = worker.process
                    if left and process is not None:
                        process.kill()
                    thread.join(0.1)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            if worker.process is not None:
                worker.end()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _work(
    worker: _Worker,
    function: str,
    waiting: queue.SimpleQueue[_Job | None],
    done: queue.SimpleQueue[tuple[int, bool, Any]],
    ended: threading.Event,
) -> None:
    """Jobs of one worker until none is left."""
    while (taken := waiting.get()) is not None:
        number, job = taken
        why = ""
        for _ in range(TRIES):
            if ended.is_set():
                return
            try:
                whole, found = worker.run(function, job)
            except (EOFError, OSError):
                why = worker.end()
                continue
            except BaseException as error:  # a result that cannot be read: a fault of ours
                worker.end()
                whole, found = False, error
            done.put((number, whole, found))
            break
        else:
            done.put((number, True, given_up(number, job, why)))
