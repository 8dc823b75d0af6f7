"""What a drill is about when nobody says it: what the path model says is answered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from gwlbemu.errors import LabError, SettingError
from gwlbemu.topology.plan.ends import instance_named
from gwlbemu.topology.plan.values import Plan
from gwlbemu.trials.drill.participants import default_sender, servers_of
from gwlbemu.trials.drill.subject import Subject, subject_of
from gwlbemu.views.model import Model, Question
from gwlbemu.wire.protocols import TCP


def chosen_subject(plan: Plan, source: str | None, destinations: Sequence[str], port: int | None) -> Subject:
    """Return what a drill with these ends is about; without destinations one whose client is answered, if there is one.

    Gateway load balancers come first, where a web server answers the client by itself, then the others in the order of
    the file; where none is known to answer, gateway load balancers. Raises LabError where `subject_of` does.
    """
    subject = subject_of(plan, destinations, port)
    if destinations or subject.addressed_nodes or not subject.nodes:
        return subject
    model = Model(plan)
    others = [each.name for each in plan.load_balancers if each not in subject.balancers]
    if others and not _is_answered(model, subject, source):
        for name in others:
            with suppress(LabError):  # no listener that could be drilled, or not on that port, or nobody as a client
                other = subject_of(plan, (name,), port)
                if _is_answered(model, other, source):
                    return other
    return subject


def _is_answered(model: Model, subject: Subject, source: str | None) -> bool:
    """Whether the model says that some server of the subject answers its client, when all is well."""
    plan = model.plan
    try:
        sender = instance_named(plan, source) if source else default_sender(plan, subject)
    except SettingError:
        return False
    found = servers_of(plan, subject, sender, ())
    if not subject.addressed_nodes:
        found = [each for each in found if _may_listen(plan, each.name, subject.port)]
    said = (model.ask(Question(sender.name, each.address, TCP, subject.port)) for each in found)
    return any(all(one.answered for one in each.outcomes) for each in said)


def _may_listen(plan: Plan, instance: str, port: int) -> bool:
    """Whether a program runs there that may listen at a port; of a web server it is known."""
    programs = [each for each in plan.programs if each.instance == instance]
    return any(each.kind != "web" or each.listens == port for each in programs)
