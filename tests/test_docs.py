"""The documents: generated tables are fresh, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import architecture_plot, ladder_plot, machine_plot
from m890sim.chip import get_chip
from m890sim.cli import build_parser, main
from m890sim.cli.docs import BLOCKS, blocks, documents, renew
from m890sim.errors import CODES, M890Error

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = documents(ROOT)
README = ROOT / "README.md"
PROSE = [*DOCUMENTS, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]


def name_of(path: Path) -> str:
    return path.name


def tables() -> list[tuple[Path, str]]:
    """Every (document, name of a generated table)."""
    return [(path, name) for path in DOCUMENTS for name, _ in blocks(path.read_text("utf-8"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_generated_tables_are_fresh(path: Path, golden: Callable[[Path, str], None]) -> None:
    golden(path, renew(path.read_text("utf-8")))


@pytest.mark.parametrize("path", PROSE, ids=name_of)
def test_prose_wraps_at_120_columns(path: Path) -> None:
    fenced, wide = False, []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif len(line) > 120 and not fenced and not line.lstrip().startswith(("|", "    ", "<")):
            wide.append(f"{path.name}:{number}: {len(line)} columns")
    assert not wide, "\n".join(wide)


@pytest.mark.parametrize("name", ["chip", "isa", "codes", "ladder"])
def test_table_stands_in_a_document(name: str) -> None:
    assert name in {found for _, found in tables()}


def test_renew_is_idempotent() -> None:
    text = "a\n<!-- generated: codes -->\nold\n<!-- end generated -->\nb\n"
    once = renew(text)
    assert renew(once) == once
    assert once.startswith("a\n") and once.endswith("b\n") and "old" not in once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- generated: nothing -->\n<!-- end generated -->\n", "no generated table is called"),
        ("<!-- generated: chip -->\n", "lacks its"),
        ("<!-- end generated -->\n", "lacks its"),
    ],
)
def test_bad_marker_is_refused(text: str, message: str) -> None:
    with pytest.raises(M890Error, match=message):
        renew(text)


def test_codes_table_lists_every_code() -> None:
    lines = BLOCKS["codes"]().splitlines()
    assert len(lines) == 2 + len(CODES)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_to_files(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (path.parent / target).is_file()]
    assert not missing  # the site has no pages for folders


def anchors(text: str) -> set[str]:
    """The names of a page's headings in links, as the repository's view makes them."""
    fenced = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    titles = re.findall(r"^#+ (.+)$", fenced, re.M)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PROSE, ids=name_of)
def test_links_lead_to_headings(path: Path) -> None:
    text = path.read_text("utf-8")
    for target, anchor in re.findall(r"\]\(([^)#\s:]*\.md|)#([^)]+)\)", text):
        page = path.parent / target if target else path
        assert anchor in anchors(page.read_text("utf-8")), f"{target}#{anchor}"


def test_every_page_is_in_the_site_s_navigation() -> None:
    folder = ROOT / "docs"
    linked = {folder / "index.md"}
    for page in (folder / "index.md", folder / "api" / "index.md"):
        for target in re.findall(r"^- \[[^\]]+\]\(([^)#]+)\)", page.read_text("utf-8"), re.M):
            linked.add((page.parent / target).resolve())
    assert set(folder.rglob("*.md")) - linked == set()


def test_python_of_the_environments_runs() -> None:
    text = (ROOT / "docs" / "environments.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    assert len(blocks) >= 2
    exec("\n".join(blocks), {})


def commands() -> list[str]:
    """Every `m890 ...` of the documents' code, without comments and placeholders of shells."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        fences = re.findall(r"```(?:bash|console)\n(.*?)```", text, re.S)
        spans = re.findall(r"(?<!`)`(m890 [^`]+)`", text)
        for line in [line for fence in fences for line in fence.splitlines()] + spans:
            command = line.removeprefix("$ ").split(" #")[0].split(" > ")[0]
            found += [
                part.strip() for part in command.split("&&") if part.strip().startswith("m890 ")
            ]
    return sorted(set(found))


@pytest.mark.parametrize("command", commands())
def test_documented_command_parses(command: str) -> None:
    arguments = shlex.split(command)[1:]
    if len(arguments) == 1:  # in prose, a command's name alone
        arguments.append("--help")
    try:
        build_parser().parse_args(arguments)
    except SystemExit as stop:
        assert stop.code == 0, f"refused: {command}"


@pytest.mark.parametrize("heading", ["## Run it", "## Test it", "## Documentation"])
def test_readme_gives_one_command(heading: str) -> None:
    section = README.read_text("utf-8").split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    fences = re.findall(r"```bash\n(.*?)```", section, re.S)
    assert len(fences) == 1
    assert len(fences[0].strip().splitlines()) == 1


def test_readme_labels_the_published_figures() -> None:
    text = README.read_text("utf-8")
    assert "fictional" in text.split("## Run it")[0]
    for line in text.splitlines():
        if "10.0x" in line:
            assert "real" in text[max(0, text.index(line) - 200) : text.index(line) + len(line)]


def test_ci_runs_the_readmes_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "## Test it" in script and "pytest" not in script
    assert "## Documentation" in script and "sphinx" not in script


def test_five_minutes_say_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "five_minutes.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")  # as where a pipe has no width
    (script,) = re.findall(r"^```text\n(.*?)^```", text, re.S | re.M)
    (tmp_path / "faster.txt").write_text(script, "utf-8")
    said = {}
    for line in "".join(re.findall(r"^```bash\n(.*?)^```", text, re.S | re.M)).splitlines():
        if not line.startswith("m890 "):
            continue
        command, _, file = line.partition(" > ")
        assert main(shlex.split(command)[1:]) == 0, line
        printed = capsys.readouterr().out
        if file:
            (tmp_path / file).write_text(printed, "utf-8")
        said[command.split()[1]] = printed
    earned = ["3.88x", "4.20x", "4.28x", "4.36x"]
    assert "4 of 16 cores had work" in said["profile"]
    assert re.search(r"no latency .*2.19x *\n no fences .*1.33x", said["profile"])
    assert "135 kernels timed" in said["suggest"]
    assert re.search(r"3.23x .*\n remove_fence, everywhere ", said["suggest"])
    assert re.findall(r"(\d\.\d\dx) *$", said["edits"], re.M)[1:] == earned
    assert "right by every gate: 4.36x on public cases, 1.78x on 12 hidden ones" in said["judge"]
    for figure in ["2.19x", "1.33x", "3.23x", *earned, "1.78x"]:
        assert figure in text


def test_ladder_picture_is_fresh(golden: Callable[[Path, str], None]) -> None:
    golden(ROOT / "docs" / "ladder.svg", ladder_plot.draw(get_chip("m890")))


def test_picture_of_the_layers_is_fresh(golden: Callable[[Path, str], None]) -> None:
    golden(ROOT / "docs" / "architecture.svg", architecture_plot.draw())


def test_picture_of_the_machine_is_fresh(golden: Callable[[Path, str], None]) -> None:
    golden(ROOT / "docs" / "machine.svg", machine_plot.draw(get_chip("m890")))
