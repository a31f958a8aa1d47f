"""Saved policies: the format, what it refuses, and exact inference against slow twins."""

import io
import itertools
import json
import math
import random
import zipfile
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890_envs import exact
from m890_envs.policies import MOST_BYTES, Policy, PolicyError, load_policy, save_policy
from m890_envs.policy import FLAT
from m890sim.agents import Dice

ROWS = 3  # of actions: a policy with few
NOTES = {"command": "python train.py", "seed": 3, "rate": 0.001, "again": True, "of": None}


def made(seed=0, fields=("profile", "progress"), widths=(4,), activation="tanh", **changes):
    dice = np.random.default_rng(seed)
    bare = Policy(
        [(np.zeros((0, n)), np.zeros(n)) for n in [actions()]], fields=(), action_rows=ROWS
    )
    size = replace(bare, fields=fields, layers=blank(fields)).reader.size
    sizes = [size, *widths, actions()]
    layers = [(dice.normal(size=(n, m)), dice.normal(size=m)) for n, m in itertools.pairwise(sizes)]
    return Policy(layers, activation, fields=fields, action_rows=ROWS, **changes)


def actions():
    from m890sim.schedule.macros import macros_of

    return 1 + macros_of(ROWS)


def blank(fields):
    from m890_envs.flat import Flattening
    from m890_envs.view import uniform_space

    size = Flattening(uniform_space(192), actions(), fields).size
    return [(np.zeros((size, actions())), np.zeros(actions()))]


policies = st.builds(
    made,
    seed=st.integers(0, 99),
    fields=st.lists(st.sampled_from([f for f in FLAT if f != "program"]), unique=True, max_size=3),
    widths=st.lists(st.integers(1, 5), max_size=2),
    activation=st.sampled_from(["tanh", "relu"]),
    trained=st.booleans(),
    horizon=st.integers(1, 50),
)


@given(policies)
@settings(max_examples=25)
def test_a_policy_is_read_as_it_was_saved(tmp_path_factory, policy):
    path = tmp_path_factory.mktemp("policy") / "one.npz"
    save_policy(policy, path)
    actual = load_policy(path)
    assert actual.facts == policy.facts and actual.id == policy.id
    for mine, saved in zip(policy.layers, actual.layers, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(mine, saved, strict=True))
    first = path.read_bytes()
    save_policy(actual, path)
    assert path.read_bytes() == first


