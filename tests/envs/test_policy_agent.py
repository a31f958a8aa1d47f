"""PolicyAgent: what it sees and does is what the environment would show and do."""

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from m890_envs import FlatMaskedObservation, KernelEditEnv
from m890_envs.flat import Flattening
from m890_envs.policies import (
    Policy,
    PolicyAgent,
    PolicyError,
    load_agent,
    load_policy,
    save_policy,
)
from m890_envs.policy import FLAT
from m890_envs.view import uniform_space
from m890sim.agents import AgentSession, run_agent
from m890sim.schedule.actions import ROWS, STOP
from m890sim.schedule.macros import macros_of
from m890sim.session import Memory

SMALL = tuple(name for name in FLAT if name != "program")
ACTIONS = 1 + macros_of(len(ROWS))
MEMORY = Memory()
TRAINED = sorted((Path(__file__).parents[2] / "envs" / "m890_envs" / "trained").glob("*.npz"))


def policy_of(fields=SMALL, seed=0, size=0.5, **changes):
    dice = np.random.default_rng(seed)
    inputs = Flattening(uniform_space(192), ACTIONS, fields).size
    layers = [(dice.normal(size=(inputs, ACTIONS)) * size, dice.normal(size=ACTIONS) * size)]
    return Policy(layers, fields=fields, name="toy", **{"horizon": 5, **changes})


def searched(agent, seed=1, task="row_softmax", budget=15, **settings):
    session = AgentSession(task, budget=budget, verify="never", memory=MEMORY, **settings)
    run_agent(agent, session, seed)
    return session


class Watched(PolicyAgent):
    """Notes what the policy is asked, and what it answers."""

    def __init__(self, policy):
        super().__init__(policy)
        self.asked = asked = []
        choose = policy.choose

        def watched(flat, mask, dice):
            action = choose(flat, mask, dice)
            asked.append((flat, mask, action))
            return action

        vars(policy)["choose"] = watched


@pytest.mark.parametrize("fields", [FLAT, ("profile", "kinds")])
def test_it_sees_and_does_what_the_environment_would(fields):
    agent = Watched(policy_of(fields))
    session = searched(agent)
    env = FlatMaskedObservation(
        KernelEditEnv("row_softmax", actions="macro", horizon=5, verify="never", memory=MEMORY),
        fields,
    )
    found, info = env.reset()
    digests = [env.unwrapped.session.digest]
    for flat, mask, action in agent.asked[:5]:  # the first episode begins with the reference
        assert np.array_equal(flat, found)
        assert np.array_equal(mask, info["action_mask"])
        if action == STOP:
            break
        found, _, _, _, info = env.step(action)
        digests.append(env.unwrapped.session.digest)
    own = [entry.digest for entry in session.log]
    assert own[: len(set(digests))] == list(dict.fromkeys(digests))


def test_it_takes_allowed_actions_alone_and_spends_the_budget():
    agent = Watched(policy_of())
    session = searched(agent, budget=30)
    assert session.spent == 30
    assert all(mask[action] for _, mask, action in agent.asked)
    assert any(entry.start == session.log[0].start and entry.edits for entry in session.log)


def test_a_seed_gives_the_same_search():
    agent = PolicyAgent(policy_of())
    first, second, other = (searched(agent, seed).report() for seed in (1, 1, 2))
    assert first == second
    assert first["log"] != other["log"]


def test_the_search_is_the_same_with_another_order_of_the_sums(monkeypatch):
    expected = searched(PolicyAgent(policy_of())).report()
    import m890_envs.exact as exact

    def backwards(inputs, layers, activation):
        found = inputs
        for number, (weights, biases) in enumerate(layers):
            if number:
                found = exact.ACTIVATIONS[activation](found)
            total = np.zeros(weights.shape[1])
            for row in reversed(range(len(weights))):
                total = total + found[row] * weights[row]
            found = total + biases
        return found

    monkeypatch.setattr("m890_envs.policy.scores", backwards)
    assert searched(PolicyAgent(policy_of())).report() == expected


def test_episodes_begin_with_the_start_kernel_or_one_of_the_best():
    session = searched(PolicyAgent(policy_of((), horizon=2)), budget=30)
    depths = [len(entry.edits) for entry in session.log]
    assert max(depths) > 2 * max(
        len(entry.edits) for entry in session.log[:3]
    )  # episodes go on from where others were


def test_it_goes_on_from_another_start():
    session = AgentSession("row_softmax", start="row_softmax_3_slots", budget=12, memory=MEMORY)
    run_agent(PolicyAgent(policy_of()), session, 0)
    assert session.spent == 12
    assert {entry.start for entry in session.log} == {session.log[0].digest}


def test_a_policy_that_only_stops_gives_up():
    fields = ()
    biases = np.zeros(ACTIONS)
    biases[STOP] = 100
    policy = Policy([(np.zeros((0, ACTIONS)), biases)], fields=fields, name="idle")
    assert searched(PolicyAgent(policy)).spent == 1


def test_names_say_whether_a_policy_was_trained():
    trained, untrained = policy_of(), policy_of(trained=False)
    assert PolicyAgent(trained).name == "toy"
    assert PolicyAgent(untrained).name == "toy-untrained"
    assert (
        untrained.id in PolicyAgent(untrained).text and "untrained" in PolicyAgent(untrained).text
    )
    assert PolicyAgent.name == "policy"
    assert PolicyAgent(untrained).trained == ""
    told = policy_of(provenance={"data": "three chips"})
    assert PolicyAgent(told).trained == "three chips"
    assert "does not name" in PolicyAgent(trained).trained
    with pytest.raises(TypeError, match="policy must be a Policy"):
        PolicyAgent("toy.npz")


def test_the_entry_point_loads_the_agent_of_a_file(tmp_path):
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    group = text.split('[project.entry-points."m890sim.agents"]')[1].split("[")[0]
    name, value = (part.strip() for part in group.strip().splitlines()[0].split("="))
    entry = EntryPoint(name, value.strip('"'), "m890sim.agents")
    assert entry.name == "npz" and entry.load() is load_agent
    save_policy(policy_of(()), tmp_path / "toy.npz")
    assert load_agent(tmp_path / "toy.npz").name == "toy"
    with pytest.raises(PolicyError):
        load_agent(tmp_path / "none.npz")


@pytest.mark.parametrize("path", TRAINED, ids=[path.stem for path in TRAINED])
def test_policies_of_the_repository_say_how_they_were_made(path):
    policy = load_policy(path)
    assert PolicyAgent(policy).name == path.stem
    made_with = {"numpy"} if path.stem.startswith("bc") else {"steps", "torch"}
    assert {"command", "seed", "data", *made_with} <= policy.provenance.keys()
    assert policy.trained != path.stem.endswith("-untrained")
    assert path.stat().st_size < 500_000


def test_a_trained_policy_plays_on_a_chip_that_it_never_saw():
    session = AgentSession("row_softmax", chip="m890-lean", budget=6, memory=MEMORY)
    run_agent(load_agent(TRAINED[0]), session, 0)
    assert session.spent == 6
