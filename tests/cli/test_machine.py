"""What the machine does to a command: signals, closed pipes, a folder that is missing or read-only, a umask."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from gwlbemu.capture.pcapng import enhanced_packet, interface_description, section_header
from gwlbemu.cli.main import VERBS, cli, main
from gwlbemu.errors import LabError
from gwlbemu.lab.running import open_lab
from gwlbemu.net.namespaces import DIRECTORY
from gwlbemu.net.record import ROOT, list_labs
from gwlbemu.net.remove import down
from gwlbemu.review.finding import HINT
from tests.paths import TOPOLOGIES
from tests.waiting import wait_until

MINIMAL = str(TOPOLOGIES / "minimal.yaml")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("verb", VERBS)
def test_a_signal_ends_every_verb_with_one_word(
    gwlbemu: Any, monkeypatch: pytest.MonkeyPatch, verb: str, number: signal.Signals
) -> None:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    before = signal.getsignal(number)
    monkeypatch.setattr(command, "invoke", lambda _: signal.raise_signal(number))
    monkeypatch.setattr(command, "parse_args", lambda *_: [])
    said = gwlbemu(verb)
    assert (said.code, said.out, said.err.strip()) == (130, "", "interrupted")
    assert signal.getsignal(number) is before


def test_a_signal_that_the_caller_ignores_is_ignored(monkeypatch: pytest.MonkeyPatch, gwlbemu: Any) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = cli.get_command(click.Context(cli), "labs")
        monkeypatch.setattr(command, "invoke", lambda _: signal.raise_signal(signal.SIGHUP))
        assert gwlbemu("labs").code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


EARLY = """
import signal, sys
from gwlbemu.cli import script
class Finder:
    def find_spec(self, name, *_):
        if name == "gwlbemu.cli.main":
            signal.raise_signal(int(sys.argv[1]))
sys.meta_path.insert(0, Finder())
sys.exit(script.main())
"""
CONVERTED = """
import signal, sys
from gwlbemu.cli import script
module, way = sys.argv.pop(), sys.argv.pop()
class Name:
    def __set_name__(self, *_):
        signal.raise_signal(signal.SIGTERM)
class Finder:
    def find_spec(self, name, *_):
        if name == module:
            sys.meta_path.remove(self)
            try:
                type("Class", (), {"name": Name()})  # RuntimeError: Error calling __set_name__
            except RuntimeError:
                if way == "converted":
                    raise
sys.meta_path.insert(0, Finder())
sys.exit(script.main())
"""
LATE = """
import signal, sys
from gwlbemu.cli import script
number = int(sys.argv.pop())
code = script.main()
signal.raise_signal(number)
sys.exit(code)
"""


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_is_heard_while_the_command_is_loaded_and_no_more_when_it_is_over(number: signal.Signals) -> None:
    early = subprocess.run([sys.executable, "-c", EARLY, str(int(number))], text=True, capture_output=True, check=False)
    assert (early.returncode, early.stdout, early.stderr) == (130, "", "interrupted\n")
    words = ["labs", "--no-such-option"]
    late = subprocess.run(
        [sys.executable, "-c", LATE, *words, str(int(number))], text=True, capture_output=True, check=False
    )
    assert (late.returncode, late.stdout) == (2, "")


@pytest.mark.parametrize(
    ("way", "loaded"),
    [
        ("converted", "gwlbemu.cli.main"),
        ("converted", "click.core"),
        ("converted", "gwlbemu.cli.lab"),
        ("converted", "gwlbemu.net.record"),
        ("caught", "gwlbemu.cli.lab"),
    ],
)
def test_a_signal_that_a_module_makes_another_exception_of_or_catches_ends_the_command(way: str, loaded: str) -> None:
    """Python 3.11 makes a RuntimeError of whatever is raised in __set_name__, so of every class with descriptors."""
    words = [sys.executable, "-c", CONVERTED, "labs", way, loaded]
    done = subprocess.run(words, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "interrupted")


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "gwlbemu", *words], text=True, check=False, **options)


OUTPUT = [("plan", MINIMAL), ("schema",), ("plan", "--json", MINIMAL), ("doctor", MINIMAL), ("--help",)]


@pytest.mark.parametrize("words", OUTPUT, ids=" ".join)
def test_output_that_cannot_be_written_is_one_sentence(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = run(*words, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (5, "gwlbemu: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("words", OUTPUT, ids=" ".join)
def test_a_reader_that_went_away_is_no_error(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(*words, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


EXPECTING = """
expect:
  - {from: client, to: web, port: 80}
  - {from: client, to: web, port: 80, delivered: false}
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("test", "FILE"), 1),
        (("test", "FILE", "--json"), 1),
        (("doctor", "BROKEN"), 1),
        (("plan", "/nowhere"), 3),
        (("plan", "--no-such-option"), 2),
    ],
)
@pytest.mark.parametrize("errors_too", [False, True])
def test_a_verb_whose_reader_went_away_ends_with_its_own_code(
    tmp_path: Path, words: tuple[str, ...], code: int, errors_too: bool
) -> None:
    """`gwlbemu test FILE | head -1` under pipefail."""
    expecting, broken = tmp_path / "expecting.yaml", tmp_path / "broken.yaml"
    text = (TOPOLOGIES / "minimal.yaml").read_text()
    expecting.write_text(text + EXPECTING)
    broken.write_text(text.replace("servers, routes: [{destination: 0.0.0.0/0, target: vpce}", "servers, routes: ["))
    files = {"FILE": str(expecting), "BROKEN": str(broken)}
    reader, writer = os.pipe()
    os.close(reader)
    try:
        errors = writer if errors_too else subprocess.PIPE
        done = run(*(files.get(each, each) for each in words), stdout=writer, stderr=errors)
    finally:
        os.close(writer)
    assert done.returncode == code, done.stderr


