"""Runs as datasets: the paths of a record, without Minari; and what Minari itself reads."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from m890_envs.dataset import ACTION_ROWS, INSTALL, episodes_of, take_in, write_dataset
from m890_envs.recording import record_episode
from m890_envs.trajectories import environment_for, paths_of
from m890sim import cli
from m890sim.agents.files import EVALUATIONS, MANIFEST, create
from m890sim.agents.optimize import optimize
from m890sim.agents.plan import Plan
from m890sim.agents.reading import RunError
from m890sim.chip import M890
from m890sim.cli import dataset as command
from m890sim.errors import M890Error
from m890sim.evidence.record import read_record
from m890sim.kernel import digest
from m890sim.schedule.macros import MacroActions
from m890sim.session import context_of
from m890sim.workloads import known_task
from tests.envs.test_source import PLAY, env_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    task = known_task("vector_add")
    for agent in ("annealing", "random-macro"):
        start = task.reference_on(M890)
        plan = Plan(task, (task.case("add-512x256"),), M890, agent, 3, 12, start)
        create(folder / agent, plan.manifest())
        optimize(folder / agent, picture=False)
    return folder


@pytest.mark.parametrize("agent", ["annealing", "random-macro"])
def test_every_evaluation_is_one_step_or_counted(runs: Path, agent: str) -> None:
    record = read_record(runs / agent)
    env = environment_for(record.plan(), ACTION_ROWS)
    assert env.macro_statements is not None
    found = paths_of(record, ACTION_ROWS, env.macro_statements)
    held = [index for path in found.paths for index in path.evaluations]
    assert len(held) == len(set(held)) == found.expressed > 0
    assert sum(found.counts().values()) == len(record.lines) - 1
    # The slow twin: each macro performed on kernels that the log's digests name.
    plan = record.plan()
    actions = MacroActions(context_of(plan.task, plan.chip), env.macro_statements)
    for path in found.paths:
        kernel = path.start
        assert digest(kernel) == record.lines[path.origin]["digest"]
        parent = path.origin
        for action, index in zip(path.actions, path.evaluations, strict=True):
            kernel = actions.perform(kernel, action)[0]
            assert digest(kernel) == record.lines[index]["digest"]
            assert (record.lines[index]["parent"] or 0) == parent
            parent = index


def test_steps_are_those_of_the_environment(runs: Path) -> None:
    record = read_record(runs / "random-macro")
    (counts, _, nothing), *episodes = episodes_of(record)
    assert nothing is None
    steps = 0
    for _, said, data in episodes:
        assert data is not None
        assert said["chain"] == record.head
        for number, index in enumerate(said["evaluations"]):
            info = {key: values[number + 1] for key, values in data["infos"].items()}
            assert info["speedup"] == pytest.approx(record.lines[index]["speedup"])
        assert data["truncations"] == [False] * (len(data["actions"]) - 1) + [True]
        steps += len(data["actions"])
    assert steps == counts["expressed"]


def test_a_log_of_other_kernels_is_refused(runs: Path, tmp_path: Path) -> None:
    source = runs / "random-macro"
    manifest = json.loads((source / MANIFEST).read_text())
    lines = [json.loads(line) for line in (source / EVALUATIONS).read_text().splitlines()]
    lines[2]["digest"] = "0" * len(lines[2]["digest"])
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    (tmp_path / EVALUATIONS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(RunError, match="evaluation 2 has the digest '000.*its edits give"):
        paths_of(read_record(tmp_path), ACTION_ROWS, 100)


def test_refusals(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(M890Error, match="--id must be like m890-runs-v0"):
        write_dataset([runs], tmp_path, "../x")
    (tmp_path / "taken-v0").mkdir()
    with pytest.raises(M890Error, match="is there already; choose another --id or --out"):
        write_dataset([runs], tmp_path, "taken-v0")
    monkeypatch.setattr(command, "entry_points", lambda group: ())
    assert cli.main(["dataset", str(runs), "--out", str(tmp_path)]) == 2
    assert "m890sim[data]" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "minari", None)
    monkeypatch.setitem(sys.modules, "minari.dataset.minari_storage", None)
    with pytest.raises(M890Error, match="needs Minari"):
        write_dataset([runs], tmp_path)
    assert "m890sim[data]" in INSTALL


class _Point(SimpleNamespace):
    """An entry point as `m890 dataset` looks for it."""

    name = command.NAME

    def load(self) -> Any:
        return write_dataset


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command has its writer, also where the package was never installed."""
    monkeypatch.setattr(command, "entry_points", lambda group: (_Point(),))


