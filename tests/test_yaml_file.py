"""YAML of any kind is read or refused in a moment, with its line; topology files and rule files by the same reader."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliances.firewall import rules as firewall_rules
from appliances.ids import rules as ids_rules
from gwlbemu.errors import GwlbemuError, TopologyError
from gwlbemu.lab.topology_file import read_topology
from gwlbemu.topology.file.parse import parse
from gwlbemu.yaml_file import MOST_BYTES, YamlError, read
from tests.hostile_yaml import REFUSED, TEXT
from tests.paths import ROOT, TOPOLOGIES

SECONDS = 20  # of processor time for all of them, on a busy machine; a reader without bounds takes hours


@pytest.mark.parametrize(("text", "words"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_what_breaks_readers_is_refused_with_its_line(text: str, words: str) -> None:
    for error, parser in ((YamlError, read), (TopologyError, parse), (firewall_rules.RuleError, firewall_rules.parse)):
        with pytest.raises(error) as caught:
            parser(text, "f.yaml")
        assert words in str(caught.value)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", [each[1] for each in TEXT], ids=[each[0] for each in TEXT])
def test_a_value_of_another_type_of_yamls_is_text(text: str) -> None:
    data = read(f"a: {text}", "f.yaml").data
    assert isinstance(data, dict)
    assert isinstance(data["a"], str)


def test_all_of_it_takes_little_time_and_memory() -> None:
    """In a process of its own, under limits that the kernel keeps."""
    code = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (400 << 20, 400 << 20))\n"
        "from appliances.firewall.rules import RuleError, parse\n"
        "from tests.hostile_yaml import REFUSED\n"
        "for _, text, _ in REFUSED:\n"
        "    try:\n        parse(text, 'f')\n    except RuleError:\n        continue\n    raise AssertionError\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


READERS: list[tuple[Callable[[Path], object], type[GwlbemuError]]] = [
    (read_topology, TopologyError),
    (firewall_rules.load, firewall_rules.RuleError),
    (ids_rules.load, ids_rules.RuleError),
]


@pytest.mark.parametrize(("load", "error"), READERS, ids=["topology", "firewall", "ids"])
def test_a_file_that_is_no_text_or_has_no_end_is_refused_by_name(
    load: Callable[[Path], object], error: type[GwlbemuError], tmp_path: Path
) -> None:
    binary, large, folder = tmp_path / "binary", tmp_path / "large", tmp_path / "folder"
    binary.write_bytes(b"a: 1\nb: \xff")
    with large.open("wb") as file:
        file.truncate(100 << 20)
    folder.mkdir()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path, words in (
        (binary, "binary:2: cannot be read: byte 8 is no UTF-8"),
        (large, "large: cannot be read: it is larger than 2 MiB"),
        (folder, "Is a directory"),
        (Path("/dev/zero"), "cannot be read: it is a device"),
        (tmp_path / "absent", "No such file"),
    ):
        with pytest.raises(error, match=words) as caught:
            load(path)
        assert str(path) in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * MOST_BYTES / 1024


SOURCE = (TOPOLOGIES / "minimal.yaml").read_text()
PIECES = [
    "*a", "&a ", "!!int ", "!!set ", "- ", "? ", ": ", "[", "{", "]", "}", "\t", "'", '"', "|", ">", "%", "@", "<<: ",
    "\0", "\ud7ff", "9" * 400, "2001-99-99", ".nan", "1e999", "-.inf", "~", "\n", "#", "---\n", "...\n", "0x", "1:60",
]  # fmt: skip
DAMAGES = st.tuples(st.integers(0, len(SOURCE)), st.sampled_from(PIECES), st.integers(0, 3))


def refusal(parser: Callable[[str, str], object], text: str) -> str:
    """The refusal of a text; of one that is read, the name of the file."""
    try:
        parser(text, "f.yaml")
    except GwlbemuError as error:
        return str(error)
    return "f.yaml"


@given(st.lists(DAMAGES, min_size=1, max_size=4))
def test_a_damaged_topology_is_read_or_refused(damages: list[tuple[int, str, int]]) -> None:
    text = SOURCE
    for at, piece, over in damages:
        text = text[:at] + piece + text[at + over :]
    assert refusal(parse, text).startswith("f.yaml")


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert refusal(parse, text).startswith("f.yaml")
    assert refusal(firewall_rules.parse, text).startswith("f.yaml")
