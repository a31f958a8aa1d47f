"""Environments for TRL (trl 1.16): `GRPOTrainer(..., environment_factory=KernelToolEnv)`.

TRL asks nothing of the class but methods: `reset`, `get_reward`, and every other public one is a
tool, whose schema it reads from annotations and docstring. They are made from `protocol.TOOLS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from m890_envs.adapters.rollouts import KernelRollout
from m890sim.agents.terms import DOCS
from m890sim.protocol import TOOLS, Terms, Tool, instructions, tools_of

ASKED = "Make a kernel faster with the tools that you have, then submit it.\n\n"
OPTIONS_OF_ROWS = ("task", "chip", "cases", "docs", "start")
# What annotations say of TOOLS; all may be left out.
KINDS: dict[str, Any] = {"text": str, "integer": int, "replacements": list[dict[str, str]]}


def rows(count: int, first: int = 0, **named: Any) -> list[dict[str, Any]]:
    """Rows of a data set, one for each seed from `first` on; named: task, chip, start of all.

    TRL repeats a row for each generation of its group: all of them play on one chip.
    """
    prompt = [{"role": "user", "content": ASKED}]
    return [{"prompt": prompt, "seed": seed, **named} for seed in range(first, first + count)]


class KernelToolEnv:
    """A session as an environment of TRL, at the documentation levels "none" and "language".

    settings: arguments of KernelSourceEnv (docs/environments.md) such as task, chips, split, docs,
    horizon, budget, and `hidden`, cases of the final judgement; `functools.partial` names them.
    The reward is log2 of the speedup on hidden cases, 0 where the kernel is wrong.
    Raises: TypeError, ValueError, M890Error for what is refused.
    """

    _levels: tuple[str, ...] = DOCS[:-1]  # with the same tools

    def __init__(self, **settings: Any) -> None:
        self._check_level(settings.get("docs"))
        self._rollout = KernelRollout(**settings)

    @property
    def metrics(self) -> dict[str, Any]:
        """Score, hidden gap and others, named as in `hosting.judged`; no tool, and ends it."""
        return self._rollout.metrics

    def reset(self, seed: int = 0, **row: Any) -> str:
        """Begin the session of a row: its seed, and task, chip, docs, start where it names them.

        Other columns are passed over. The text follows on the row's prompt.
        """
        self._check_level(row.get("docs"))
        self._rollout.begin(seed, **{name: row.get(name) for name in OPTIONS_OF_ROWS})
        return instructions(self._rollout.plan)

    def get_reward(self) -> float:
        """The final judgement, which takes seconds; a session that goes on is ended by it."""
        return float(self._rollout.metrics["log_score"])

    def _check_level(self, docs: Any) -> None:
        if docs is None or docs in self._levels:
            return
        which = "KernelFullToolEnv" if docs == DOCS[-1] else "KernelToolEnv"
        raise ValueError(
            f"docs may be {' or '.join(self._levels)} in {type(self).__name__}, not {docs!r:.50}; "
            f"{which} has {' and '.join(DOCS[-1:] if docs == DOCS[-1] else DOCS[:-1])}"
        )


class KernelFullToolEnv(KernelToolEnv):
    """The same at the level "full", with the tools `profile` and `suggest`."""

    _levels = DOCS[-1:]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"docs": self._levels[0], **settings})


def method_of(tool: Tool) -> Callable[..., str]:
    """A tool as a method, with annotations and docstring as `get_json_schema` reads them."""

    def method(self: KernelToolEnv, **arguments: Any) -> str:
        # A model may send arguments that no tool has: the session counts and answers them.
        return self._rollout.call(tool.name, arguments)[0]

    kinds = {each.name: KINDS[each.kind] | None for each in tool.parameters}
    method.__name__, method.__qualname__ = tool.name, f"{KernelToolEnv.__name__}.{tool.name}"
    method.__annotations__ = {**kinds, "return": str}
    method.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind
                )
                for name, kind in kinds.items()
            ),
        ],
        return_annotation=str,
    )
    lines = [tool.text, ""]
    if tool.parameters:
        lines.append("Args:")
    for each in tool.parameters:
        form = ' (each {"old": "...", "new": "..."})' if each.kind == "replacements" else ""
        lines.append(f"    {each.name}: {each.text}{form}")
    method.__doc__ = "\n".join([*lines, "", "Returns:", "    The answer."])
    return method


for _kind in (KernelToolEnv, KernelFullToolEnv):
    for _name in tools_of(Terms(docs=_kind._levels[-1])):
        setattr(_kind, _name, method_of(TOOLS[_name]))
