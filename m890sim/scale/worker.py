"""The process of a worker: frames of pickled data on its standard input and output.

It is started by itself, not forked: threads of the timing engine and of BLAS do not
survive that. It ends when its input does, so none is left when the driver is killed.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import sys
import threading
import traceback
from typing import IO, Any

_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], value: Any) -> None:
    """Write one frame. Raises: OSError where the other side has gone."""
    data = pickle.dumps(value)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one frame. Raises: EOFError where the other side has gone, also within a frame."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return pickle.loads(_exactly(stream, length))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if data is None or len(data) < size:
        raise EOFError("the other side has gone")
    return data


def _sendable(error: BaseException) -> BaseException:
    """The error as it can be sent, with the place where it was raised as a note."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(str(error))
    error.add_note(f"in a worker:\n{text}")
    return error


def _serve(source: IO[bytes], target: IO[bytes]) -> None:
    jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                jobs.put(receive(source))
        except BaseException:
            os._exit(0)  # in the middle of a job too: nobody waits for it

    sys.path[:] = receive(source)
    threading.Thread(target=read, daemon=True).start()
    from m890sim.scale.calls import call

    while True:
        function, job = jobs.get()
        try:
            found: tuple[bool, Any] = (True, call(function, job))
        except BaseException as error:
            found = (False, _sendable(error))
        try:
            send(target, found)
        except OSError:
            os._exit(0)


def main() -> None:
    """Do jobs until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends its workers
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a job prints is no frame
    _serve(sys.stdin.buffer, target)