def test_numpy_reads_the_same_arrays(tmp_path):
    policy = made(provenance=NOTES)
    save_policy(policy, tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as found:
        assert json.loads(bytes(found["policy"]))["provenance"] == NOTES
        assert np.array_equal(found["weights_0"], policy.layers[0][0])


def test_one_weight_changes_the_id():
    policy = made()
    weights = policy.layers[0][0].copy()
    weights[0, 0] += 1
    changed = replace(policy, layers=[(weights, policy.layers[0][1]), *policy.layers[1:]])
    assert changed.id != policy.id


# Inference against twins.


def plain_scores(inputs, layers, activation):
    """Sums of fractions, one product after another; activations from the math library."""
    values = [Fraction(round(Fraction(min(1.0, max(-1.0, x))) * 65536), 65536) for x in inputs]
    for number, (weights, biases) in enumerate(layers):
        if number:
            act = math.tanh if activation == "tanh" else lambda x: max(x, 0.0)
            values = [Fraction(round(Fraction(act(float(x))) * 65536), 65536) for x in values]
        columns = np.asarray(weights, dtype=np.float64).T.tolist()
        values = [
            sum((x * Fraction(w) for x, w in zip(values, column, strict=True)), Fraction(bias))
            for column, bias in zip(columns, biases.astype(np.float64).tolist(), strict=True)
        ]
    return values


@given(policies, st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_scores_are_the_exact_sums(policy, seed):
    inputs = np.random.default_rng(seed).uniform(-1.2, 1.2, policy.reader.size).astype(np.float32)
    expected = plain_scores(inputs.tolist(), policy.layers, policy.activation)
    assert [Fraction(score) for score in policy.scores(inputs).tolist()] == expected


@given(st.lists(st.floats(-60, 0), min_size=1, max_size=50))
def test_exp_and_tanh_are_those_of_the_library(values):
    array = np.array(values)
    expected = [math.exp(x) if x >= -40 else 0.0 for x in values]
    assert np.allclose(exact.exp(array), expected, rtol=1e-14, atol=0)
    for sign in (-1, 1):
        grid = np.array([math.tanh(sign * x) for x in values])
        assert np.abs(exact.tanh(sign * array) - grid).max() <= 0.5 / exact.GRID + 1e-12


def test_chances_are_those_of_the_softmax():
    scores = np.array([0.25, -1.0, 3.0, -45.0])
    found = np.array(exact.chances(scores))
    assert found[2] == 2**32 and found[3] == 0
    expected = np.exp(scores) / np.exp(scores).sum()
    assert np.allclose(found / found.sum(), expected, atol=1e-8)


def test_choices_follow_the_scores_and_the_mask():
    policy = made(fields=(), widths=())
    mask = np.zeros(policy.actions, dtype=np.int8)
    mask[[1, 4, 7]] = 1
    dice, flat = Dice(1), np.zeros(0, dtype=np.float32)
    counts = np.bincount(
        [policy.choose(flat, mask, dice) for _ in range(4000)], minlength=policy.actions
    )
    weights = np.where(mask, np.exp(policy.layers[0][1].astype(np.float64)), 0)
    assert counts[mask == 0].sum() == 0
    assert np.abs(counts / 4000 - weights / weights.sum()).max() < 0.03
    with pytest.raises(ValueError, match="the mask allows no action"):
        policy.choose(flat, np.zeros_like(mask), dice)


def test_scores_are_those_of_torch():
    torch = pytest.importorskip("torch")
    policy = made(widths=(16, 8))
    parts = []
    for weights, biases in policy.layers:
        layer = torch.nn.Linear(*weights.shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights.T.copy()))
            layer.bias.copy_(torch.from_numpy(biases.copy()))
        parts += [layer, torch.nn.Tanh()]
    net = torch.nn.Sequential(*parts[:-1])
    inputs = np.random.default_rng(1).uniform(-1, 1, policy.reader.size).astype(np.float32)
    expected = net(torch.from_numpy(inputs)).detach().numpy()
    assert np.allclose(policy.scores(inputs), expected, atol=1e-3)


# Files that anyone may have made.


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "p.npz"
    save_policy(made(provenance=NOTES), path)
    return path.read_bytes()


def refused(tmp_path, data, match):
    path = tmp_path / "bad.npz"
    path.write_bytes(data)
    with pytest.raises(PolicyError, match=match) as caught:
        load_policy(path)
    assert str(path) in str(caught.value)


def packed(members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return buffer.getvalue()


def members_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def with_facts(saved, change):
    members = members_of(saved)
    array = np.load(io.BytesIO(members["policy.npy"]))
    facts = json.loads(bytes(array))
    change(facts)
    text = json.dumps(facts).encode()
    return packed({**members, "policy.npy": npy(np.frombuffer(text, dtype=np.uint8))}.items())


def test_a_damaged_file_is_refused_wherever_it_is_damaged(tmp_path, saved):
    dice = random.Random(0)
    path = tmp_path / "bad.npz"
    for turn in range(150):
        data = bytearray(saved)
        if turn % 3:
            for _ in range(1 + turn % 4):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        else:
            del data[dice.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            policy = load_policy(path)
        except PolicyError:
            continue
        # Dates and flags of members that nothing reads.
        assert policy.id == made(provenance=NOTES).id


@pytest.mark.parametrize(
    "data, match",
    [
        (b"", "no .npz file that is whole"),
        (b"weights = 3\n" * 50, "no .npz file that is whole"),
        (packed([]), "has no policy.npy"),
        (packed([("weights_0.npy", npy(np.zeros((2, 2), np.float32)))]), "has no policy.npy"),
        (packed([("policy.npy", b"abc")]), "no array of float32 or bytes"),
        (packed([("policy.npy", npy(np.zeros(3)))]), "no array of float32 or bytes"),
        (packed([("policy.npy", npy(np.array([{}], dtype=object)))]), "no array of float32"),
        (packed([("policy.npy", npy(np.frombuffer(b"{", np.uint8)))]), "Expecting"),
        (packed([("policy.npy", npy(np.frombuffer(b"[]", np.uint8)))]), "its facts are"),
        (packed([("policy.npy", npy(np.frombuffer(b"[" * 9999, np.uint8)))]), "nest|deep"),
        (packed([("a", b"")], zipfile.ZIP_BZIP2), "packed by deflate"),
        (packed([(f"a{n}", b"") for n in range(20)]), "has 20 members"),
        (packed([("a.npy", bytes(41_000_000))]), "unpacks to 41,000,000 bytes"),
        (bytes(MOST_BYTES + 1), "at most 5000000"),
        (
            packed([("policy.npy", npy(np.zeros(1, np.uint8)).replace(b"(1,)", b"(999999999,)"))]),
            "no array of float32|has 1 bytes",
        ),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(tmp_path, data, match):
    refused(tmp_path, data, match)


def test_a_member_that_is_there_twice_is_refused(tmp_path, saved):
    member = "policy.npy", members_of(saved)["policy.npy"]
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = packed([member, member])
    refused(tmp_path, data, "has 'policy.npy' twice")


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda facts: facts.update(format="other"), "its format is 'other'"),
        (lambda facts: facts.update(version=2), "its version is 2, this package reads 1"),
        (lambda facts: facts.update(extra=1), "have beside theirs: 'extra'"),
        (lambda facts: facts.pop("horizon"), "its facts lack.*'horizon'"),
        (lambda facts: facts.update(horizon=11), "it was changed"),
        (lambda facts: facts.update(horizon=0), "horizon must be at least 1"),
        (lambda facts: facts.update(activation="gelu"), "activation must be"),
        (lambda facts: facts.update(fields=["profile"]), "the first layer takes 103 numbers"),
        (lambda facts: facts.update(fields=["taste"]), "fields may have .* not 'taste'"),
        (lambda facts: facts.update(action_rows=4), "the last layer gives"),
        (lambda facts: facts.update(action_rows=9999), "action_rows must be at most"),
        (lambda facts: facts.update(provenance=[]), "provenance must be a dict"),
        (lambda facts: facts.update(name="A b"), "name must be lowercase"),
        (lambda facts: facts.update(trained=1), "trained must be True or False"),
    ],
)
def test_facts_that_do_not_fit_are_refused(tmp_path, saved, change, match):
    refused(tmp_path, with_facts(saved, change), match)


def test_arrays_that_do_not_fit_are_refused(tmp_path, saved):
    members = members_of(saved)
    less = {name: data for name, data in members.items() if name != "biases_1.npy"}
    refused(tmp_path, packed(less.items()), "it has the arrays")
    changed = np.load(io.BytesIO(members["biases_1.npy"])) + np.float32(1)
    refused(tmp_path, packed({**members, "biases_1.npy": npy(changed)}.items()), "it was changed")
    changed[0] = np.nan
    refused(tmp_path, packed({**members, "biases_1.npy": npy(changed)}.items()), "within \\+-255")


def test_files_that_cannot_be_read_or_written_are_errors(tmp_path):
    with pytest.raises(PolicyError, match="cannot read .*none.npz"):
        load_policy(tmp_path / "none.npz")
    with pytest.raises(PolicyError, match="cannot read"):
        load_policy(tmp_path)
    with pytest.raises(PolicyError, match="cannot write"):
        save_policy(made(), tmp_path / "no" / "p.npz")
    with pytest.raises(TypeError, match="policy must be a Policy"):
        save_policy("policy", tmp_path / "p.npz")


def test_a_policy_that_would_be_too_large_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("m890_envs.policies.MOST_BYTES", 1000)
    with pytest.raises(PolicyError, match="at most 1,000 and .* use fewer fields"):
        save_policy(made(), tmp_path / "p.npz")
    assert not list(tmp_path.iterdir())


# What is no policy.


def layer(n, m):
    return np.zeros((n, m)), np.zeros(m)


@pytest.mark.parametrize(
    "changes, error, match",
    [
        ({"layers": []}, ValueError, "1 to 6 layers, not 0"),
        ({"layers": "ab"}, TypeError, "layers must be pairs"),
        ({"layers": [3]}, TypeError, "layer 0 must be weights and biases"),
        ({"layers": [([1], [2])]}, TypeError, "layer 0 must be arrays of numbers"),
        ({"layers": [(np.zeros(3), np.zeros(3))]}, ValueError, "must have weights"),
        ({"layers": [layer(103, 5), layer(4, 5)]}, ValueError, "layer 1 takes 4 numbers"),
        ({"layers": [layer(103, 5000), layer(5000, 2)]}, ValueError, "a hidden layer gives"),
        ({"layers": [layer(103, 5)]}, ValueError, "the last layer gives 5 scores"),
        ({"layers": [layer(10, 5)]}, ValueError, "the first layer takes 10 numbers"),
        ({"fields": ("progress", "progress")}, ValueError, "must name each once"),
        ({"fields": "progress"}, TypeError, "fields"),
        ({"provenance": {"a": [1]}}, TypeError, "plain values by name"),
        ({"provenance": {"a": math.inf}}, ValueError, "finite"),
        ({"provenance": {"a": "b" * 3000}}, ValueError, "at most 2000 characters"),
        ({"provenance": {str(n): n for n in range(65)}}, ValueError, "at most 64 entries"),
        ({"provenance": {"a": 2**64}}, ValueError, "below 2\\*\\*63"),
        ({"sites": 0}, ValueError, "sites must be at least 1"),
    ],
)
def test_what_is_no_policy_raises(changes, error, match):
    with pytest.raises(error, match=match):
        replace(made(), **changes)


def test_sums_that_would_not_be_exact_are_refused():
    wide = np.full((103, 100), 200.0), np.zeros(100)
    last = np.full((100, actions()), 200.0), np.zeros(actions())
    assert replace(made(), layers=[wide, last])
    with pytest.raises(ValueError, match="layer 1 may reach .* make its weights smaller"):
        replace(made(), layers=[wide, last], activation="relu")
