"""Run directories as a Minari dataset: every step is one of an environment that was stepped."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from m890_envs.registration import EDITS, SUITE
from m890_envs.trajectories import RunPath, environment_for, paths_of
from m890sim.agents.plan import Plan
from m890sim.agents.reading import RunError
from m890sim.errors import M890Error
from m890sim.evidence.record import Record, read_record
from m890sim.evidence.run_scores import find_runs, score_of
from m890sim.judge.evaluation import package_version
from m890sim.kernel import print_kernel
from m890sim.session import Memory
from m890sim.timing import TIMING_VERSION

ACTION_ROWS: int = EDITS["action_rows"]  # as of M890/Suite-v0, whose spaces a dataset has
DATASET_ID = "m890-runs-v0"
INSTALL = "m890 dataset needs Minari: pip install 'm890sim[data]'"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}-v[0-9]{1,4}", re.ASCII)


def write_dataset(
    runs: Sequence[Path],
    out: Path,
    name: str = DATASET_ID,
    told: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write run directories as the Minari dataset `name` below the folder `out`.

    It lies in out/name/data: with MINARI_DATASETS_PATH=out `minari.load_dataset(name)` reads it.
    told: called with runs done and runs in all. Gives the counts that its metadata hold too, and
    `digest`, SHA-256 of all that is learned from (see `take_in`).
    Raises: RunError for runs that are damaged, or of which nothing is a macro; M890Error where
    Minari is missing, the name can't be, or the place is taken.
    """
    if not _ID.fullmatch(name):
        raise M890Error(
            f"--id must be like {DATASET_ID}: letters, digits, '-', '_', -vN, not {name!r:.80}"
        )
    place = out / name
    if place.exists():
        raise M890Error(f"{place} is there already; choose another --id or --out, or remove it")
    storage_type = _storage()
    records = [read_record(path) for path in find_runs(runs)]
    for record in records:
        try:
            score_of(record, str(record.path))
        except RunError as error:
            raise RunError(f"{record.path}: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=out))
    try:
        found = _write(storage_type, temporary, name, records, told)
        temporary.chmod(0o755)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return found | {"id": name, "path": str(place)}


def _write(
    storage_type: Any,
    folder: Path,
    name: str,
    records: Sequence[Record],
    told: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    spec = gym.spec(SUITE)
    suite = gym.make(spec)
    storage = storage_type.new(
        folder / "data", suite.observation_space, suite.action_space, spec, "hdf5"
    )
    from minari.data_collector.episode_buffer import EpisodeBuffer

    totals: Counter[str] = Counter()
    memory = Memory(states=512, results=10_000)
    content = hashlib.sha256()
    episodes = 0
    for done, record in enumerate(records, 1):
        for counts, said, played in episodes_of(record, memory):
            totals.update(counts)
            if played is None:
                continue
            storage.update_episodes([EpisodeBuffer(id=episodes, **played)])
            storage.update_episode_metadata([said], [episodes])
            take_in(content, said, played)
            episodes += 1
        if told is not None:
            told(done, len(records))
    if not episodes:
        raise RunError(
            "nothing of these runs is a step of macro actions: their kernels were written as text, "
            "or edited at single places"
        )
    found = {"runs": len(records), "episodes": episodes, "steps": totals["expressed"], **totals}
    own = content.hexdigest()
    storage.update_metadata(
        {
            "dataset_id": name,
            "minari_version": _minari_version(),
            "algorithm_name": ", ".join(sorted({record.plan().agent for record in records})),
            "description": "Kernel edits as macro actions, stepped again from runs of m890sim",
            "requirements": [f"m890sim=={package_version()}"],
            "author": {"The m890sim authors"},
            "m890sim": package_version(),
            "timing_version": TIMING_VERSION,
            "counts": found,
            "digest": own,
        }
    )
    return found | {"digest": own}


def take_in(content: Any, said: Mapping[str, Any], played: Mapping[str, Any]) -> None:
    """Add an episode to a hash: its data and metadata by name, the record's `chain` aside.

    An HDF5 file's bytes depend on the library that wrote it, and a record's chain on the version of
    the package; what is learned from depends on neither.
    """
    flat = {name: value for name, value in said.items() if name != "chain"}
    for name, value in played.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        flat |= {f"{name}.{key}": part for key, part in inner}
    for name in sorted(flat):
        array = np.asarray(flat[name])
        if array.dtype.kind == "U":
            kind, data = "text", json.dumps(array.tolist()).encode("ascii")
        else:
            kind, data = array.dtype.str, array.tobytes()
        content.update(json.dumps([name, kind, array.shape, len(data)]).encode("ascii") + data)


def episodes_of(
    record: Record, memory: Memory | None = None
) -> Iterator[tuple[dict[str, int], dict[str, Any], dict[str, Any] | None]]:
    """The run's counts once, without an episode; then what each episode is of, and its data.

    The data: lists of `observations` (one more than actions), `actions`, `rewards`,
    `terminations`, `truncations` and `infos`; the last step is marked as truncated, as the path
    ends there and the environment went on. Raises: RunError.
    """
    plan = record.plan()
    env = environment_for(plan, ACTION_ROWS, memory)
    most = env.macro_statements
    assert most is not None
    found = paths_of(record, ACTION_ROWS, most)
    yield found.counts(), {}, None
    of_run = {
        "task": plan.task.name,
        "cases": " ".join(case.name for case in plan.cases),
        "chip": plan.chip.name,
        "chip_digest": plan.chip.digest,
        "agent": plan.agent,
        "run_seed": plan.seed,
        "chain": record.head,
    }
    for path in found.paths:
        said = of_run | {
            "origin": path.origin,
            "evaluations": np.array(path.evaluations),
            "start": print_kernel(path.start),
        }
        yield {}, said, _played(env, path, record, plan)


def _played(env: Any, path: RunPath, record: Record, plan: Plan) -> dict[str, Any]:
    observation, info = env.reset(options={"start": path.start})
    seen, infos = [observation], [info]
    rewards: list[float] = []
    ends: list[bool] = []
    for action, index in zip(path.actions, path.evaluations, strict=True):
        observation, reward, terminated, _, info = env.step(action)
        if info["illegal"] or env.session.digest != record.lines[index]["digest"]:
            raise RunError(f"{record.path}: evaluation {index} is not what macro {action} gives")
        seen.append(observation)
        infos.append(info)
        rewards.append(float(reward))
        ends.append(bool(terminated))
    return {
        "observations": {key: [one[key] for one in seen] for key in seen[0]},
        "actions": list(path.actions),
        "rewards": rewards,
        "terminations": ends,
        "truncations": [False] * (len(rewards) - 1) + [True],
        "infos": {key: [one[key] for one in infos] for key in infos[0]},
    }


def _storage() -> Any:
    try:
        import h5py  # noqa: F401
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise M890Error(f"{INSTALL} ({error})") from error
    return MinariStorage


def _minari_version() -> str:
    from importlib.metadata import version

    return version("minari")
