"""A VPC of two zones with a network load balancer, as text, and the plain programs that its tests run inside."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from gwlbemu.public import Lab
from tests.waiting import wait_until

PUBLIC = {"a": "203.0.113.1", "b": "203.0.113.2"}
PRIVATE = {"a": "10.0.101.254", "b": "10.0.102.254"}  # the highest that are free
ADDRESSES = {"web-a": "10.0.1.10", "web-b": "10.0.2.10", "near": "10.0.1.20", "client": "198.51.100.10"}
QUICK = {
    "protocol": "HTTP", "port": 80, "interval_seconds": 5, "timeout_seconds": 2, "healthy_threshold_count": 2,
    "unhealthy_threshold_count": 2,
}  # fmt: skip
# Listener -> group, its protocol, its port and its targets. Of one target, so that a test knows which it is.
BOTH, ONLY_A, ONLY_B, NOBODY, ECHO = 80, 81, 82, 83, 7
_GROUPS: dict[int, tuple[str, str, int, list[str]]] = {
    BOTH: ("both", "TCP", 80, ["web-a", "web-b"]),
    ONLY_A: ("only-a", "TCP", 80, ["web-a"]),
    ONLY_B: ("only-b", "TCP", 80, ["web-b"]),
    NOBODY: ("nobody", "TCP", 9, ["web-a"]),  # nothing listens there
    ECHO: ("echo", "UDP", 7, ["web-a"]),
}


def front(
    *,
    lab: str = "front",
    shortcuts: bool = True,
    groups: Mapping[str, Mapping[str, object]] | None = None,
    security_groups: tuple[Mapping[str, Any], ...] = (),
    members: Mapping[str, list[str]] | None = None,
) -> str:
    """client -> igw -> front-node-Z -> web-Z, and `near` beside web-a. `groups` are attributes by target group.

    `members` are the names of security groups by what is in them: instances, or `front` for the load balancer.
    """
    inside = members or {}
    subnets = [
        {"name": f"{what}-{zone}", "zone": zone, "cidr": f"10.0.{first + number}.0/24", "route_table": "public"}
        for what, first in (("front", 101), ("app", 1))
        for number, zone in enumerate("ab")
    ]
    instances = [
        {"name": name, "subnet": subnet, "address": ADDRESSES[name], "security_groups": inside.get(name, [])}
        for name, subnet in (("web-a", "app-a"), ("web-b", "app-b"), ("near", "app-a"))
    ]
    for one in instances[:2]:
        one |= {"program": "web", "public_address": f"203.0.113.{10 + instances.index(one)}"}
    document = {
        "lab": lab,
        "shortcuts": shortcuts,
        "capture": {"enabled": False},
        "internet": {
            "cidr": "198.51.100.0/24",
            "instances": [{"name": "client", "address": ADDRESSES["client"]}],
        },
        "vpcs": [
            {
                "name": "app",
                "cidr": "10.0.0.0/16",
                "internet_gateway": {"name": "igw"},
                "subnets": subnets,
                "route_tables": [{"name": "public", "routes": [{"destination": "0.0.0.0/0", "target": "igw"}]}],
                "security_groups": [dict(each) for each in security_groups],
                "instances": instances,
            }
        ],
        "target_groups": [
            {
                "name": name, "vpc": "app", "protocol": protocol, "port": port, "target_type": "instance",
                "health_check": dict(QUICK), "attributes": dict((groups or {}).get(name, {})), "targets": targets,
            }
            for name, protocol, port, targets in _GROUPS.values()
        ],
        "load_balancers": [
            {
                "name": "front",
                "type": "network",
                "subnets": [
                    {"subnet": f"front-{zone}", "public_address": PUBLIC[zone]}
                    for zone in "ab"
                ],
                "security_groups": inside.get("front", []),
                "attributes": {"load_balancing.cross_zone.enabled": True},
                "listeners": [
                    {
                        "protocol": protocol, "port": listener,
                        "default_actions": [{"type": "forward", "target_group": name}],
                    }
                    for listener, (name, protocol, _, _) in _GROUPS.items()
                ],
            }
        ],
    }  # fmt: skip
    return yaml.safe_dump(document, sort_keys=False)


def ask(lab: Lab, who: str, address: str, port: int, *, seconds: float = 20.0) -> dict[str, Any] | int:
    """What the web server behind the load balancer says of who asked; curl's exit code where nobody answers."""
    done = lab.exec(who, ["curl", "-s", "-m", str(seconds), f"http://{address}:{port}/?json"])
    return dict(json.loads(done.stdout)) if done.code == 0 else done.code


_CONNECT = """
import socket, sys
source_port = int(sys.argv[1])
for place in sys.argv[2:]:
    address, _, port = place.partition(":")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", source_port))
        sock.settimeout(20)
        try:
            sock.connect((address, int(port)))
            sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
            print(answer.partition("\\r\\n\\r\\n")[2].splitlines()[1], flush=True)
        except OSError as error:
            print(type(error).__name__, flush=True)
"""
_SERVE = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"name": sys.argv[1], "peer_address": self.client_address[0]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
with http.server.ThreadingHTTPServer(("", 80), Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
"""
_ECHO = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 7))
print("ready", flush=True)
while True:
    data, peer = sock.recvfrom(65535)
    sock.sendto(peer[0].encode() + b" " + data, peer)
"""
_SAY = """
import socket, sys
source_port, length, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("", source_port))
    sock.settimeout(seconds)
    for address in sys.argv[4:]:
        sock.sendto(b"x" * length, (address, 7))
        try:
            data, peer = sock.recvfrom(65535)
            print(address, peer[0], data.split()[0].decode(), len(data.split()[1]))
        except TimeoutError:
            print(address, "silence")
"""


@contextmanager
def serving(lab: Lab, name: str) -> Iterator[None]:
    """A web server at an instance that has none, which answers `ask` as the others do."""
    server = lab.spawn(name, [sys.executable, "-c", _SERVE, name])
    try:
        wait_until(server.output, what="the web server")
        yield
    finally:
        server.kill()


@contextmanager
def echoing(lab: Lab, name: str = "web-a") -> Iterator[None]:
    """A server at UDP port 7 of an instance that answers with the address of who asked, and what he said."""
    server = lab.spawn(name, [sys.executable, "-c", _ECHO])
    try:
        wait_until(server.output, what="the echo server")
        yield
    finally:
        server.kill()


def say(
    lab: Lab, who: str, *addresses: str, length: int = 10, source_port: int = 0, seconds: float = 20.0
) -> list[list[str]]:
    """Datagrams from one socket to UDP port 7 of each address in turn: who answered, whom it saw, how much."""
    words = [sys.executable, "-c", _SAY, str(source_port), str(length), str(seconds), *addresses]
    return [line.split() for line in lab.exec(who, words, timeout=60).stdout.splitlines()]


def connect(lab: Lab, who: str, source_port: int, *places: str) -> list[str]:
    """A request from the same source port to the web servers at each `ADDRESS:PORT` in turn: whom they say they saw."""
    return lab.exec(who, [sys.executable, "-c", _CONNECT, str(source_port), *places], timeout=120).stdout.splitlines()
