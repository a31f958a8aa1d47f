"""M890/Suite-v0: what is drawn, and that an episode can be had again."""

from __future__ import annotations

import copy
import json
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from m890_envs import SUITE, FlatMaskedObservation, SuiteEnv, SuiteVector
from m890_envs.fields import MOST_CASES
from m890_envs.vector import stream_seed
from m890sim.chip import FAMILIES, M890, chip_of
from m890sim.chip.files import chip_text
from m890sim.errors import ChipError, M890Error, TaskError
from m890sim.judge.gate_inputs import STORE
from m890sim.session import Memory
from m890sim.session.suite import (
    CHIP_FAMILIES,
    HELD_OUT_FAMILIES,
    TASKS,
    Suite,
    split_of_case,
)
from m890sim.session.suite import MOST_CASES as MOST_DRAWN
from m890sim.workloads import get_task
from m890sim.workloads.inputs import draft
from tests.envs.test_arguments import REFUSALS
from tests.envs.test_episodes import same
from tests.session.junk import JUNK

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
OWN_TASK = f"{ROOT / 'examples' / 'tasks' / 'rms_norm.py'}:TASK"
SMALL = {"tasks": ("vector_add", "row_softmax"), "verify": "never"}
NAMED = ("task", "chip", "cases")
SUITE_OF_SMALL = Suite(tasks=SMALL["tasks"])


def legal(info: dict[str, Any], rng: random.Random) -> int:
    actions = info["action_mask"].nonzero()[0][1:]
    return int(rng.choice(actions)) if len(actions) else 0


def tiny_chip(folder: Path) -> Path:
    """The file of a chip whose accumulator has no room for attention's smallest tiles."""
    path, small = folder / "tiny.toml", {"matrix_rows": 16, "matrix_columns": 16, "acc_bytes": 64}
    path.write_text(chip_text(M890.replace(name="tiny", **small)))
    return path


def test_draws_are_golden(golden: Callable[[Path, str], None]) -> None:
    lines = []
    for split in ("train", "validation", "test"):
        suite = Suite(split)
        for seed in (0, 2**63 - 1):
            for number in range(6):
                episode = suite.draw(seed, number)
                digests = [case.digest[:16] for case in episode.cases]
                drawn = {**episode.options, "chip_digest": episode.chip.digest, "digests": digests}
                lines.append(json.dumps({"split": split, "seed": seed, **drawn}))
    golden(GOLDEN / "suite_draws.jsonl", "\n".join(lines) + "\n")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_chips_and_shapes_are_of_the_split_and_work_is_within_bounds(split: str) -> None:
    suite = Suite(split, TASKS[:4], cases=3, least_work=500, most_work=50_000)
    for number in range(12):
        episode = suite.draw(7, number)
        family, of, _ = episode.chip.name.split(":")
        assert family in CHIP_FAMILIES and of == split
        assert len(episode.cases) == 3
        for case in episode.cases:
            assert split_of_case(case) == split and 500 <= case.work <= 50_000


def test_families_are_those_for_training_and_those_held_out() -> None:
    assert {*CHIP_FAMILIES, *HELD_OUT_FAMILIES} == set(FAMILIES)
    assert "balanced" in CHIP_FAMILIES and "wide" in HELD_OUT_FAMILIES
    assert MOST_DRAWN == MOST_CASES


def test_same_seed_gives_the_same_episodes_and_another_seed_others() -> None:
    env, other = SuiteEnv(**SMALL), SuiteEnv(**SMALL, memory=Memory())
    firsts = [env.reset(seed=5), *(env.reset() for _ in range(3))]
    again = [other.reset(seed=5), *(other.reset() for _ in range(3))]
    assert all(same(a, b) for a, b in zip(firsts, again, strict=True))
    assert [int(info["number"]) for _, info in firsts] == [0, 1, 2, 3]
    assert len({info["chip"] for _, info in firsts}) > 1
    assert other.reset(seed=6)[1]["chip"] != firsts[0][1]["chip"]


