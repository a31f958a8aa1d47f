"""`import m890sim`: light, complete, and its names are what the documents promise."""

from __future__ import annotations

import subprocess
import sys

import pytest

import m890sim


def test_import_loads_neither_numpy_nor_numba():
    heavy = "{'numpy', 'numba', 'm890sim.language'}"
    code = f"import sys, m890sim; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_tasks_and_values_need_no_compiled_engine():
    code = (
        "import sys, m890sim; case = m890sim.get_task('extend').cases[0]; "
        "m890sim.execute(m890sim.load_kernel('attention_reference'), case); "
        "print('m890sim.timing.engine' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", m890sim.__all__)
def test_every_public_name_is_a_documented_function(name):
    value = getattr(m890sim, name)
    assert callable(value)
    assert value.__doc__
    assert name in dir(m890sim)


def test_execute_stays_the_function_after_its_namesake_is_imported():
    from m890sim.execute import run_kernel

    assert callable(run_kernel)
    assert m890sim.execute.__module__ == "m890sim.workloads.run"


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        m890sim.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda kernel, case: m890sim.parse(3), "text must be a str or bytes, not 3"),
        (lambda kernel, case: m890sim.simulate("mine.py", case), "kernel must be a Kernel"),
        (lambda kernel, case: m890sim.simulate(kernel, "prefill-256"), "case must be a Case"),
        (lambda kernel, case: m890sim.simulate(kernel, case, 890), "chip must be a ChipSpec or a"),
        (lambda kernel, case: m890sim.execute(kernel, case.tables), "case must be a Case"),
        (lambda kernel, case: m890sim.evaluate(kernel, "extend", 890), "chip must be a ChipSpec"),
        (lambda kernel, case: m890sim.evaluate(kernel, case), "task must be a Task or its name"),
        (lambda kernel, case: m890sim.evaluate(890, "extend"), "kernel must be a Kernel or its"),
    ],
)
def test_misuse_is_a_type_error_that_says_what_is_wanted(misuse, message):
    case = m890sim.get_task("extend").cases[0]
    with pytest.raises(TypeError, match=message):
        misuse(m890sim.load_kernel("attention_reference"), case)
