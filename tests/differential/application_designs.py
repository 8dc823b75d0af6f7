"""Designs with application load balancers: what `designs` has for gateway load balancers, and `network_designs`.

Nodes are in subnets `alb-ZONE`, those of a network load balancer before them in `front-ZONE`, targets in `app-ZONE`. A
listener answers `/health` by itself: what a network load balancer knows of a node says nothing of the targets behind.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.differential.designs import ANY, Document, Draft, Vpc
from tests.differential.network_designs import APP, CHECK, CROSS_ZONE, FRONT, NOBODY, PRESERVE, ZONE_LETTERS

ALB, ENDPOINTS = 6, 5
LISTENERS = (80, 443, 8080)
HTTP_CHECK = CHECK | {"protocol": "HTTP"}
HEALTH = "/health"


def web(draft: Draft) -> None:
    """Clients on the internet and in the VPC, servers behind an application load balancer."""
    draft.internet()
    app = _app(draft)
    _balance(draft, app)


def inspected_web(draft: Draft) -> None:
    """The same, and a gateway load balancer looks at what comes to the nodes from the internet, and at answers."""
    draft.internet()
    app = _app(draft, inspected=True)
    _balance(draft, app)
    draft.balancers("inspect")


def inspected_servers(draft: Draft) -> None:
    """A gateway load balancer looks at what goes between nodes and servers: by routes more specific than local."""
    draft.internet()
    app = _app(draft)
    own = draft.random.random() < 0.6  # the endpoint of the node's zone for both directions, or each side its own
    for zone in draft.zones:
        app.subnet("ep", zone, ENDPOINTS)
        app.endpoint("vpce", zone, "ep", "inspect")
        for other in draft.zones:
            app.to_subnet(f"alb-{zone}", APP, other, f"vpce-{zone}")
            app.to_subnet(f"app-{zone}", ALB, other, f"vpce-{other if own else zone}")
    _balance(draft, app)
    draft.balancers("inspect")


def fronted_web(draft: Draft) -> None:
    """A network load balancer in front of the application load balancer, inspected or not."""
    draft.internet()
    inspected = draft.random.random() < 0.4
    app = _app(draft, inspected=inspected, front=True)
    _balance(draft, app, front=True)
    if inspected:
        draft.balancers("inspect")


def far_web(draft: Draft) -> None:
    """Clients in another VPC behind a transit gateway, and servers there, by address."""
    app = _app(draft, gateway=False)
    spoke = draft.vpc("spoke", 7)
    for zone in draft.zones:
        spoke.subnet("spoke", zone, 1)
        spoke.default(f"spoke-{zone}", "tgw")
        spoke.instance(f"far-{zone}", f"spoke-{zone}")
        for table in ("alb", "app"):
            app.route(f"{table}-{zone}", "10.7.0.0/16", "tgw")
    attachments: list[Document] = [
        {"name": f"to-{name}", "vpc": vpc, "subnets": [f"{subnet}-{zone}" for zone in draft.zones],
         "route_table": "everything"}
        for name, vpc, subnet in (("spoke", "spoke", "spoke"), ("app", "app", "app"))
    ]  # fmt: skip
    lines = [{"destination": "10.0.0.0/16", "target": "to-app"}, {"destination": "10.7.0.0/16", "target": "to-spoke"}]
    tables = [{"name": "everything", "routes": lines}]
    draft.document["transit_gateways"] = [{"name": "tgw", "attachments": attachments, "route_tables": tables}]
    _balance(draft, app, outside=[one["address"] for one in spoke.body["instances"]])


def _app(draft: Draft, *, inspected: bool = False, gateway: bool = True, front: bool = False) -> Vpc:
    draft.ipv6 = draft.ipv6 and gateway and not front  # over IPv6 alone an application load balancer is looked at
    random = draft.random
    app = draft.vpc("app", 0, gateway="igw" if gateway else "", edge="edge" if inspected else "")
    if inspected:
        app.table("edge")
    for number, zone in enumerate(draft.zones):
        doors = [("alb", ALB), *([("front", FRONT)] if front else [])]
        for name, third in (*doors, ("app", APP)):
            app.subnet(name, zone, third)
        if inspected:
            app.subnet("ep", zone, ENDPOINTS)
            app.endpoint("vpce", zone, "ep", "inspect")
            app.default(f"ep-{zone}", "igw")
        for name, third in doors if gateway else ():
            if inspected:
                app.to_subnet("edge", third, zone, f"vpce-{zone}")
            app.default(f"{name}-{zone}", f"vpce-{zone}" if inspected else "igw")
        public = gateway and random.random() < 0.4
        if public:
            app.default(f"app-{zone}", "igw")
        for index in range(random.choice((1, 2, 2, 3))):
            address = f"203.0.113.{60 + 10 * number + index}" if public else ""
            app.instance(f"web-{zone}{index + 1}", f"app-{zone}", public=address)
        if random.random() < 0.5:
            app.instance(f"host-{zone}", f"alb-{zone}")
    return app


def _balance(draft: Draft, app: Vpc, *, front: bool = False, outside: list[str] | None = None) -> None:
    """Add an application load balancer before the instances of the app subnets, and with `front` a network load
    balancer before it; `outside` are targets by address.
    """
    random, document = draft.random, draft.document
    webs = [one for one in app.body["instances"] if one["name"].startswith("web-")]
    faces = "internet" in document and random.random() < (0.3 if front else 0.8)
    grouped = random.random() < 0.5
    ports = random.sample(LISTENERS, random.choice((1, 2, 2)))
    groups = [_group(draft, f"tg{port}", webs, outside or []) for port in ports]
    document["target_groups"] += groups
    balancer: Document = {
        "name": "alb", "type": "application", "scheme": "internet-facing" if faces else "internal",
        "subnets": [f"alb-{zone}" for zone in draft.zones],
        "listeners": [_listener(port, group["name"]) for port, group in zip(ports, groups, strict=True)],
    }  # fmt: skip
    if draft.ipv6:
        balancer["ip_address_type"] = "dualstack"
    if grouped:
        balancer["security_groups"] = ["alb"]
    document["load_balancers"].append(balancer)
    if front:
        _put_in_front(draft, ports, grouped=grouped)
    if grouped:
        _security_groups(draft, app, webs, front=front)


def _listener(port: int, group: str) -> Document:
    fixed = {"type": "fixed-response", "fixed_response_config": {"status_code": "200"}}
    return {
        "protocol": "HTTP", "port": port, "default_actions": [{"type": "forward", "target_group": group}],
        "rules": [
            {"priority": 1, "conditions": [{"field": "path-pattern", "values": [HEALTH]}], "actions": [fixed]}
        ],
    }  # fmt: skip


def _group(draft: Draft, name: str, webs: list[Document], outside: list[str]) -> Document:
    random = draft.random
    by_address = bool(outside) or random.random() < 0.4
    chosen = [one for one in webs if random.random() < 0.7] or webs[:1]
    targets: list[object] = [one["address" if by_address else "name"] for one in chosen]
    targets += outside if random.random() < 0.7 else []
    check = dict(HTTP_CHECK)
    if random.random() < 0.2:
        check["port"] = NOBODY
    attributes = {CROSS_ZONE: random.choice(("true", "false"))} if random.random() < 0.3 else {}
    return {
        "name": name, "vpc": "app", "protocol": "HTTP", "port": random.choice((80, 80, 22)),
        "target_type": "ip" if by_address else "instance", "health_check": check, "attributes": attributes,
        "targets": targets,
    }  # fmt: skip


def _put_in_front(draft: Draft, ports: list[int], *, grouped: bool) -> None:
    """Add a network load balancer whose targets are the nodes; perhaps one listener ends at a proxy in its nodes."""
    random, document = draft.random, draft.document
    faces = random.random() < 0.8
    groups: list[Document] = [
        {"name": f"alb{port}", "vpc": "app", "protocol": "TCP", "port": port, "target_type": "alb", "targets": ["alb"],
         "health_check": {key: value for key, value in HTTP_CHECK.items() if key != "port"} | {"path": HEALTH}}
        for port in ports
    ]  # fmt: skip
    listeners = [(port, f"alb{port}") for port in ports]
    if random.random() < 0.4:
        webs = [one["name"] for vpc in document["vpcs"] for one in vpc["instances"] if one["name"].startswith("web-")]
        attributes = {"proxy_protocol_v2.enabled": True, PRESERVE: random.random() < 0.5}
        groups.append(
            {"name": "announced", "vpc": "app", "protocol": "TCP", "port": 80, "targets": webs[:1],
             "health_check": dict(CHECK), "attributes": attributes}
        )  # fmt: skip
        listeners.append((5000, "announced"))
    document["target_groups"] += groups
    subnets = [
        {"subnet": f"front-{zone}"}
        | ({"public_address": f"203.0.113.{150 + ZONE_LETTERS.index(zone)}"} if faces else {})
        for zone in draft.zones
    ]
    balancer: Document = {
        "name": "nlb", "type": "network", "scheme": "internet-facing" if faces else "internal", "subnets": subnets,
        "attributes": {CROSS_ZONE: random.random() < 0.5},
        "listeners": [
            {"protocol": "TCP", "port": port, "default_actions": [{"type": "forward", "target_group": name}]}
            for port, name in listeners
        ],
    }  # fmt: skip
    if grouped and random.random() < 0.7:
        balancer["security_groups"] = ["lb"]
    document["load_balancers"].append(balancer)


def _security_groups(draft: Draft, app: Vpc, webs: list[Document], *, front: bool) -> None:
    """Groups of the load balancers and of some servers, by what somebody would write, or forget."""
    random = draft.random
    sources = (ANY, ANY, "10.0.0.0/8", "198.51.100.0/24")
    lb: Document = {"name": "lb", "ingress": [{"protocol": "all", "source": random.choice(sources)}]}
    source = random.choice((*sources, "lb", "lb") if front else sources)
    alb: Document = {"name": "alb", "ingress": [{"protocol": "tcp", "ports": "80-8080", "source": source}]}
    if draft.ipv6 and random.random() < 0.7:
        alb["ingress"].append({"protocol": "tcp", "ports": "80-8080", "source": "::/0"})
    if random.random() < 0.5:
        alb["ingress"].append({"protocol": "icmp", "source": ANY})
    if random.random() < 0.4:
        alb["egress"] = [{"protocol": "tcp", "ports": random.choice(("80", "1-1000")), "destination": "tg"}]
    source = random.choice(("alb", "alb", "10.0.0.0/16", ANY))
    tg: Document = {"name": "tg", "ingress": [{"protocol": "tcp", "ports": "1-3000", "source": source}]}
    app.body["security_groups"] = [lb, alb, tg]
    for one in webs:
        if random.random() < 0.8:
            one["security_groups"] = ["tg"]


APPLICATION_DESIGNS: dict[str, Callable[[Draft], None]] = {
    "web": web,
    "inspected-web": inspected_web,
    "inspected-servers": inspected_servers,
    "fronted-web": fronted_web,
    "far-web": far_web,
}