def test_without_a_seed_environments_draw_episodes_of_their_own() -> None:
    chips = {SuiteEnv(**SMALL).reset()[1]["chip"] for _ in range(3)}
    assert len(chips) > 1


def test_info_names_the_episode_and_options_give_it_again() -> None:
    env = SuiteEnv(**SMALL)
    observation, info = env.reset(seed=2)
    assert info["chip_digest"] == chip_of(info["chip"]).digest == env.session.chip.digest
    assert info["cases"] == tuple(case.name for case in env.session.cases)
    assert info["cycles"].shape == (MOST_CASES,) and (info["cycles"][2:] == -1).all()
    other = SuiteEnv("test", tasks="extend", chips="m890", verify="never")
    seen, told = other.reset(options={key: info[key] for key in NAMED})
    assert same(seen, observation)
    assert all(told[key] == info[key] for key in (*NAMED, "chip_digest"))
    action = legal(info, random.Random(1))
    assert same(env.step(action)[0], other.step(action)[0])


def test_part_of_an_episode_may_be_named() -> None:
    env = SuiteEnv(**SMALL)
    info = env.reset(seed=1, options={"chip": "m890-mini"})[1]
    assert info["chip"] == "m890-mini" and info["cases"][0].startswith("hidden-")
    info = env.reset(options={"task": "matmul", "cases": "matmul-200x160x384"})[1]
    assert info["task"] == "matmul" and info["cases"] == ("matmul-200x160x384",)
    assert info["chip"].split(":")[1] == "train" and info["number"] == 1
    own = get_task("matmul").hidden_cases(3, 4)
    info = env.reset(options={"task": get_task("matmul"), "cases": own, "chip": M890})[1]
    assert info["cases"] == ("hidden-4-0", "hidden-4-1", "hidden-4-2") and info["chip"] == "m890"


def test_start_may_be_named_too() -> None:
    env = SuiteEnv(**SMALL)
    kind = {"task": "vector_add", "cases": "add-600x96", "chip": "m890"}
    reference = env.reset(options=kind)[1]
    expert = env.reset(options={**kind, "start": "vector_add_expert"})[1]
    assert expert["speedup"] > reference["speedup"] == 1.0


def test_tasks_and_chips_of_files_work(tmp_path: Path) -> None:
    chip = tmp_path / "lab.toml"
    chip.write_text(chip_text(M890.replace(name="lab", cores=6)))
    env = SuiteEnv(tasks=OWN_TASK, chips=chip, verify="never")
    info = env.reset(seed=0)[1]
    assert (info["task"], info["chip"]) == (OWN_TASK, str(chip))
    assert env.session.chip.cores == 6 and env.session.task.name == "rms_norm"
    other = SuiteEnv(**SMALL)
    assert other.reset(options={key: info[key] for key in NAMED})[1]["cycles"].tolist() == (
        info["cycles"].tolist()
    )
    twin = pickle.loads(pickle.dumps(env))
    action = legal(info, random.Random(0))
    assert same(twin.step(action), env.step(action))


def test_task_without_hidden_cases_gives_its_public_ones() -> None:
    from dataclasses import replace

    task = replace(get_task("vector_add"), hidden=None)
    episode = Suite("test", [task], "m890").draw(0, 0)
    public = {case.name for case in task.cases}
    assert len({case.name for case in episode.cases}) == 2
    assert {case.name for case in episode.cases} <= public


def test_task_that_fits_no_drawn_chip_gives_way_to_the_next_draw(tmp_path: Path) -> None:
    tiny = tiny_chip(tmp_path)
    suite = Suite(tasks=("attention_head", "vector_add"), chips=(tiny, "m890"))
    drawn = {(e.task_name, e.chip_name) for e in (suite.draw(3, n) for n in range(16))}
    assert ("attention_head", str(tiny)) not in drawn
    assert ("vector_add", str(tiny)) in drawn and ("attention_head", "m890") in drawn
    with pytest.raises(M890Error, match="100 draws and no episode; the last one: .*E302 no room"):
        Suite(tasks="attention_head", chips=tiny, least_work=1).draw(0, 0)


