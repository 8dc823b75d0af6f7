"""What runs in an instance neither sees nor reaches the rest of the lab, of the machine and of other labs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwlbemu import Lab
from gwlbemu.cli.main import main
from gwlbemu.lab.state import LAB_USER
from gwlbemu.net.record import read
from gwlbemu.views.privileges import read_privileges
from tests.lab.worlds import world
from tests.waiting import wait_until

pytestmark = pytest.mark.namespace
# A program of the user's own that leaves children in sessions and namespaces of their own, and says that it is there.
DAEMONS = "setsid sleep 2000 & unshare -n -m -p -f sleep 2001 & echo began; exec sleep 2002"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(world(program={"firewall": {"default": "allow"}})) as up:
        yield up


def sleepers(*seconds: int) -> list[int]:
    """The processes of this test run that sleep for so many seconds, wherever they are."""
    mark, found = f"GWLBEMU_TEST_RUN={os.getpid()}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words[:1] == [b"sleep"] and int(words[1]) in seconds and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def shell(lab: Lab, instance: str, script: str) -> str:
    return lab.exec(instance, ["sh", "-c", script], timeout=120).stdout


def test_a_server_sees_no_socket_and_no_file_of_the_lab(lab: Lab) -> None:
    assert list(lab.running.state.folder.rglob("sock"))
    assert shell(lab, "server-a", "find /run -type s; find /run -type f; ls /run/netns 2>/dev/null") == ""


def test_an_appliance_sees_its_own_folder_and_no_other(lab: Lab) -> None:
    seen = shell(lab, "fw", "find /run ! -type d").split()
    assert {Path(path).parent for path in seen} == {lab.running.state.own("fw")}


def test_a_server_sees_its_own_processes_alone(lab: Lab) -> None:
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done"
    lines = [line for line in shell(lab, "server-a", script).splitlines() if line]
    assert lines[0].startswith("gwlbemu-init")
    assert all(any(word in line for word in ("gwlbemu-init", "programs.web", "sh -c", "tr ")) for line in lines)
    assert any("programs.web" in line for line in lines)


def test_a_process_outside_cannot_be_signalled_from_a_server(lab: Lab) -> None:
    innocent = subprocess.Popen(["sleep", "2003"])
    node = next(each for each in lab.running.processes() if each.name == "inspect-node-a")
    try:
        for pid in (innocent.pid, node.pid, os.getpid()):
            assert "No such process" in lab.exec("server-a", ["sh", "-c", f"kill -9 {pid}"]).stderr
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_server_has_its_own_devices_in_sys(lab: Lab) -> None:
    assert shell(lab, "server-a", "ls /sys/class/net").split() == ["eth0", "lo"]


def test_exec_works_where_no_program_is_and_by_the_command_line(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["exec", "client", "--", "sh", "-c", "cat /proc/1/cmdline; exit 3"]) == 3
    assert capfd.readouterr().out.startswith("gwlbemu-init")
    assert main(["exec", "igw", "--", "true"]) == 0
    assert main(["exec", "client", "--", "no-such-program"]) == 127


def test_what_two_commands_of_an_instance_start_is_seen_by_both(lab: Lab) -> None:
    one = lab.spawn("client", ["sleep", "2004"])
    try:
        assert "2004" in shell(lab, "client", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    finally:
        one.kill()


def test_our_own_programs_keep_only_what_they_use(lab: Lab) -> None:
    found = {each.name: each for each in read_privileges(lab.running)}
    assert found.keys() == {"capture", "fw", "inspect-node-a", "lab.resolver", "server-a"}
    for each in found.values():
        assert (each.user, each.no_new_privs) == (LAB_USER, True), each.name
        assert each.capabilities == (("net_bind_service",) if each.name == "fw" else ()), each.name
        assert each.seccomp == ("filter" if os.uname().machine in ("x86_64", "aarch64") else "off")
        assert (each.own_processes, each.own_files) == ((each.name in ("fw", "server-a"),) * 2)


def test_status_shows_it(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "-v"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("fw ") and "65528" in line)
    assert row.split()[:6] == ["fw", "65528", "net_bind_service", "yes", "filter", "pids,mounts"]
    assert main(["status", "-v", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["privileges"]
    assert {each["name"]: each["user"] for each in told}["inspect-node-a"] == LAB_USER


def test_a_health_check_fails_and_passes_again_without_privileges(lab: Lab) -> None:
    for failure in ("tcp", "none"):
        lab.call("fw", "health", fail=failure)
    assert lab.call("fw", "status")["health"]["failing"] == "none"


def test_a_dropped_packet_still_reaches_the_capture(lab: Lab) -> None:
    before = lab.status().nodes[0].discards["reported"]
    lab.fail("link", "fw")
    try:
        lab.wait_for_state("fw", "unhealthy")
        lab.exec("client", ["ping", "-c", "1", "-W", "1", "203.0.113.10"])
    finally:
        lab.heal("link", "fw")
    lab.wait_for_state("fw", "healthy")
    status = lab.status().nodes[0]
    assert status.discards["unreported"] == 0
    assert status.discards["reported"] >= before


def test_a_child_in_a_session_of_its_own_ends_with_its_instance_and_exec_outlives_the_program() -> None:
    with Lab(world(program={"command": ["sh", "-c", DAEMONS]}), name="daemons", capture=False, wait=0) as lab:
        wait_until(lambda: len(sleepers(2000, 2001, 2002)) == 3)
        (program,) = sleepers(2002)
        os.kill(program, 9)
        wait_until(lambda: lab.running.processes()[0].state == "dead" or not sleepers(2002))
        assert shell(lab, "fw", "echo still") == "still\n"
        lab.fail("instance", "fw")
        wait_until(lambda: not sleepers(2000, 2001, 2002))
        lab.heal("instance", "fw")
        wait_until(lambda: len(sleepers(2000, 2001, 2002)) == 3)
    wait_until(lambda: not sleepers(2000, 2001, 2002))


def test_down_takes_what_hides_in_nested_namespaces_of_a_program_of_an_exec_and_of_a_gateway() -> None:
    with Lab(world(), name="hidden", capture=False, wait=0) as lab:
        hide = "exec >/dev/null 2>&1; unshare -n -m -p -f setsid sleep {} &"
        for number, place in enumerate(("client", "fw", "igw", "inspect-node-a")):
            shell(lab, place, hide.format(2010 + number))
        wait_until(lambda: len(sleepers(2010, 2011, 2012, 2013)) == 4)
        inits = read("hidden").inits
    wait_until(lambda: not sleepers(2010, 2011, 2012, 2013))
    wait_until(lambda: not any(Path(f"/proc/{each.pid}/ns/net").exists() for each in inits))


def test_another_user_of_the_machine_does_not_reach_a_control_socket(lab: Lab) -> None:
    path = lab.running.state.control("inspect-node-a")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setresuid(65533, 65533, 65533)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
        except PermissionError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
