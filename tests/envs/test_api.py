"""Every id passes the checkers; ids, spaces and info are what they say."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import m890_envs
from m890_envs import (
    FIXED,
    GRAPH,
    IDS,
    MACRO,
    FlatMaskedObservation,
    KernelEditEnv,
    MaskInObservation,
)
from m890_envs.fields import INFO
from m890sim.schedule.actions import ROWS
from m890sim.schedule.macros import macros_of
from m890sim.workloads import get_task
from tests.envs.walks import QUICK, walk
from tests.envs.window import Pygame

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., KernelEditEnv]


@pytest.mark.parametrize("name", IDS)
def test_id_passes_gymnasiums_checker(make: Make, name: str) -> None:
    check_env(make(name, **QUICK.get(name, {})), skip_render_check=True)


def test_rendering_passes_gymnasiums_checker(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("pygame") is None:
        monkeypatch.setitem(sys.modules, "pygame", Pygame())
    else:
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    check_env(gym.make("M890/VectorAdd-v1", render_mode="ansi").unwrapped)


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
def test_mask_in_the_observation_passes_gymnasiums_checker(make: Make) -> None:
    check_env(MaskInObservation(make()), skip_render_check=True)
    check_env(FlatMaskedObservation(make("M890/VectorAddMacro-v0")), skip_render_check=True)


if importlib.util.find_spec("stable_baselines3"):

    @pytest.mark.parametrize("name", IDS)
    def test_id_passes_the_checker_of_stable_baselines3(make: Make, name: str) -> None:
        from stable_baselines3.common.env_checker import check_env as check

        check(make(name, **QUICK.get(name, {})), warn=False)


@pytest.mark.parametrize(
    "statement",
    [
        "gym.make('m890_envs:M890/KernelEdit-v0')",
        "__import__('m890_envs') and gym.make('M890/Prefill-v1')",
        "__import__('m890_envs').register() or gym.make('M890/Matmul-v1')",
    ],
)
def test_id_is_found_in_a_fresh_process(statement: str) -> None:
    path = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'envs')!r}]; "
    command = f"{path}import gymnasium as gym; env = {statement}; print(env.unwrapped)"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "KernelEditEnv" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("name", FIXED)
def test_fixed_id_names_its_cases(make: Make, name: str) -> None:
    arguments = FIXED[name]
    known = [case.name for case in get_task(arguments["task"]).cases]
    assert set(arguments["cases"]) <= set(known)
    assert {"task", "cases", "chip", "horizon", "budget", "sites"} <= set(arguments)
    env = make(name, **QUICK.get(name, {}))
    assert [case.name for case in env.session.cases] == list(arguments["cases"])
    assert env.session.chip.name == arguments["chip"]


@pytest.mark.parametrize("name", ["M890/AttentionHeadMini-v1", "M890/Prefill-v1"])
def test_info_has_every_key_with_its_type(make: Make, name: str) -> None:
    env = make(name, **QUICK.get(name, {}))
    sizes = {"(actions,)": (env.action_space.n,), "(cases,)": (len(env.session.cases),), "()": ()}
    for _, (_, _, _, _, info) in walk(env, 3, 25):
        assert list(info) == [key.name for key in INFO]
        for key in INFO:
            value = info[key.name]
            if key.dtype == "str":
                assert type(value) is str
                continue
            assert isinstance(value, (np.generic, np.ndarray))
            assert value.dtype == key.dtype and value.shape == sizes[key.shape]


def test_arrays_are_fresh_at_every_call(make: Make) -> None:
    env = make()
    first = env.reset()
    first[1]["action_mask"][:] = 7
    first[1]["cycles"][:] = 7
    for array in first[0].values():
        array[:] = 7
    second = env.reset()
    assert env.observation_space.contains(second[0])
    assert set(second[1]["action_mask"].tolist()) == {0, 1}
    assert not (second[1]["cycles"] == 7).any()
    env.action_masks()[:] = False
    assert env.action_masks()[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1 or None, not 0"),
        ({"budget": 1}, "budget must be at least 2 or None, not 1"),
        ({"reward": "big"}, "reward must be one of best, current, final, not 'big'"),
        ({"render_mode": "svg"}, "render_mode must be one of human, ansi, rgb_array"),
        ({"shown": "add"}, "shown must be one of add-512x256"),
        ({"sites": 0}, "sites must be at least 1"),
        ({"verify": "maybe"}, "verify must be one of"),
    ],
)
def test_impossible_argument_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KernelEditEnv("vector_add", **arguments)


def test_package_imports_only_the_simulator_and_gymnasium() -> None:
    import ast

    # Extras, imported where a window or a dataset is asked for.
    extras = {"pygame", "minari", "h5py"}
    allowed = {"m890_envs", "m890sim", "gymnasium", "numpy"} | extras | sys.stdlib_module_names
    found = set()
    for path in (ROOT / "envs" / "m890_envs").rglob("*.py"):
        if path.parent.name == "adapters":  # each imports the framework that it is for
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").split(".")[0])
    assert found <= allowed


def test_public_names_exist() -> None:
    assert all(hasattr(m890_envs, name) for name in m890_envs.__all__)


@pytest.mark.parametrize("observation", ["task", "graph"])
def test_actions_are_those_of_the_rows_that_an_id_names(make: Make, observation: str) -> None:
    few, all_ = (
        make("M890/KernelEdit-v0", task="vector_add", sites=50, observation=observation, **more)
        for more in ({"action_rows": 7}, {})
    )
    assert few.action_space.n == 1 + 7 * 50
    (_, one), (_, other) = few.reset(), all_.reset()
    assert one["action_mask"].tolist() == other["action_mask"][: 1 + 7 * 50].tolist()
    beyond = int(other["action_mask"].nonzero()[0][-1])
    edit = all_.edit_of(beyond)
    assert few.action_of(edit) is None
    with pytest.raises(ValueError, match="an action must lie in 0 ... 350"):
        few.edit_of(beyond)


def test_macros_are_those_of_the_rows_that_an_id_names(make: Make) -> None:
    few, all_ = (
        make("M890/KernelEdit-v0", task="vector_add", actions="macro", **more)
        for more in ({"action_rows": 7}, {})
    )
    n = few.action_space.n
    assert n == 1 + macros_of(7) < all_.action_space.n == 1 + macros_of(len(ROWS))
    (_, one), (_, other) = few.reset(), all_.reset()
    assert one["action_mask"].tolist() == other["action_mask"][:n].tolist()
    macro = all_.edit_of(n)
    assert few.action_of(all_.edit_of(n - 1)) == n - 1 and few.action_of(macro) is None
    with pytest.raises(ValueError, match="an action must lie in 0 ..."):
        few.edit_of(n)


def test_a_newer_edit_changes_no_fixed_id() -> None:
    assert all("action_rows" in arguments for arguments in (FIXED | MACRO | GRAPH).values())