def test_spaces_are_the_same_whatever_is_drawn() -> None:
    home = gym.make("M890/ExtendMacro-v0")
    for split in ("train", "validation", "test"):
        env = gym.make(SUITE, split=split).unwrapped
        assert env.observation_space == home.observation_space
        assert env.action_space == home.action_space


@pytest.mark.parametrize("task", TASKS)
def test_every_task_on_a_chip_of_every_family(task: str) -> None:
    env, rng = SuiteEnv("test", tasks=task, chips=tuple(FAMILIES), verify="never"), random.Random(4)
    before = env.observation_space, env.action_space
    for number, family in enumerate(FAMILIES):
        chip = f"{family}:test:{number}"
        observation, info = env.reset(seed=number, options={"task": task, "chip": chip})
        assert info["chip"] == chip and env.observation_space.contains(observation)
        observation = env.step(legal(info, rng))[0]
        assert env.observation_space.contains(observation)
    assert (env.observation_space, env.action_space) == before


def test_random_steps_over_draws_meet_no_exception_and_no_refusal() -> None:
    env, rng = SuiteEnv(horizon=4, verify="never"), random.Random(8)
    observation, info = env.reset(seed=8)
    for _ in range(60):
        assert env.observation_space.contains(observation)
        observation, reward, terminated, truncated, info = env.step(legal(info, rng))
        assert info["illegal"] == 0 and np.isfinite(reward)
        if terminated or truncated:
            observation, info = env.reset()


def test_copies_go_on_with_the_same_episodes() -> None:
    env = SuiteEnv(**SMALL)
    _, info = env.reset(seed=9)
    action = legal(info, random.Random(0))
    twins = [env, copy.deepcopy(env), env.clone(), pickle.loads(pickle.dumps(env))]
    steps = [twin.step(action) for twin in twins]
    nexts = [twin.reset() for twin in twins]
    assert all(same(steps[0], step) for step in steps[1:])
    assert all(same(nexts[0], found) for found in nexts[1:])
    fresh = pickle.loads(pickle.dumps(SuiteEnv("test", **SMALL)))
    assert fresh.reset(seed=1)[1]["chip"].split(":")[1] == "test"


def test_nothing_is_there_before_the_first_reset() -> None:
    env = SuiteEnv(**SMALL)
    for call in (lambda: env.session, lambda: env.episode, env.action_masks):
        with pytest.raises(ResetNeeded):
            call()


