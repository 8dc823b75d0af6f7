"""Designs with network load balancers: what `designs` has for gateway load balancers.

Nodes are in subnets `front-ZONE`, targets in `app-ZONE`; whoever is a target listens at TCP 80 and UDP 53 and 4500, as
every instance does for the observer, so that a target group at another port is one where nobody answers but by a reset.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.differential.designs import ANY, Document, Draft, Vpc

FRONT, APP, ZONE_LETTERS = 1, 3, "abc"
PRESERVE, CROSS_ZONE = "preserve_client_ip.enabled", "load_balancing.cross_zone.enabled"
CHECK = {"protocol": "TCP", "port": 80, "interval_seconds": 5, "timeout_seconds": 2, "healthy_threshold_count": 2,
         "unhealthy_threshold_count": 2}  # fmt: skip
NOBODY = 9999  # at which no health check is answered
LISTENERS = (80, 443, 8080, 53, 5353)


def front(draft: Draft) -> None:
    """Clients on the internet and in the VPC, targets behind static addresses."""
    draft.internet()
    app = _app(draft, inspected=False)
    _balance(draft, app)


def inspected_front(draft: Draft) -> None:
    """The same, and a gateway load balancer looks at what comes to the nodes from the internet, and at answers."""
    draft.internet()
    app = _app(draft, inspected=True)
    _balance(draft, app)
    draft.balancers("inspect")


def far_front(draft: Draft) -> None:
    """Clients in another VPC behind a transit gateway, and perhaps targets there, by address."""
    app = _app(draft, inspected=False, gateway=False)
    spoke = draft.vpc("spoke", 7)
    for zone in draft.zones:
        spoke.subnet("spoke", zone, 1)
        spoke.default(f"spoke-{zone}", "tgw")
        spoke.instance(f"far-{zone}", f"spoke-{zone}")
        for table in ("front", "app"):
            app.route(f"{table}-{zone}", "10.7.0.0/16", "tgw")
    attachments: list[Document] = [
        {
            "name": "to-spoke",
            "vpc": "spoke",
            "subnets": [f"spoke-{z}" for z in draft.zones],
            "route_table": "everything",
        },
        {"name": "to-app", "vpc": "app", "subnets": [f"app-{z}" for z in draft.zones], "route_table": "everything"},
    ]
    lines = [{"destination": "10.0.0.0/16", "target": "to-app"}, {"destination": "10.7.0.0/16", "target": "to-spoke"}]
    tables = [{"name": "everything", "routes": lines}]
    draft.document["transit_gateways"] = [{"name": "tgw", "attachments": attachments, "route_tables": tables}]
    outside = [one["address"] for one in spoke.body["instances"]] if draft.random.random() < 0.5 else []
    _balance(draft, app, outside)


def _app(draft: Draft, *, inspected: bool, gateway: bool = True) -> Vpc:
    draft.ipv6 = False
    random = draft.random
    app = draft.vpc("app", 0, gateway="igw" if gateway else "", edge="edge" if inspected else "")
    if inspected:
        app.table("edge")
    for number, zone in enumerate(draft.zones):
        app.subnet("front", zone, FRONT)
        app.subnet("app", zone, APP)
        if inspected:
            app.subnet("ep", zone, 5)
            app.endpoint("vpce", zone, "ep", "inspect")
            app.to_subnet("edge", FRONT, zone, f"vpce-{zone}")
            app.default(f"front-{zone}", f"vpce-{zone}")
            app.default(f"ep-{zone}", "igw")
        elif gateway:
            app.default(f"front-{zone}", "igw")
        public = gateway and random.random() < 0.5
        if public:
            app.default(f"app-{zone}", "igw")
        for index in range(random.choice((1, 2, 2, 3))):
            address = f"203.0.113.{60 + 10 * number + index}" if public else ""
            app.instance(f"web-{zone}{index + 1}", f"app-{zone}", public=address)
        if random.random() < 0.5:
            app.instance(f"host-{zone}", f"front-{zone}")
    return app


def _balance(draft: Draft, app: Vpc, outside: list[str] | None = None) -> None:
    """Add one or two load balancers before the instances of the app subnets; `outside` are targets by address."""
    random, document = draft.random, draft.document
    webs = [one for one in app.body["instances"] if one["name"].startswith("web-")]
    faces = "internet" in document and random.random() < 0.8
    grouped = random.random() < 0.4
    for number in range(random.choice((1, 1, 1, 2))):
        name = f"nlb{number + 1}"
        zones = draft.zones if random.random() < 0.8 else draft.zones[:1]
        here = [one for one in webs if one["subnet"][-1] in zones]
        groups = [
            _group(draft, f"{name}-tg{index + 1}", here, outside or []) for index in range(random.choice((1, 2, 3)))
        ]
        document["target_groups"] += groups
        subnets = [
            {"subnet": f"front-{zone}"}
            | ({"public_address": f"203.0.113.{150 + 10 * number + ZONE_LETTERS.index(zone)}"} if faces else {})
            for zone in zones
        ]
        balancer: Document = {
            "name": name, "type": "network", "scheme": "internet-facing" if faces else "internal", "subnets": subnets,
            "attributes": {CROSS_ZONE: random.random() < 0.5}, "listeners": list(_listeners(draft, groups)),
        }  # fmt: skip
        if grouped:
            balancer["security_groups"] = ["lb"]
        document["load_balancers"].append(balancer)
    if grouped:
        _security_groups(draft, app, webs)


def _group(draft: Draft, name: str, webs: list[Document], outside: list[str]) -> Document:
    random = draft.random
    protocol = random.choice(("TCP", "TCP", "TCP", "UDP", "TCP_UDP"))
    port = random.choice({"TCP": (80, 80, 22), "UDP": (53, 4500), "TCP_UDP": (53, 4500)}[protocol])
    by_address = random.random() < 0.4
    chosen = [one for one in webs if random.random() < 0.7] or webs[:1]
    attributes: Document = {}
    if protocol == "TCP" and random.random() < 0.5:
        attributes[PRESERVE] = random.random() < 0.5
    if random.random() < 0.3:
        attributes |= {"stickiness.enabled": True, "stickiness.type": "source_ip"}
    if random.random() < 0.3:
        attributes[CROSS_ZONE] = random.choice(("true", "false"))
    targets: list[object] = [one["address" if by_address else "name"] for one in chosen]
    if by_address and outside and protocol == "TCP":
        targets += [{"id": address} for address in outside]
        attributes[PRESERVE] = False
    if protocol == "TCP" and random.random() < 0.2:
        targets.append({"id": targets[0], "port": 2222})
    check = dict(CHECK)
    if random.random() < 0.2:
        check["port"] = NOBODY
    return {
        "name": name, "vpc": "app", "protocol": protocol, "port": port,
        "target_type": "ip" if by_address else "instance", "health_check": check, "attributes": attributes,
        "targets": targets,
    }  # fmt: skip


def _listeners(draft: Draft, groups: list[Document]) -> list[Document]:
    random, ports = draft.random, draft.random.sample(LISTENERS, len(LISTENERS))
    found = []
    for group in groups:
        action: Document = {"type": "forward", "target_group": group["name"]}
        alike = [one["name"] for one in groups if one["protocol"] == group["protocol"]]
        if len(alike) > 1 and random.random() < 0.5:
            weighted = [{"target_group": name, "weight": random.choice((1, 2, 7))} for name in alike]
            config: Document = {"target_groups": weighted}
            if random.random() < 0.3:
                config["target_group_stickiness_config"] = {"enabled": True}
            action = {"type": "forward", "forward_config": config}
        found.append({"protocol": group["protocol"], "port": ports.pop(), "default_actions": [action]})
    return found


def _security_groups(draft: Draft, app: Vpc, webs: list[Document]) -> None:
    """Groups of the load balancers and of some targets, by what somebody would write, or forget."""
    random = draft.random
    inside = random.choice((ANY, ANY, "10.0.0.0/8", "198.51.100.0/24"))
    lb: Document = {"name": "lb", "ingress": [{"protocol": "all", "source": inside}]}
    if random.random() < 0.3:
        lb["egress"] = [{"protocol": "tcp", "ports": random.choice(("80", "1-1000")), "destination": "10.0.0.0/8"}]
    source = random.choice(("lb", "lb", "10.0.0.0/16", ANY))
    tg: Document = {"name": "tg", "ingress": [{"protocol": "tcp", "ports": "1-3000", "source": source}]}
    if random.random() < 0.7:
        tg["ingress"].append({"protocol": "udp", "ports": "1-5000", "source": random.choice(("lb", ANY))})
    app.body["security_groups"] = [lb, tg]
    for one in webs:
        if random.random() < 0.7:
            one["security_groups"] = ["tg"]


NETWORK_DESIGNS: dict[str, Callable[[Draft], None]] = {
    "front": front,
    "inspected-front": inspected_front,
    "far-front": far_front,
}
