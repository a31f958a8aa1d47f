"""A taskset for verifiers (0.4, v1): drawn chips as tasks, a session's tools as a tool server.

`vf-eval m890-kernels --no-push -n 4 --model NAME --client.base-url URL`; the package `m890_kernels`
is the name by which verifiers finds this file.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import verifiers.v1 as vf
from pydantic import Field
from verifiers.v1.harnesses.null import NullHarness
from verifiers.v1.utils.decorators import discover_decorated

from m890_envs.adapters.hosting import begun, judged, plan_for
from m890sim.protocol import TOOLS, Recording, SourceSession, Terms, Tool, instructions, tools_of

AGENT = "verifiers"
KINDS: dict[str, Any] = {"text": str, "integer": int, "replacements": list[dict[str, str]]}

__all__ = [
    "KernelData",
    "KernelState",
    "KernelTask",
    "KernelTaskConfig",
    "KernelTaskset",
    "KernelTasksetConfig",
    "KernelToolset",
    # The harness where none is named: the tools alone. One with a shell could read run directories.
    "NullHarness",
]


class KernelData(vf.TaskData):
    """A row: the values that `hosting.plan_for` makes the plan of a session from."""

    settings: dict[str, Any]


class KernelState(vf.State):
    """What the evaluation and the tool server of a rollout share: the run directory.

    found: what the session came to, when it is over; the tool server is gone by then.
    """

    run: str = ""
    found: dict[str, Any] = {}


class KernelToolset(vf.Toolset[vf.ToolsetConfig, KernelState]):
    """The tools of one rollout's session, in a process of its own, on this machine."""

    TOOL_PREFIX = None  # names as the session's instructions say them

    _recording: Recording | None = None
    _names: tuple[str, ...] = ()

    async def setup_task(self, task: KernelData) -> None:
        """Take the tools of the row's documentation level."""
        self._names = tuple(tools_of(Terms(docs=task.settings["docs"])))

    def register(self, mcp: Any) -> None:
        """Offer them."""
        for method in discover_decorated(self, "tool"):
            name = method.__name__
            if name in self._names:
                mcp.add_tool(self._with_state(method), name=name, description=TOOLS[name].text)

    async def _call(self, name: str, arguments: dict[str, Any]) -> str:
        if self._recording is None:
            self._recording = Recording(self.state.run)
        answer = await asyncio.to_thread(self._recording.call, name, arguments)
        return answer.text


def _method_of(tool: Tool) -> Callable[..., Any]:
    """A tool as a method, with a signature that the SDK reads schema and descriptions from."""

    async def method(self: KernelToolset, **arguments: Any) -> str:
        return await self._call(tool.name, arguments)

    method.__name__, method.__doc__ = tool.name, tool.text
    kinds = {
        each.name: Annotated[KINDS[each.kind] | None, Field(description=each.text)]
        for each in tool.parameters
    }
    method.__annotations__ = {**kinds, "return": str}
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in kinds.items()
    ]
    method.__signature__ = inspect.Signature([own, *named], return_annotation=str)  # type: ignore[attr-defined]
    return method


for _tool in TOOLS.values():
    setattr(KernelToolset, _tool.name, vf.tool(_method_of(_tool)))


class KernelTaskConfig(vf.TaskConfig):
    """`--env.taskset.task.*`: where run directories go, and the process of the tools."""

    out: str = "runs/verifiers"
    tools: vf.ToolsetConfig = vf.ToolsetConfig()


class KernelTask(vf.Task[KernelData, KernelState, KernelTaskConfig]):
    """One session. Reward: log2 of the speedup on hidden cases, 0 where the kernel is wrong."""

    @classmethod
    def toolsets(cls, config: KernelTaskConfig) -> list[vf.Toolset]:
        """The session's tools."""
        return [KernelToolset(config.tools)]

    async def setup(self, trace: vf.Trace, runtime: vf.Runtime) -> None:
        """Make the run directory, in which the tool server then goes on."""
        trace.state.run = await asyncio.to_thread(self._begun)

    async def finalize(self, trace: vf.Trace, runtime: vf.Runtime) -> None:
        """Judge what was submitted, else the best kernel. The tool server has ended before."""
        trace.state.found = await asyncio.to_thread(_found, trace.state.run)
        trace.info["run"] = trace.state.run

    async def validate(self, runtime: vf.Runtime) -> bool:
        """Whether the reference is right on the row's chip."""
        return await asyncio.to_thread(self._reference_is_right)

    @vf.reward
    async def log_score(self, trace: vf.Trace) -> float:
        """log2 of the speedup on hidden cases."""
        return float(trace.state.found["log_score"])

    @vf.metric
    async def session(self, trace: vf.Trace) -> dict[str, float]:
        """The numbers of `hosting.judged`: score, speedup, hidden_gap, gap_closed, right, ..."""
        return {
            name: float(value)
            for name, value in trace.state.found.items()
            if isinstance(value, (int, float)) and name != "log_score"
        }

    def _begun(self) -> str:
        recording = begun(plan_for(AGENT, **self.data.settings), self.config.out)
        recording.close()
        return str(recording.path.resolve())

    def _reference_is_right(self) -> bool:
        return SourceSession(plan_for(AGENT, **self.data.settings)).best is not None


class KernelTasksetConfig(vf.TasksetConfig):
    """`--env.taskset.*`: `count` chips, drawn by the seeds from `seed` on, or one that is named."""

    workload: str = "extend"
    """The task of m890sim."""
    chip: str | None = None
    docs: str = "none"
    seed: int = 0
    count: int = 16
    evaluations: int = 432
    calls: int = 1158
    patience: int = 0
    hidden: int | None = None
    """Hidden cases of the final judgement."""
    task: KernelTaskConfig = KernelTaskConfig()


class KernelTaskset(vf.Taskset[KernelTask, KernelTasksetConfig]):
    """Sessions on drawn chips, a seed each."""

    def load(self) -> Iterator[KernelTask]:
        """A task for each seed. Raises: as `hosting.plan_for`."""
        config = self.config
        names = ("chip", "docs", "evaluations", "calls", "patience", "hidden")
        for seed in range(config.seed, config.seed + config.count):
            settings = {name: getattr(config, name) for name in names}
            settings |= {"task": config.workload, "seed": seed}
            plan = plan_for(AGENT, **settings)
            data = KernelData(
                name=f"{config.workload}-seed{seed}", prompt=instructions(plan), settings=settings
            )
            yield KernelTask(data, config.task)


def _found(run: str) -> dict[str, Any]:
    recording = Recording(Path(run))
    try:
        return judged(recording)
    finally:
        recording.close()


if __name__ == "__main__":  # how verifiers starts the tool server
    KernelToolset.run()
