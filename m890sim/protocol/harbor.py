"""A session as a task for Harbor (schema 1.4): folders and files, written; nothing is run here.

Three containers. `main` is the agent's and has neither this package nor anything of the chip.
`m890` holds the session and serves its tools over MCP; it shares main's network, not its files.
The verifier is made when both are gone, gets the run directory, and judges it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from m890sim.agents.chain import canonical
from m890sim.agents.files import errors_of, refuse_used, write_whole
from m890sim.agents.plan import Plan
from m890sim.agents.reading import RunError
from m890sim.judge.evaluation import package_version
from m890sim.protocol.description import instructions
from m890sim.protocol.record import Recording

PORT = 8000
RUN = "/m890/run"  # in the containers of the session and of the verifier
IMAGE = "python:3.12-slim"
SECONDS = 6 * 3600  # of an agent, where the session has no end of its own

_TASK = """\
schema_version = "1.4"
artifacts = [{{ source = "{run}", service = "m890" }}]

[task]
name = "m890/{name}"
description = "Write a faster kernel for a fictional accelerator ({task}, documentation: {docs})."
keywords = ["kernels", "optimization"]

[metadata]
reward = "log2 of the speedup on hidden cases; 0 where the kernel is wrong"

[agent]
timeout_sec = {seconds}.0
{network}

[verifier]
timeout_sec = 3600.0
environment_mode = "separate"

[verifier.environment]
network_mode = "no-network"
build_timeout_sec = 1800.0

[environment]
network_mode = "no-network"
build_timeout_sec = 1800.0

[environment.healthcheck]
command = "{health}"
interval_sec = 2.0
start_period_sec = 120.0
retries = 30

[[environment.mcp_servers]]
name = "m890"
transport = "streamable-http"
url = "http://127.0.0.1:{port}/mcp"
"""
_HEALTH = "python3 -c 'import socket; socket.create_connection((\\\"127.0.0.1\\\", {port}), 2)'"

_INSTRUCTION = """\
{rules}
The tools are those of the MCP server `m890`. The session is played through them alone: no file of
this container is looked at. It is over with `submit`.
"""

_COMPOSE = """\
services:
  m890:
    build:
      context: ${{CONTEXT_DIR}}/m890
    # The tools are served on main's own loopback, whatever network main has; nothing else of this
    # container can be reached from there.
    network_mode: "service:main"
    command: ["m890", "mcp", "--resume", "{run}", "--http", "{port}", "--unjudged"]
"""

_MAIN = f"""\
# The agent's. Nothing of the simulator belongs in here.
FROM {IMAGE}
WORKDIR /app
"""

_SERVER = f"""\
FROM {IMAGE}
{{install}}
COPY run {RUN}
"""

_VERIFIER = f"""\
FROM {IMAGE}
WORKDIR /app
{{install}}
COPY . /tests/
"""

_TEST = f"""\
#!/bin/bash
# Judges the session and writes the reward. The variables are for a run without containers.
run="${{M890_RUN:-{RUN}}}"
rewards="${{M890_REWARDS:-/logs/verifier}}"
mkdir -p "$rewards" || exit 1
# -P: nothing is imported from the folder that this is run in.
exec "${{M890_PYTHON:-python3}}" -P -m m890_envs.adapters.harbor_reward "$run" "$rewards"
"""

_README = """\
# {name}

A task for [Harbor](https://harborframework.com), made by `m890 export harbor`: `harbor run -p DIR`.

| folder | container | what it has |
| --- | --- | --- |
| `environment/` | `main`, the agent's | Python, and the address of the tools |
| `environment/m890/` | `m890` | the session: chip, log, budgets |
| `tests/` | the verifier, made afterwards | this package, and then the run directory |

**What the agent cannot reach**: the chip's numbers, the log and the judge lie in containers whose
files it does not see. Its containers have no network{hosts}: with one, it could fetch the source of
m890sim, draw chips of the published families by itself and try kernels without a budget.

**What a container cannot hide.** This folder holds the chip (`environment/m890/run/manifest.json`):
keep it from agents, and publish no transcript together with it. Whoever controls Docker reads
everything; main must not be given Docker's socket. All trials of this folder are on one chip: what
is kept from one trial (a memory, weights that were trained on it) helps the next; export another
with another `--seed`. An agent that knows m890sim by heart knows the language and the families at
level `none` too, only not which chip it has. The time that a call takes says little, but something.

**Reward**: log2 of the speedup on hidden cases that are drawn with a fresh seed when everything is
over; 0 where the kernel is wrong, or none was handed in. `reward.json` has more. Where the run
directory did not come through there is no reward at all, which Harbor reports as an error.
"""


def export_harbor(
    plan: Plan, folder: Path, *, wheel: Path | None = None, hosts: tuple[str, ...] = ()
) -> None:
    """Write a task for Harbor into a new folder.

    wheel: of this package, for the images; the release of this version where None. hosts: what the
    agent's container may reach, as the server of its model. Evaluates the reference, which takes
    seconds. Raises: RunError where the folder is used, cannot be written, or the plan is of a task
    from outside.
    """
    if plan.task.origin:
        raise RunError(
            f"the task {plan.task.name} stands in a file of its own, which the images do not have; "
            "export a task that m890 tasks lists"
        )
    if wheel is not None and (wheel.suffix != ".whl" or not wheel.is_file()):
        raise RunError(f"{wheel} is no wheel; make one with pip wheel --no-deps .")
    refuse_used(folder)
    terms = plan.terms
    assert terms is not None
    mark = hashlib.sha256(canonical(plan.manifest())).hexdigest()[:8]
    name = f"{plan.task.name}-{terms.docs}-{mark}".replace("_", "-")
    network = 'network_mode = "no-network"'
    if hosts:
        network = f'network_mode = "allowlist"\nallowed_hosts = {json.dumps(list(hosts))}'
    texts = {
        "task.toml": _TASK.format(
            run=RUN,
            name=name,
            task=plan.task.name,
            docs=terms.docs,
            seconds=terms.seconds or SECONDS,
            network=network,
            health=_HEALTH.format(port=PORT),
            port=PORT,
        ),
        "instruction.md": _INSTRUCTION.format(rules=instructions(plan)),
        "README.md": _README.format(name=name, hosts=f" but {', '.join(hosts)}" if hosts else ""),
        "environment/Dockerfile": _MAIN,
        "environment/docker-compose.yaml": _COMPOSE.format(run=RUN, port=PORT),
        "environment/m890/Dockerfile": _SERVER.format(install=_install(wheel, "mcp")),
        "tests/Dockerfile": _VERIFIER.format(install=_install(wheel, "")),
        "tests/test.sh": _TEST,
    }
    Recording.begin(folder / "environment" / "m890" / "run", plan).close()
    with errors_of(folder, "write the task"):
        for inner in ("environment/m890", "tests"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
            if wheel is not None:
                shutil.copyfile(wheel, folder / inner / wheel.name)
    for file, text in texts.items():
        write_whole(folder / file, text.encode("utf-8"))
    with errors_of(folder, "write the task"):
        (folder / "tests" / "test.sh").chmod(0o755)


def _install(wheel: Path | None, extra: str) -> str:
    """The lines of a Dockerfile that install this package."""
    extras = f"[{extra}]" if extra else ""
    if wheel is None:
        return f'RUN pip install --no-cache-dir "m890sim{extras}=={package_version()}"'
    place = f"/wheels/{wheel.name}"
    return f'COPY {wheel.name} {place}\nRUN pip install --no-cache-dir "{place}{extras}"'
