"""Jobs on a Ray cluster (extra `m890sim[ray]`)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from m890sim.errors import M890Error
from m890sim.scale.calls import SINGLE, TRIES, call, given_up

PATIENCE = 10.0  # seconds for a node to answer


def remote_call(function: str, job: Mapping[str, Any], wanted: str) -> tuple[bool, Any]:
    """What a job gives on a node; False and the node's version where that is another one."""
    here = version("m890sim")
    return (True, call(function, job)) if here == wanted else (False, here)


class Cluster:
    """A connection that stays for several lots of jobs; a context that ends it.

    Raises: M890Error as `cluster_results`.
    """

    def __init__(self, address: str) -> None:
        self._ray, self._address = _ray(), address
        self._own = not self._ray.is_initialized()
        if self._own:
            _connect(self._ray, address)

    def results(
        self, function: str, jobs: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """As `run_jobs`."""
        return cluster_results(function, jobs, self._address)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._ray.shutdown()


def cluster_results(
    function: str, jobs: Sequence[Mapping[str, Any]], address: str
) -> Iterator[tuple[int, Any]]:
    """As `run_jobs`, one task a job. A connection that is there already is used and left open.

    Raises: M890Error where Ray is not installed, the cluster cannot be reached, or its nodes have
    another version of m890sim.
    """
    ray = _ray()
    connected = ray.is_initialized()
    if not connected:
        _connect(ray, address)
    waiting: dict[Any, int] = {}
    try:
        task = ray.remote(num_cpus=1, max_retries=TRIES)(remote_call)
        wanted = version("m890sim")
        for number, job in enumerate(jobs):
            waiting[task.remote(function, dict(job), wanted)] = number
        while waiting:
            for ref in ray.wait(list(waiting), num_returns=1)[0]:
                number = waiting.pop(ref)
                yield number, _result(ray, ref, number, jobs[number], wanted)
    finally:
        for ref in waiting:
            ray.cancel(ref, force=True)
        if not connected:
            ray.shutdown()


def _result(ray: Any, ref: Any, number: int, job: Mapping[str, Any], wanted: str) -> Any:
    try:
        same, found = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ModuleNotFoundError):
            raise M890Error(
                f"a node of the cluster cannot do the job: {error.cause}; install the same "
                "packages on every node"
            ) from error
        raise
    except ray.exceptions.RayError as error:
        return given_up(number, job, f"{type(error).__name__}")
    if not same:
        raise M890Error(
            f"a node of the cluster has m890sim {found}, this machine {wanted}: results would not "
            "be the same; install one version everywhere"
        )
    return found


def _ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise M890Error(
            "--ray needs Ray, which is not installed: pip install 'm890sim[ray]'; --workers needs "
            "nothing more"
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    _look(address)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": SINGLE},
        )
    except Exception as error:  # of many kinds, by version
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise M890Error(
            f"the Ray cluster at {address!r:.100} cannot be reached: {lines[0]:.200}; start one "
            "with `ray start --head` and give the address that it prints"
        ) from error


def _look(address: str) -> None:
    """Whether somebody listens there, as Ray itself would wait for minutes. Raises: M890Error."""
    if address in ("auto", "local"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65536):
        raise M890Error(
            f"--ray takes HOST:PORT, ray://HOST:PORT or auto, not {address!r:.100}; "
            "`ray start --head` prints the address"
        )
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except OSError as error:
        raise M890Error(
            f"the Ray cluster at {address!r:.100} cannot be reached: {error}; start one with "
            "`ray start --head` and give the address that it prints"
        ) from error
