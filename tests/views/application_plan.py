"""The plan of a lab with an application load balancer `web` in two zones, whose group `pages` has web-a and web-b."""

from __future__ import annotations

from dataclasses import replace

from gwlbemu.core.elb.balancer_types import APPLICATION, ATTRIBUTES
from gwlbemu.topology.plan.resolve import load
from gwlbemu.topology.plan.values import ApplicationNode, Plan
from tests.lab.fronts import front


def application_plan() -> Plan:
    """The plan of `fronts.front`, its load balancer made one of the other type."""
    plan = load(front(lab="web").replace("name: front\n", "name: web\n"), "web.yaml")
    (balancer,) = plan.load_balancers
    rows = ATTRIBUTES[APPLICATION]
    defaults = {
        kind: {key: row.text(row.default) for key, row in rows.rows(kind).items()}
        for kind in ("load-balancer", "listener", "target-group")
    }
    listener = replace(balancer.listeners[0], protocol="HTTP", attributes=defaults["listener"])
    group = next(each for each in plan.target_groups if each.name == "both")
    pages = replace(group, name="pages", protocol="HTTP", protocol_version="HTTP1", attributes=defaults["target-group"])
    action = listener.default_actions[0]
    forward = replace(action, target_groups=tuple(replace(each, target_group="pages") for each in action.target_groups))
    nodes = tuple(
        ApplicationNode(**{key: getattr(node, key) for key in ApplicationNode.__dataclass_fields__})
        for node in plan.network_nodes
    )
    return replace(
        plan,
        network_nodes=(),
        application_nodes=nodes,
        target_groups=(pages,),
        load_balancers=(
            replace(
                balancer,
                type=APPLICATION,
                attributes=defaults["load-balancer"],
                listeners=(replace(listener, default_actions=(forward,)),),
            ),
        ),
    )
