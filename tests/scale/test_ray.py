"""A Ray cluster of two nodes, one of which is killed in the middle: `pytest -m ray -n 0`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from m890sim.bench.bench import bench
from m890sim.bench.protocol import Protocol
from m890sim.cli import main
from m890sim.errors import M890Error
from m890sim.scale import run_jobs
from tests.bench.test_bench import files_of

pytestmark = pytest.mark.ray

SMALL = Protocol(("test",), ("vector_add",), chips=4, seeds=1, budgets=(24,), cases=1)
MOODY = "tests.scale.work:moody"


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one processor each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        yield found
    finally:
        found.shutdown()


def test_a_node_dies_and_the_files_are_those_of_one_worker(cluster: Any, tmp_path: Path) -> None:
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    agents = ["greedy", "annealing"]
    told: list[tuple[int, int]] = []

    def tell(done: int, of: int, _: str) -> None:
        if not told:
            cluster.remove_node(second, allow_graceful=False)
        told.append((done, of))

    found = bench(tmp_path / "ray", SMALL, agents, ray=cluster.address, told=tell)
    assert not found.failed
    assert [done for done, _ in told] == list(range(1, told[0][1] + 1))
    bench(tmp_path / "one", SMALL, agents)
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "one")


def test_refused_jobs_and_jobs_that_end_their_workers(cluster: Any) -> None:
    jobs = [{"value": 0, "do": "refuse"}, {"value": 1}, {"value": 2, "do": "die"}]
    found = dict(run_jobs(MOODY, jobs, ray=cluster.address))
    assert found[0] == "no 0 here" and found[1] == 1
    assert "job 2 ({'do': 'die', 'value': 2}) was begun" in found[2]
    with pytest.raises(M890Error, match="No module named 'elsewhere'"):
        list(run_jobs("elsewhere:function", [{"value": 1}], ray=cluster.address))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:9", "the Ray cluster at '127.0.0.1:9' cannot be reached"),
        ("nowhere", "--ray takes HOST:PORT, ray://HOST:PORT or auto, not 'nowhere'"),
    ],
)
def test_no_cluster(
    address: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    command = ["bench", "greedy", "--tasks", "vector_add", "--chips", "1", "--seeds", "1"]
    command += ["--budgets", "3", "--out", str(tmp_path / "out"), "--ray", address]
    assert main(command) == 2
    assert words in capsys.readouterr().err
