"""Runs as datasets: the paths of a record, without Minari; and what Minari itself reads."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from m890_envs.dataset import ACTION_ROWS, INSTALL, episodes_of, write_dataset
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
    monkeypatch.setitem(__import__("sys").modules, "minari", None)
    monkeypatch.setitem(__import__("sys").modules, "minari.dataset.minari_storage", None)
    with pytest.raises(M890Error, match="needs Minari"):
        write_dataset([runs], tmp_path)
    assert "m890sim[data]" in INSTALL


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
    env = loaded.recover_environment()
    assert env.observation_space == loaded.observation_space
    assert env.action_space == loaded.action_space
    for episode in loaded.iterate_episodes():
        for number, action in enumerate(episode.actions):
            seen = {key: rows[number] for key, rows in episode.observations.items()}
            assert loaded.observation_space.contains(seen)
            assert episode.infos["action_mask"][number][action] == 1
