"""Tasks from files, packages and Python: by name everywhere, and refused with a reason."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest

import m890sim
from m890sim.errors import TaskError
from m890sim.workloads import TASKS, known_task, outside
from tests.workloads.own_tasks import FILE


@pytest.fixture(autouse=True)
def _nothing_registered(monkeypatch):
    monkeypatch.setattr(outside, "_registered", {})
    monkeypatch.setattr(outside, "_entries", {})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_a_file_s_task_is_the_same_object_as_long_as_its_text_is(file):
    first = m890sim.get_task(f"{file}:TASK")
    assert first is m890sim.get_task(f"{file}:TASK")
    assert first.origin == f"{file}:TASK"
    file.write_text(FILE + "\n\nOTHER = 3\n", encoding="utf-8")
    second = m890sim.get_task(f"{file}:TASK")
    assert second.digest != first.digest


def test_digest_does_not_hang_on_where_the_file_lies_or_on_line_ends(file, tmp_path):
    other = tmp_path / "elsewhere.py"
    other.write_bytes(FILE.replace("\n", "\r\n").encode())
    digests = {m890sim.get_task(f"{path}:TASK").digest for path in (file, other)}
    assert len(digests) == 1
    changed = tmp_path / "changed.py"
    changed.write_text(FILE.replace("2 * x", "x + x"), encoding="utf-8")
    assert m890sim.get_task(f"{changed}:TASK").digest not in digests


def test_every_function_takes_a_file(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    name = "mine.py:TASK"
    task = m890sim.get_task(name)
    assert m890sim.evaluate(task.reference, name).correct
    assert m890sim.judge_kernel(task.reference, name, hidden=2, seed=1).correct
    assert m890sim.legal_edits(task.reference, name)
    session = m890sim.KernelSession(name)
    assert session.evaluate().correct
    assert session.report()["task_digest"] == task.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "task file .*, line 1: invalid syntax"),
        (
            "import none_such\n",
            "cannot be imported: ModuleNotFoundError: .*none_such.*mine.py, line 1",
        ),
        ("x = 1\ny = x / 0\n", r"cannot be imported: ZeroDivisionError: .*\(mine.py, line 2\)"),
        ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
        ("x = 1\n", "has no TASK; it holds no task"),
        (FILE.replace("TASK =", "OTHER ="), "has no TASK; the tasks in it are OTHER"),
        ("TASK = 7\n", "TASK in task file .* must be a Task, as define_task gives it, not 7"),
        (FILE.replace('name="doubled"', 'name="extend"'), "is called 'extend', .* built-in task"),
        (FILE.replace("oracle=oracle", "oracle=7"), "oracle must be a function, not 7"),
        (FILE.replace('"R": 20, ', ""), "case small must say R"),
        (FILE.replace("row_max(m", "row_most(m"), "E205"),
        ("\x00", "task file"),
        ("#" * (2**20 + 1), "has more than 1,048,576 bytes"),
    ],
)
def test_a_file_with_a_fault_is_refused(file, text, message):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TaskError, match=message):
        m890sim.get_task(f"{file}:TASK")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.py:TASK", "cannot read task file none.py: No such file"),
        ("mine.py", "'mine.py' must name the task in the file: mine.py:NAME"),
        ("mine.py:", "must name the task in the file: mine.py:NAME"),
        ("mine.py:a b", "must name the task in the file"),
        ("a\x00.py:TASK", "cannot be read"),
        ("doubled", r"unknown task: 'doubled'.*\(one of your own: path/to/file.py:NAME\)"),
    ],
)
def test_a_name_that_leads_nowhere(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError, match=message):
        m890sim.get_task(name)


def test_a_directory_and_bytes_are_no_task_file(tmp_path):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(TaskError, match="cannot read task file"):
        m890sim.get_task(f"{tmp_path / 'folder.py'}:TASK")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe")
    with pytest.raises(TaskError, match="cannot be read"):
        m890sim.get_task(f"{tmp_path / 'bytes.py'}:TASK")


def test_names_of_records_never_lead_to_a_file(file):
    with pytest.raises(TaskError, match="unknown task"):
        known_task(f"{file}:TASK")


def test_register(file):
    task = m890sim.get_task(f"{file}:TASK")
    assert m890sim.register_task(task) is m890sim.register_task(task)
    assert m890sim.get_task("doubled").digest == task.digest
    assert known_task("doubled") is m890sim.get_task("doubled")
    assert m890sim.evaluate(task.reference, "doubled").correct


def test_two_tasks_of_one_name(file):
    task = m890sim.register_task(m890sim.get_task(f"{file}:TASK"))
    other = replace(task, text="another", tolerance=0.02)
    with pytest.raises(TaskError, match="two tasks are called 'doubled'"):
        m890sim.register_task(other)
    assert m890sim.register_task(other, replace_known=True).tolerance == 0.02
    assert m890sim.get_task("doubled").tolerance == 0.02


def test_what_cannot_be_registered(file):
    with pytest.raises(
        TypeError, match="task must be a Task, as define_task gives it, not 'extend'"
    ):
        m890sim.register_task("extend")
    with pytest.raises(TaskError, match="'extend' is the name of a built-in task"):
        m890sim.register_task(replace(m890sim.get_task(f"{file}:TASK"), name="extend"))
    assert m890sim.register_task(TASKS["extend"]) is TASKS["extend"]


class Package:
    def __init__(self, name):
        self.name, self.version = name, "1.2"


def entry(monkeypatch, *rows):
    found = []
    for name, value, package in rows:
        made = EntryPoint(name, value, outside.GROUP)
        vars(made).update(dist=Package(package))
        found.append(made)
    monkeypatch.setattr(outside, "entry_points", lambda group: found)


def test_a_task_of_an_installed_package(file, monkeypatch):
    monkeypatch.syspath_prepend(str(file.parent))
    entry(monkeypatch, ("doubled", "mine:TASK", "tasks-of-mine"))
    task = m890sim.get_task("doubled")
    assert task.digest == m890sim.get_task(f"{file}:TASK").digest
    assert m890sim.get_task("doubled") is task
    with pytest.raises(TaskError, match="there are: .*doubled"):
        m890sim.get_task("trebled")
    sys.modules.pop("mine")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("none_such:TASK", "task 'doubled' of package mine 1.2 cannot be loaded: ModuleNotFound"),
        ("os:none_such", "of package mine 1.2 cannot be loaded: AttributeError"),
        ("os:name", "of package mine 1.2: os:name must be a Task, not 'posix'"),
        ("m890sim.workloads.tasks:EXTEND", "is the task 'extend'; the entry point must have its"),
    ],
)
def test_a_broken_package_is_named(value, message, monkeypatch):
    entry(monkeypatch, ("doubled", value, "mine"))
    with pytest.raises(TaskError, match=message):
        m890sim.get_task("doubled")


def test_two_packages_with_one_name(monkeypatch):
    entry(monkeypatch, ("doubled", "a:TASK", "one"), ("doubled", "b:TASK", "two"))
    with pytest.raises(
        TaskError, match="two packages have a task called 'doubled': one 1.2 and two"
    ):
        m890sim.get_task("doubled")


def test_another_process_gets_the_task_by_its_file(file):
    task = m890sim.get_task(f"{file}:TASK")
    assert pickle.loads(pickle.dumps(task)) is task
    assert pickle.loads(pickle.dumps(task.cases[0])) == task.cases[0]
    sent = pickle.dumps((task, task.cases[0]))
    code = (
        "import pickle, sys\n"
        "task, case = pickle.loads(sys.stdin.buffer.read())\n"
        "assert case in task.cases\n"
        "print(task.digest)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=sent, capture_output=True, check=True, env=os.environ
    )
    assert done.stdout.decode().strip() == task.digest