def test_refused_draw_leaves_the_episode_as_it_was() -> None:
    env = SuiteEnv(**SMALL)
    _, info = env.reset(seed=3)
    with pytest.raises(M890Error):
        env.reset(options={"task": "no_such_task"})
    assert env.step(legal(info, random.Random(2)))[4]["chip"] == info["chip"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "tset"}, ValueError, "split must be one of train, validation, test, not 'tset'"),
        ({"split": 3}, TypeError, "split must be one of"),
        ({"chips": "wide"}, ChipError, "family wide has no split 'train'"),
        ({"chips": ["balancd"]}, ChipError, "unknown chip 'balancd'; did you mean balanced"),
        ({"chips": ()}, ValueError, "chips must name at least one, not none"),
        ({"chips": 7}, TypeError, "chips must be chips, families or their names in a sequence"),
        ({"tasks": "vector_ad"}, TaskError, "unknown task: 'vector_ad'; did you mean vector_add"),
        ({"tasks": [3]}, TypeError, "task must be a Task or its name, not 3"),
        ({"tasks": ["matmul", "matmul"]}, ValueError, "name each one once, not 'matmul' twice"),
        ({"cases": 17}, ValueError, "cases must be at most 16, not 17"),
        ({"cases": "add"}, TypeError, "cases must be an integer, not 'add'"),
        ({"least_work": 10, "most_work": 9}, ValueError, "most_work must be at least 10, not 9"),
        ({"verify": "maybe"}, ValueError, "verify must be one of best, gains"),
    ],
)
def test_impossible_argument_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        SuiteEnv(**arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (3, TypeError, "options must be a dict or None, not 3"),
        ({"chp": "m890"}, ValueError, "options may have 'start', 'task', 'chip', 'cases', not"),
        ({"task": 3}, TypeError, "task must be a Task or its name, not 3"),
        ({"task": "add"}, TaskError, "unknown task: 'add'"),
        ({"chip": 3}, TypeError, "chip must be a ChipSpec or its name, not 3"),
        ({"chip": "balanced"}, ChipError, "balanced is a family: write balanced:train:0"),
        ({"chip": "balanced:tset:1"}, ChipError, "family balanced has no split 'tset'"),
        ({"chip": "no.toml"}, ChipError, "cannot read the chip no.toml"),
        ({"cases": "add-600x96"}, ValueError, "options have 'cases' and no 'task'"),
        ({"task": "matmul", "cases": "add-600x96"}, TaskError, "unknown case of task matmul"),
        (
            {"task": "matmul", "cases": get_task("vector_add").cases},
            TaskError,
            "belongs to task 'vector_add', not to 'matmul'",
        ),
        ({"task": "matmul", "cases": 3}, TypeError, "cases must be cases or their names"),
        ({"task": "matmul", "cases": [3]}, TypeError, "a case must be a Case or its name, not 3"),
        ({"task": "matmul", "cases": ()}, TaskError, "no case to evaluate"),
        (
            {"task": "matmul", "cases": [f"hidden-1-{n}" for n in range(17)]},
            ValueError,
            "an episode has at most 16 cases, not 17",
        ),
        ({"task": "matmul", "cases": "hidden-1-99999"}, TaskError, "unknown case of task matmul"),
    ],
)
def test_wrong_option_is_refused(options: Any, error: type[Exception], message: str) -> None:
    env = SuiteEnv(**SMALL)
    with pytest.raises(error, match=message):
        env.reset(seed=0, options=options)


def test_named_episode_that_does_not_fit_says_why(tmp_path: Path) -> None:
    tiny = tiny_chip(tmp_path)
    options = {"task": "attention_head", "chip": tiny, "cases": "head-256"}
    with pytest.raises(M890Error, match="E3"):
        SuiteEnv(**SMALL).reset(options=options)


def test_no_case_within_the_bounds_is_said() -> None:
    suite = Suite(tasks="vector_add", chips="m890", least_work=2**40, most_work=2**41)
    with pytest.raises(M890Error, match="task vector_add has 0 cases of split train with"):
        suite.draw(0, 0)


def test_flat_observation_has_the_mask_first() -> None:
    env = FlatMaskedObservation(SuiteEnv(**SMALL))
    vector, info = env.reset(seed=4)
    assert (vector[: env.actions] == info["action_mask"]).all()
    assert env.observation_space.contains(env.reset()[0])


def test_vector_gives_each_environment_the_episodes_of_its_own_seed() -> None:
    vector = gym.make_vec(SUITE, num_envs=2, **SMALL, horizon=2)
    assert isinstance(vector, SuiteVector)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    _, info = vector.reset(seed=11)
    drawn: list[list[str]] = [[], []]
    for _ in range(7):
        for number, chip in enumerate(info["chip"]):
            if chip not in drawn[number]:
                drawn[number].append(chip)
        masks = vector.action_masks()
        assert (masks == info["action_mask"]).all()
        # One of them stops at once, the other takes its time.
        actions = [0, int(np.flatnonzero(masks[1])[-1])]
        info = vector.step(np.array(actions))[4]
    vector.close()
    assert len(drawn[0]) > len(drawn[1]) > 1
    for number, chips in enumerate(drawn):
        env = SuiteEnv(**SMALL)
        own = [env.reset(seed=stream_seed(11, number))[1]["chip"]]
        own += [env.reset()[1]["chip"] for _ in chips[1:]]
        assert own == chips


