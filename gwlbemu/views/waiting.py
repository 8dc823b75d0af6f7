"""Waiting until a lab is well, and what is wrong with one that is not."""

from __future__ import annotations

import time

from gwlbemu.lab.engines import needs_proxy
from gwlbemu.lab.running import RunningLab
from gwlbemu.topology.names import RESOLVER
from gwlbemu.views.ask import ask
from gwlbemu.views.last_words import last_words
from gwlbemu.views.targets import read_targets


def wait_until_healthy(lab: RunningLab, timeout: float) -> list[str]:
    """Wait until names are answered, proxies run and every registered target is healthy at every node.

    Returns what is still not so, one sentence each.

    Does not wait for a process that has died; then what has had no time to get ready is not among the sentences.
    """
    give_up_at = time.monotonic() + timeout
    while True:
        # Looked for first: whoever dies after this is among the troubles of the next round.
        dead = any(process.state == "dead" for process in lab.processes())
        lasting, passing = _troubles(lab)
        if dead and lasting:
            return lasting
        if (not lasting and not passing) or time.monotonic() > give_up_at:
            return lasting + passing
        time.sleep(0.05)


def _troubles(lab: RunningLab) -> tuple[list[str], list[str]]:
    """What is wrong, and what is only not ready yet."""
    lasting: list[str] = []
    passing: list[str] = []
    unwell = {process.name: process for process in lab.processes() if process.state != "running"}
    for process in unwell.values():
        words = last_words(process)
        sentence = f"{process.name} is {process.state}{f': {words}' if words else ''}; see {process.log}"
        if process.state != "ended":  # of that one, its targets' health tells whether it was meant to
            lasting.append(sentence)
    if RESOLVER not in unwell and not lab.state.control(RESOLVER).exists():
        passing.append(f"{RESOLVER} is not ready yet")
    passing += _proxies(lab)
    targets = read_targets(lab)
    for node in targets.silent:
        if node.process not in unwell:
            ready = lab.state.control(node.process).exists()
            (lasting if ready else passing).append(node.sentence if ready else f"{node.process} is not ready yet")
    several = {node.name for node in lab.plan.nodes if len(lab.plan.groups_of(node.load_balancer)) > 1}
    for target in targets.items:
        if target.state not in ("healthy", "unused"):
            name = f"{target.id} of {target.target_group}" if target.node in several else target.id
            sentence = f"{name} is {target.state} for {target.node}: {target.description or target.reason}"
            (passing if target.state == "initial" else lasting).append(sentence)
            instance = target.id.partition(":")[0]
            ended = unwell.get(instance)
            if ended is not None and ended.state == "ended" and target.state != "initial":
                lasting.append(f"the program of {instance} has ended: {last_words(ended)}; see {ended.log}")
    return lasting, passing


def _proxies(lab: RunningLab) -> list[str]:
    """The nodes whose proxy does not run yet. Of one that is silent nothing is said here."""
    plan = lab.plan
    nodes = [node.name for node in plan.addressed_nodes if needs_proxy(plan, node)]
    answers, _ = ask(lab, nodes, {"status": {}})
    states = {name: answer["status"].get("proxy", "") for name, answer in answers.items()}
    return [f"the proxy of {name} does not run: {state}" for name, state in states.items() if state != "running"]