def test_without_minari_the_command_says_what_to_install(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    writer: None,
) -> None:
    for missing in ("minari", "h5py"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            patch.setitem(sys.modules, "minari.dataset.minari_storage", None)
            assert cli.main(["dataset", str(runs), "--out", str(tmp_path / "out")]) == 2
        assert "m890 dataset needs Minari: pip install 'm890sim[data]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch, writer: None) -> None:
    """A storage that is never written to: what refuses comes first, with Minari or without."""
    monkeypatch.setattr("m890_envs.dataset._storage", lambda: None)


@pytest.mark.parametrize("damage", ["none", "empty", "cut", "changed"])
def test_the_command_refuses_what_are_no_runs(
    damage: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stored: None
) -> None:
    given = tmp_path / "given"
    if damage == "empty":
        given.mkdir()
    elif damage != "none":
        shutil.copytree(runs / "random-macro", given)
        log = given / EVALUATIONS
        if damage == "cut":
            log.write_text(log.read_text()[:-40])
        else:
            lines = log.read_text().splitlines()
            lines[3] = json.dumps(json.loads(lines[3]) | {"speedup": 1e12})
            log.write_text("\n".join(lines) + "\n")
    words = {
        "none": "does not exist; give run directories, or folders of them",
        "empty": "holds no run directory (with a manifest.json)",
        "cut": "given: its result belongs to another log",
        "changed": "evaluation 3 does not follow from what stands before it: the file was changed",
    }
    assert cli.main(["dataset", str(given), "--out", str(tmp_path / "out")]) == 2
    assert words[damage] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_entry_point_is_the_writer() -> None:
    for point in entry_points(group=command.GROUP):
        assert point.load() is write_dataset


def test_minari_reads_it(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    found = write_dataset([runs], tmp_path, "small-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    loaded = minari.load_dataset("small-v0")
    assert loaded.total_steps == found["steps"]
    assert loaded.total_episodes == found["episodes"]
    assert loaded.storage.metadata["digest"] == found["digest"]
    env = loaded.recover_environment()
    assert env.observation_space == loaded.observation_space
    assert env.action_space == loaded.action_space
    for episode in loaded.iterate_episodes():
        for number, action in enumerate(episode.actions):
            seen = {key: rows[number] for key, rows in episode.observations.items()}
            assert loaded.observation_space.contains(seen)
            assert episode.infos["action_mask"][number][action] == 1


def test_the_command_writes_what_minari_loads(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    writer: None,
) -> None:
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    words = ["dataset", str(runs / "random-macro"), "--id", "one-v3", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert cli.main([*words[:-1], str(tmp_path / "again"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert f"digest: {found['digest']}\n" in said  # the same for the same runs
    assert f"MINARI_DATASETS_PATH={tmp_path} lets minari.load_dataset('one-v3') read it" in said
    assert f"evaluations: {found['expressed']} are one macro from their parent" in said
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert minari.load_dataset("one-v3").total_steps == found["steps"]
    assert cli.main(words) == 2
    assert "is there already; choose another --id or --out" in capsys.readouterr().err


def test_runs_of_texts_alone_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], writer: None
) -> None:
    pytest.importorskip("minari")
    pytest.importorskip("h5py")
    env = env_of()
    env.reset(seed=0)
    for action in PLAY:
        env.step(action)
    record_episode(env, tmp_path / "texts", agent="model", seed=8)
    assert cli.main(["dataset", str(tmp_path / "texts"), "--out", str(tmp_path / "out")]) == 2
    assert "nothing of these runs is a step of macro actions" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_the_digest_follows_from_the_content_alone(runs: Path) -> None:
    record = read_record(runs / "random-macro")
    _, (_, said, data) = [*episodes_of(record)][:2]
    assert data is not None

    def digest_of(said: dict[str, Any], data: dict[str, Any]) -> str:
        content = hashlib.sha256()
        take_in(content, said, data)
        return content.hexdigest()

    own = digest_of(said, data)
    assert digest_of(said | {"chain": "0" * 64}, dict(reversed(data.items()))) == own
    assert digest_of(said | {"agent": "another"}, data) != own
    assert digest_of(said, data | {"rewards": [reward + 1 for reward in data["rewards"]]}) != own
    chips = data["observations"]["chip"]
    other = [np.array(chips[0]) + np.float32(2**-20), *chips[1:]]
    changed = data["observations"] | {"chip": other}
    assert digest_of(said, data | {"observations": changed}) != own