def test_vector_wraps_and_resets_within_the_step() -> None:
    vector = SuiteVector(
        1, wrappers=[FlatMaskedObservation], autoreset_mode=AutoresetMode.SAME_STEP, **SMALL
    )
    first = vector.reset(seed=0)[1]
    observation, _, terminated, _, info = vector.step(np.array([0]))
    assert terminated[0] and info["number"][0] == 1 and first["number"][0] == 0
    assert (observation[0][: info["action_mask"].shape[1]] == info["action_mask"][0]).all()
    vector.close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_envs": 0}, ValueError, "num_envs must be at least 1, not 0"),
        ({"num_envs": "2"}, TypeError, "num_envs must be an integer, not '2'"),
        ({"memory": Memory()}, ValueError, "memory= is for one process"),
        ({"wrappers": [3]}, TypeError, "wrappers must be functions, not 3"),
        ({"split": "tset"}, ValueError, "split must be one of"),
    ],
)
def test_vector_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SuiteVector(**{**SMALL, **arguments})


WALK = """
import random, sys
sys.path[:0] = [{root!r}, {envs!r}]
import m890_envs
env = m890_envs.SuiteEnv(horizon={length}, budget=None, verify={verify!r})
rng = random.Random(5)
steps = 0
for draw in range({draws}):
    _, info = env.reset(seed=0 if draw == 0 else None)
    ended = False
    while not ended:
        legal = info["action_mask"].nonzero()[0][1:]
        *_, terminated, truncated, info = env.step(int(rng.choice(legal)) if len(legal) else 0)
        assert not info["illegal"]
        steps += 1
        ended = terminated or truncated
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("draws", "length", "verify"),
    [(40, 1, "never"), pytest.param(500, 20, "gains", marks=pytest.mark.long)],
)
def test_memory_over_draws_stays_below_500_megabytes(draws: int, length: int, verify: str) -> None:
    script = WALK.format(
        root=str(ROOT), envs=str(ROOT / "envs"), draws=draws, length=length, verify=verify
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 500


def test_inputs_of_the_gate_go_with_the_episode() -> None:
    env = SuiteEnv(tasks=("vector_add",), verify="best")
    env.reset(seed=21)
    before = env.episode.cases
    assert any(key[0] in before for key in STORE._kept)
    env.reset()
    assert not any(key[0] in before for key in STORE._kept)
    assert STORE._total == sum(STORE._sizes.values()) and STORE._sizes.keys() == STORE._kept.keys()


def test_memory_keeps_a_bounded_number_of_draws() -> None:
    memory = Memory(spaces=3)
    env = SuiteEnv(**SMALL, memory=memory)
    for _ in range(12):
        env.reset()
    assert len(memory._recent) == 3 and len(memory._spaces) <= 4


@pytest.mark.parametrize(
    "name", ["split", "tasks", "chips", "cases", "least_work", "most_work", "horizon", "memory"]
)
@settings(max_examples=25, deadline=None)
@given(value=JUNK)
def test_any_junk_is_taken_or_refused(name: str, value: Any) -> None:
    try:
        SuiteEnv(**{**SMALL, name: value})
    except REFUSALS as error:
        assert str(error)


@settings(max_examples=100, deadline=None)
@given(value=JUNK, name=st.sampled_from(NAMED))
def test_any_junk_of_an_option_is_taken_or_refused(value: Any, name: str) -> None:
    try:
        SUITE_OF_SMALL.checked({"task": "vector_add", "chip": "m890", name: value})
    except REFUSALS as error:
        assert str(error)


def test_draws_of_the_gate_go_with_the_episode() -> None:
    env = SuiteEnv(tasks=("decode",), verify="best")
    env.reset(seed=21)
    before = env.episode.cases
    assert any(case in before for case, _ in draft._kept)
    env.reset()
    assert not any(case in before for case, _ in draft._kept)