def test_a_stream_of_packets_ends_when_nobody_reads_it() -> None:
    """A capture may come from a pipe that never ends: `tcpdump -w - | gwlbemu inspect /dev/stdin | head`."""
    packet = enhanced_packet(0, 1, bytes(60))
    read, write = os.pipe()
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-m", "gwlbemu", "inspect", "/dev/stdin"], stdin=read, stdout=writer, stderr=subprocess.PIPE
    )
    try:
        os.close(read)
        os.close(writer)
        with suppress(BrokenPipeError), open(write, "wb") as endless:
            endless.write(section_header() + interface_description("eth0"))
            while True:
                endless.write(packet * 1000)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("descriptors", [(1,), (2,), (0, 1, 2)], ids=str)
def test_without_standard_files_a_command_ends_as_usual(descriptors: tuple[int, ...]) -> None:
    words = " ".join(f"{each}>&-" if each else "<&-" for each in descriptors)
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec '{sys.executable}' -m gwlbemu plan '{MINIMAL}' {words}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def run_folder() -> Iterator[Path]:
    """/run/gwlbemu and /run/netns without anything in them; the test may spoil them."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run"], check=True)
    try:
        yield Path("/run")
    finally:
        subprocess.run(["umount", "-R", "-l", "/run"], check=True)


WITHOUT_A_LAB = [
    ("status",), ("targets",), ("flows",), ("metrics",), ("doctor",), ("watch",), ("inspect", "--last"),
    ("inject", "--tcp", "80"), ("exec", "x", "--", "true"), ("register", "g", "t"), ("deregister", "g", "t"),
    ("set", "g", "a=b"), ("fail", "zone", "a"), ("heal", "zone", "a"), ("advance", "5s"), ("drill",),
]  # fmt: skip


@pytest.mark.namespace
@pytest.mark.parametrize("spoilt", ["missing", "a file", "a link to nowhere"])
def test_without_its_folder_every_verb_says_that_no_lab_is_up(gwlbemu: Any, run_folder: Path, spoilt: str) -> None:
    if spoilt == "a file":
        ROOT.write_text("")
    elif spoilt != "missing":
        ROOT.symlink_to("/nowhere")
    for words in WITHOUT_A_LAB:
        said = gwlbemu(*words)
        assert (words, said.code, said.out) == (words, 4, "")
        assert said.err.startswith("gwlbemu: no lab is up")
    assert (gwlbemu("labs").code, gwlbemu("down").code) == (0, 0)


@pytest.mark.namespace
@pytest.mark.parametrize("spoilt", ["a file", "a link to nowhere", "read-only"])
def test_up_says_in_one_sentence_why_it_cannot_be(gwlbemu: Any, run_folder: Path, spoilt: str) -> None:
    if spoilt == "a file":
        ROOT.write_text("")
    elif spoilt == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", "/run"], check=True)
    else:
        ROOT.symlink_to("/nowhere")
    said = gwlbemu("up", "--no-capture", MINIMAL)
    assert (said.code, said.out, said.err.count("\n")) == (5, "", 1)
    assert "/run/" in said.err
    assert list_labs() == []


@pytest.mark.namespace
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_up_that_is_interrupted_leaves_nothing(number: signal.Signals) -> None:
    before = set(os.listdir(DIRECTORY)) if DIRECTORY.exists() else set()
    process = subprocess.Popen(
        [sys.executable, "-m", "gwlbemu", "up", MINIMAL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: bool(list_labs()) or process.poll() is not None, "up has begun")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err.splitlines()[-1]) == (130, "", "interrupted")
    after = set(os.listdir(DIRECTORY)) if DIRECTORY.exists() else set()
    assert (list_labs(), after) == ([], before)


@pytest.mark.namespace
@pytest.mark.parametrize("number", SIGNALS[1:], ids=lambda number: number.name)
def test_a_signal_to_exec_is_the_commands(number: signal.Signals) -> None:
    wait = "import signal\nprint('ready', flush=True)\nsignal.pause()"
    assert main(["up", "--no-capture", MINIMAL]) == 0
    try:
        words = [sys.executable, "-m", "gwlbemu", "exec", "client", "--", sys.executable, "-c", wait]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            assert process.wait(60) == 128 + number
    finally:
        main(["down"])


def modes(folder: Path) -> dict[str, int]:
    found = {}
    for path in [folder, *folder.rglob("*")]:
        found[str(path.relative_to(folder.parent))] = stat.S_IMODE(path.lstat().st_mode)
    return found


@pytest.mark.namespace
@pytest.mark.parametrize("umask", [0, 0o077, 0o777], ids=oct)
def test_nothing_of_a_lab_depends_on_the_umask_of_its_maker(umask: int) -> None:
    """Others may read what tells about a lab; only root and the processes write, or reach what steers it."""
    before = os.umask(umask)
    try:
        assert main(["up", MINIMAL]) == 0
        os.umask(umask)
        assert main(["fail", "link", "web"]) == 0
        os.umask(umask)
        assert main(["set", "firewalls", "stickiness.enabled=true"]) == 0
        found = modes(ROOT / "minimal")
        top = {"nodes": 0o700, "own": 0o711, "secret": 0o600}
        for path, mode in found.items():
            name, *below = Path(path).parts[1:] or [""]
            if name in top and not below:
                assert (path, mode) == (path, top[name])
            elif name == "own" and len(below) == 1:
                assert (path, mode) == (path, 0o700)
            elif name in top:  # behind a folder that is closed
                assert mode & 0o022 == 0, path
            elif (ROOT / path).is_dir():
                assert (path, mode) == (path, 0o755)
            else:
                assert (path, mode) == (path, 0o644)
        assert {"nodes", "own", "secret"} <= {Path(path).parts[1] for path in found if len(Path(path).parts) > 1}
        assert stat.S_IMODE(ROOT.stat().st_mode) == 0o755
    finally:
        os.umask(before)
        main(["down"])


@pytest.mark.namespace
def test_up_that_is_interrupted_while_it_waits_for_targets_takes_the_lab_down_and_says_so(tmp_path: Path) -> None:
    """The same as while it builds: what was not up yet is not left behind."""
    file = tmp_path / "slow.yaml"
    file.write_text(Path(MINIMAL).read_text().replace("program: passthrough", "program: {command: [sleep, '600']}"))
    process = subprocess.Popen(
        [sys.executable, "-m", "gwlbemu", "up", "--wait", "600", str(file)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def waits() -> bool:
        with suppress(LabError):
            (fw,) = open_lab("minimal").call("inspect-node-a", "targets")["targets"]
            return str(fw["state"]) == "unhealthy"
        return False

    try:
        wait_until(waits)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        down("minimal")
    said, last = (line for line in err.splitlines() if line)
    assert said.startswith("minimal was not well yet and is down again (")
    assert f"up --wait 0 {file}" in said
    assert (process.returncode, out, last) == (130, "", "interrupted")
    assert list_labs() == []


@pytest.mark.namespace
def test_a_program_that_ends_and_leaves_others_at_work_is_not_called_dead(tmp_path: Path, gwlbemu: Any) -> None:
    """As a script that sets an appliance up and exits does."""
    file = tmp_path / "script.yaml"
    server = f"{sys.executable} -m http.server 80"
    command = json.dumps(["sh", "-c", f"(exec setsid {server}) </dev/null >/dev/null 2>&1 & exit 0"])
    file.write_text(Path(MINIMAL).read_text().replace("program: passthrough", f"program: {{command: {command}}}"))
    try:
        said = gwlbemu("up", "--no-capture", "--wait", "60", str(file))
        assert (said.code, "the target is healthy" in said.out, said.err) == (0, True, "")
        status = gwlbemu("status", "--json")
        (program,) = (each for each in status.json["processes"] if each["name"] == "fw")
        assert (program["state"], status.code) == ("ended", 0)
        doctor = gwlbemu("doctor")
        told = " ".join(doctor.out.split())  # it is wrapped
        assert f"{HINT}: the program of fw has ended, and others that it started go on [ended-program]" in told
        assert doctor.code == 0
    finally:
        down("minimal")
