"""Chips as TOML files: what is written is read back, and what is no chip is refused by name."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.chip import CHIPS, FAMILIES, M890, ChipSpec, draw_chip, get_chip
from m890sim.chip.files import FIELDS, MOST_BYTES, chip_text, parse_chip, read_chip
from m890sim.cli import main
from m890sim.errors import ChipError

Capture = pytest.CaptureFixture[str]
printable = st.text(min_size=1, max_size=100).filter(str.isprintable)


def written(folder: Path, text: str | bytes, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda chip: chip.name)
def test_preset_is_read_back(chip: ChipSpec) -> None:
    assert parse_chip(chip_text(chip), "other") == chip


@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_chip_is_read_back(family: str, tmp_path: Path) -> None:
    chip = draw_chip(family, "test", 7)
    path = written(tmp_path, chip_text(chip))
    assert get_chip(str(path)) == get_chip(path) == read_chip(path) == chip


@settings(deadline=None)
@given(name=printable, cores=st.integers(1, 1024), size=st.integers(10, 30))
def test_chip_of_any_name_and_numbers_is_read_back(name: str, cores: int, size: int) -> None:
    if name in CHIPS or name.partition(":")[0] in FAMILIES:
        name = "x" + name[1:]
    chip = M890.replace(name=name, cores=cores, sram_bytes=16 * 2**size)
    assert parse_chip(chip_text(chip), "other") == chip


def test_what_is_left_out_comes_from_the_base(tmp_path: Path) -> None:
    path = written(tmp_path, 'inherit = "m890-lean"\ncores = 3\n', "three-cores.toml")
    expected = CHIPS["m890-lean"].replace(name="three-cores", cores=3)
    assert get_chip(path) == expected
    drawn = parse_chip('inherit = "small:test:1"\nname = "mine"\ndma_queues = 1', "other")
    assert drawn == draw_chip("small", "test", 1).replace(name="mine", dma_queues=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("core = 3", "'core' is no field of a chip; did you mean cores"),
        ("speed = 3", "'speed' is no field of a chip; `m890 chips` lists the fields"),
        ("cores = true", "cores must be an integer, not True"),
        ('cores = "16"', "cores must be an integer, not '16'"),
        ("cores = 0", "cores must be at least 1, not 0"),
        ("cores = -5", "cores must be at least 1, not -5"),
        ("cores = 4096", "cores must be at most 1024, not 4096"),
        ("cores = [1, 2]", r"cores must be an integer, not \[1, 2\]"),
        ("[cores]\nof = 1", r"cores must be an integer, not \{'of': 1\}"),
        ("cores = 1979-05-27", "cores must be an integer, not a value of type date"),
        (f"cores = {'9' * 390}", "cores must be at most .*, not an integer of 1296 bits"),
        (f"cores = {'9' * 5000}", "line 2 has more than 400 characters; write FIELD = NUMBER lin"),
        (f"{'a.' * 30_000}b = 1", "line 2 has more than 400 characters; write FIELD = NUMBER lin"),
        (f"cores = {2**63}", r"cores must be at most 2\*\*40, not 9223372036854775808"),
        ("cores = nan", "cores must be an integer, not nan"),
        ("cores = -inf", "cores must be an integer, not -inf"),
        ("cores = 16.0", "cores must be an integer, not 16.0"),
        ("cores.of = 1", r"cores must be an integer, not \{'of': 1\}"),
        ("sram_bytes = 1000", r"sram_bytes must be a multiple of sram_banks \(16\), not 1000"),
        ("name = 5", "name must be a text, not 5"),
        ('name = ""', "name must be 1 to 100 printable characters"),
        ('name = "m890"\ncores = 2', "the chip is called 'm890' and has other numbers than that"),
        ('name = "small:test:1"', "the chip is called 'small:test:1' and has other numbers"),
        ('name = "small:test:x"', "'small:test:x' is no chip of family small: write small:SPLIT"),
        ("cores = ", "no TOML: Invalid value .at line 2, column 9.; write FIELD = NUMBER lines"),
        ("cores = 1\ncores = 2", "no TOML: Cannot overwrite a value"),
        ("cores = " + "[\n" * 20_000, "no chip's file nests tables or lists"),
    ],
)
def test_file_with_a_mistake_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, f'inherit = "m890"\n{text}\n')
    with pytest.raises(ChipError, match=f"mine.toml: {message}") as caught:
        get_chip(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "no value for cores, sram_bytes, sram_banks and 36 more; give them, or begin with inh",
        ),
        ('inherit = "m891"', "inherit: unknown chip 'm891'; did you mean m890"),
        ("inherit = 890", 'inherit must be the name of a chip, such as "m890", not 890'),
        ('inherit = "other.toml"', "inherit must name a preset or FAMILY:SPLIT:NUMBER, not the fi"),
        ('inherit = "small:tests:1"', "inherit: family small has no split 'tests'"),
    ],
)
def test_file_without_all_numbers_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ChipError, match=f"mine.toml: {re.escape(message)}"):
        get_chip(written(tmp_path, text))


def test_one_missing_number_is_named() -> None:
    lines = chip_text(M890.replace(name="mine")).splitlines()
    for field in ("cores", "barrier_cycles"):
        text = "\n".join(line for line in lines if not line.startswith(f"{field} "))
        with pytest.raises(ChipError, match=f"no value for {field}; give it, or begin with"):
            parse_chip(text, "mine")


def test_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChipError, match=r"cannot read the chip .*none.toml: No such file or dir"):
        get_chip(tmp_path / "none.toml")
    with pytest.raises(ChipError, match="is a directory; give the path of a chip's TOML file"):
        get_chip(tmp_path)
    with pytest.raises(ChipError, match="cannot read the chip"):
        get_chip("a\0b.toml")
    with pytest.raises(ChipError, match="cannot read the chip .*: File name too long"):
        get_chip("x" * 5000 + ".toml")
    large = written(tmp_path, "#" * (MOST_BYTES + 1))
    with pytest.raises(ChipError, match=r"mine.toml has more than 65,536 bytes; a chip needs"):
        get_chip(large)
    with pytest.raises(ChipError, match="mine.toml is no text in UTF-8, as TOML is"):
        get_chip(written(tmp_path, b"\xff\xfe"))
    with pytest.raises(ChipError, match="mine.toml: no TOML: Invalid statement"):
        get_chip(written(tmp_path, b"inherit = 'm890'\n\0"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ChipError, match="pipe.toml is no regular file; give the path of a chip"):
        get_chip(tmp_path / "pipe.toml")


def test_file_that_only_names_itself_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 'inherit = "./mine.toml"')
    with pytest.raises(ChipError, match="inherit must name a preset or FAMILY:SPLIT:NUMBER, not"):
        get_chip(path)
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    with pytest.raises(ChipError, match="cannot read the chip .*loop.toml: Too many levels"):
        get_chip(loop)


def test_file_of_an_editor_that_marks_the_byte_order_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbfinherit = 'm890'\r\ncores = 3\r\n")
    assert get_chip(path) == M890.replace(name="mine", cores=3)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    data=st.binary(max_size=200),
    keys=st.lists(st.sampled_from([*FIELDS, "inherit", "x"]), max_size=4),
    values=st.lists(
        st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=9), st.none()),
        min_size=4,
        max_size=4,
    ),
)
def test_no_text_breaks_the_reader(data: bytes, keys: list[str], values: list[object]) -> None:
    lines = [f"{key} = {str(value).lower()}" for key, value in zip(keys, values, strict=False)]
    for text in (data.decode("latin-1"), "\n".join(['inherit = "m890"', *lines])):
        try:
            chip = parse_chip(text, "mine")
        except ChipError as error:
            assert len(str(error)) < 600
        else:
            assert isinstance(chip, ChipSpec)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 'inherit = "m890"')
    path.chmod(0)
    with pytest.raises(ChipError, match="cannot read the chip .*: Permission denied"):
        get_chip(path)


def test_command_prints_a_chip_that_it_reads_again(tmp_path: Path, capsys: Capture) -> None:
    assert main(["chips", "--draw", "balanced:test:7"]) == 0
    path = written(tmp_path, capsys.readouterr().out)
    assert get_chip(path) == draw_chip("balanced", "test", 7)
    assert main(["chips", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "balanced:test:7" in shown and "out of balance" not in shown


def test_command_says_what_is_out_of_balance(tmp_path: Path, capsys: Capture) -> None:
    path = written(tmp_path, 'inherit = "m890"\ndma_in_flight = 1\n')
    assert main(["chips", str(path)]) == 0
    expected = "mine is out of balance: transfers in flight over DMA queues is 0.25, sane is 1 to"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chips", "PATH"], "mine.toml: 'dma_queus' is no field of a chip; did you mean dma_queu"),
        (["run", "attention_reference", "--chip", "PATH"], "'dma_queus' is no field of a chip"),
        (["check", "attention_reference", "--chip", "PATH"], "'dma_queus' is no field of a chip"),
        (["judge", "attention_reference", "--chip", "PATH"], "'dma_queus' is no field of a chip"),
        (["edits", "attention_reference", "--chip", "PATH"], "'dma_queus' is no field of a chip"),
        (["ladder", "--chip", "PATH"], "'dma_queus' is no field of a chip"),
        (["optimize", "--chip", "PATH"], "'dma_queus' is no field of a chip"),
        (["chips", "balanced:tests:1"], "family balanced has no split 'tests'; its splits are"),
        (["chips", "balanced:test"], "'balanced:test' is no chip of family balanced: write bal"),
        (["chips", "wide:train:1"], "family wide has no split 'train'; its splits are: test (it"),
        (["run", "attention_reference", "--chip", "balancd:test:1"], "did you mean balanced?"),
        (["chips", "balanced"], "balanced is a family: write balanced:train:0"),
        (["chips", "--draw", "m890", "m890-mini"], "--draw prints one chip as TOML; leave out"),
        (["chips", "--families", "m890"], "--families takes no chips; leave them out"),
    ],
)
def test_command_refuses_with_status_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: Capture
) -> None:
    path = written(tmp_path, 'inherit = "m890"\ndma_queus = 2\n')
    assert main([str(path) if word == "PATH" else word for word in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err and "Traceback" not in captured.err


def test_text_has_a_line_a_field() -> None:
    lines = chip_text(M890).splitlines()
    assert [line.split(" = ")[0] for line in lines] == list(FIELDS)
