"""The words that editors see agree with the instruction table; no kernel file can be executed."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from m890sim import lang
from m890sim.errors import M890Error
from m890sim.isa import OPS
from m890sim.language.reserved import FUNCTIONS, RESERVED
from tests.language.stubs import renewed

KERNEL = Path(__file__).parent / "kernels" / "attention.py"


def parameters(name: str, kind: inspect._ParameterKind) -> list[inspect.Parameter]:
    signature = inspect.signature(getattr(lang, name))
    return [entry for entry in signature.parameters.values() if entry.kind is kind]


def test_stubs_follow_from_the_rows(golden: Callable[[Path, str], None]) -> None:
    path = Path(lang.__file__)
    golden(path, renewed(path.read_text("utf-8")))


@pytest.mark.parametrize("name", OPS)
def test_stub_has_the_operands_of_its_row(name: str) -> None:
    row = OPS[name]
    actual = [p.name for p in parameters(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    assert actual == [operand.name for operand in row.operands if not operand.keyword]


@pytest.mark.parametrize("name", OPS)
def test_stub_has_the_keywords_of_its_row(name: str) -> None:
    row = OPS[name]
    expected: dict[str, object] = {o.name: None for o in row.operands if o.keyword}
    for setting in row.settings:
        expected[setting.name] = (
            inspect.Parameter.empty if setting.default is None else setting.default
        )
    if len(row.engines) > 1:
        expected["engine"] = getattr(lang, row.engines[0])
    keywords = parameters(name, inspect.Parameter.KEYWORD_ONLY)
    assert {p.name: p.default for p in keywords} == expected
    assert [p.name for p in keywords] == list(expected)


@pytest.mark.parametrize("name", OPS)
def test_stub_says_what_its_row_says(name: str) -> None:
    doc = " ".join((inspect.getdoc(getattr(lang, name)) or "").split())
    assert doc.startswith(OPS[name].text)
    for setting in OPS[name].settings:
        if setting.kind == "int":
            assert f"{setting.name}: {setting.text}" in doc


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_every_word_of_the_language_is_there(name: str) -> None:
    assert hasattr(lang, name)
    assert not name.startswith("_")


@pytest.mark.parametrize(
    "name", [*OPS, *FUNCTIONS, "sram", "acc", "hbm", "cores", "range", "stage"]
)
def test_words_have_documentation_and_refuse_to_run(name: str) -> None:
    word = getattr(lang, name)
    assert inspect.getdoc(word)
    required = [
        p
        for p in inspect.signature(word).parameters.values()
        if p.default is inspect.Parameter.empty and p.kind is not inspect.Parameter.VAR_POSITIONAL
    ]
    positional = [1 for p in required if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    keywords = {p.name: 1 for p in required if p.kind is inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(M890Error, match="kernel files are data"):
        word(*positional, **keywords)


def test_importing_a_kernel_names_the_command() -> None:
    spec = importlib.util.spec_from_file_location("attention_kernel", KERNEL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.raises(M890Error) as caught:
        spec.loader.exec_module(module)
    assert str(caught.value) == (
        f"kernel files are data and are not executed; run `m890 run {KERNEL}`"
    )
