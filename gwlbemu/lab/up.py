"""A plan made real: `up` builds its namespaces and starts its processes.

This file composes: `net` builds and removes, the processes that it starts do the rest.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gwlbemu.errors import LabError, NetError
from gwlbemu.fastpath.build import cache_folder
from gwlbemu.lab import shortcuts
from gwlbemu.lab.commands import ROOT_FOLDER, filled_in, is_own, own_module
from gwlbemu.lab.configs import (
    application_config_for,
    capture_config_for,
    fresh_secret,
    network_config_for,
    node_config_for,
    resolv_conf_of,
    resolver_config_for,
)
from gwlbemu.lab.control import call
from gwlbemu.lab.engines import proxied_nodes, proxy_name, start_proxy
from gwlbemu.lab.running import CAPTURE, RunningLab
from gwlbemu.lab.state import CLOSED, LAB_USER, State, sealed
from gwlbemu.net.inits import ensure_init, start_init
from gwlbemu.net.namespaces import path_of
from gwlbemu.net.record import ROOT, OwnedInit, Record, open_new
from gwlbemu.net.remove import take_down
from gwlbemu.net.spawn import spawn
from gwlbemu.topology.names import RESOLVER
from gwlbemu.topology.plan.encode import to_json
from gwlbemu.topology.plan.values import ApplicationNode, NetworkNode, Plan, Program
from gwlbemu.yaml_file import YamlError, read_text

if TYPE_CHECKING:
    from gwlbemu.lab.certificates import Certificates

OnStep = Callable[[str], None]
_PROXIES_SECONDS = 3.0
_APPLICATION, _NETWORK = "gwlbemu.programs.application.keeper", "gwlbemu.programs.network.keeper"


def up(plan: Plan, *, seed: str | None = None, root: Path = ROOT, on_step: OnStep = lambda _: None) -> RunningLab:
    """Build the plan's namespaces and start its processes; on any failure nothing of it is left.

    With the same `seed` cookies, outer ports and the choice of targets are the same in every run of the same topology,
    whatever the lab's name; without it the lab makes a secret of its own.
    Returns as soon as every process is started; `wait_until_healthy` waits for the targets.
    """
    from gwlbemu.net.build import build  # pyroute2: 0.15 s that only a command which builds shall pay

    state = State(plan.lab, root)
    secret = fresh_secret() if seed is None else seed
    proxied = proxied_nodes(plan)
    told = read_certificates(plan)
    _compile_programs(plan, on_step)
    with open_new(plan.lab, root=root) as record:
        try:
            state.make_folders()
            state.keep(state.plan, sealed(to_json(plan)))
            state.keep(state.secret, secret, mode=CLOSED)
            _keep_source(plan, state)
            state.keep(state.directory, str(_command_folder(plan)))
            build(plan, record, on_step=on_step)
            on_step("install shortcuts")
            shortcuts.install(plan, state)
            if told is not None:
                _keep_certificates(plan, state, told)
            for node in proxied:
                on_step(f"start {proxy_name(node.name)}")
                start_proxy(node, state, record)
            _start_processes(plan, state, secret, record, on_step)
        except BaseException as error:
            with uninterrupted():
                take_down(record, grace=0.2)
            if isinstance(error, OSError):
                what = f"{error.filename}: " if error.filename else ""
                raise NetError(f"lab {plan.lab} cannot be made: {what}{error.strerror or error}") from error
            raise
    return RunningLab(plan, state)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal to end stop the block; it ends the process afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _compile_programs(plan: Plan, on_step: OnStep) -> None:
    """Compile the eBPF programs once, not in every node at the same time. NetError when the nodes' has to be there.

    Where they cannot be compiled, a node with `datapath: auto` goes without and its status says why; so do shortcuts.
    """
    from gwlbemu.fastpath.build import NODE, VPC, missing

    on_step("compile the eBPF programs")
    if plan.shortcuts:
        missing(cache_folder(), VPC)
    if plan.gateway_nodes and plan.datapath != "python":
        reason = missing(cache_folder(), NODE)
        if reason is not None and plan.datapath == "ebpf":
            raise NetError(f"datapath ebpf is not possible here: {reason} (datapath auto would use Python)")


def _keep_source(plan: Plan, state: State) -> None:
    """Keep the text of the topology file, for those who name its lines later; a plan may come without a file."""
    with suppress(OSError, YamlError):
        text = read_text(Path(plan.source))
        state.keep(state.topology, text)


def read_certificates(plan: Plan) -> Certificates | None:
    """Return what the TLS listeners of a plan need, None without one; files are beside the topology file.

    Raises AwsError, with AWS's code, for a file that is not there or will not do.
    """
    if all(listener.tls is None for balancer in plan.load_balancers for listener in balancer.listeners):
        return None
    from gwlbemu.lab.certificates import certificates  # 0.1 s that only a lab with TLS listeners shall pay

    return certificates(plan, _command_folder(plan))


def _keep_certificates(plan: Plan, state: State, told: Certificates) -> None:
    """Write what TLS listeners need into the folders of the nodes, for their proxies alone to read."""
    state.keep(state.authority, told.authority)
    for node in plan.addressed_nodes:
        if node.load_balancer in told.files:
            state.make_own(node.name, user=LAB_USER)
        for name, text in told.files.get(node.load_balancer, {}).items():
            path = state.own(node.name) / name
            state.write_new(path, text)
            with suppress(OSError):
                os.chown(path, LAB_USER, LAB_USER)


def _command_folder(plan: Plan) -> Path:
    """The folder of the topology file; of a topology without a file, where we are."""
    with suppress(OSError):
        source = Path(plan.source)
        return source.resolve().parent if source.is_file() else Path.cwd()
    return ROOT_FOLDER  # what we are in has been removed


def _start_processes(plan: Plan, state: State, secret: str, record: Record, on_step: OnStep) -> None:
    """The capture first, so that it sees everything, and names before those who ask for them; appliances before the
    nodes that probe them.
    """
    if plan.capture.enabled:
        config = state.node(CAPTURE)
        state.keep(config, capture_config_for(plan, state), mode=CLOSED)
        _start(
            record,
            state,
            CAPTURE,
            plan.namespaces[0].name,
            own_module("gwlbemu.programs.recorder.recorder", str(config), user=LAB_USER),
            on_step,
        )
    start_resolver(plan, state, secret, record, on_step)
    for program in plan.programs:
        start_program(plan, program, state, record, on_step, start=start_init)
    for node in plan.gateway_nodes:
        config = state.node(node.name)
        state.keep(config, node_config_for(plan, node.name, state, secret).to_json(), mode=CLOSED)
        _start(
            record,
            state,
            node.name,
            node.namespace,
            own_module("gwlbemu.programs.gateway.node", str(config), user=LAB_USER),
            on_step,
        )
    for application in plan.application_nodes:
        start_keeper(plan, application, state, secret, record, on_step)
    _wait_for_proxies(plan, state)
    for network in plan.network_nodes:
        start_keeper(plan, network, state, secret, record, on_step)


def _wait_for_proxies(plan: Plan, state: State) -> None:
    """Let application load balancers that are targets answer before somebody probes them; a late one fails its first
    health checks, no more.
    """
    targets = {target.id for group in plan.target_groups if group.target_type == "alb" for target in group.targets}
    waiting = [node.name for node in plan.application_nodes if node.name in targets]
    give_up_at = time.monotonic() + _PROXIES_SECONDS
    while waiting and time.monotonic() < give_up_at:
        with suppress(LabError):
            if call(state.control(waiting[0]), "status")["proxy"] == "running":
                waiting.pop(0)
                continue
        time.sleep(0.02)


def start_resolver(plan: Plan, state: State, secret: str, record: Record, on_step: OnStep = lambda _: None) -> None:
    """Start what answers the names of a lab; what is left of an earlier one makes way."""
    config = state.node(RESOLVER)
    config.unlink(missing_ok=True)
    state.keep(config, resolver_config_for(plan, state, secret), mode=CLOSED)
    state.control(RESOLVER).unlink(missing_ok=True)
    argv = own_module("gwlbemu.programs.resolver.resolver", str(config), user=LAB_USER)
    _start(record, state, RESOLVER, plan.namespaces[0].name, argv, on_step)


def start_keeper(
    plan: Plan,
    node: NetworkNode | ApplicationNode,
    state: State,
    secret: str,
    record: Record,
    on_step: OnStep = lambda _: None,
) -> None:
    """Start the keeper of a node that is no gateway load balancer's; what is left of an earlier one makes way."""
    config = state.node(node.name)
    config.unlink(missing_ok=True)
    if isinstance(node, ApplicationNode):
        module, text = _APPLICATION, application_config_for(plan, node.name, state, secret).to_json()
    else:
        module, text = _NETWORK, network_config_for(plan, node.name, state, secret).to_json()
    state.keep(config, text, mode=CLOSED)
    state.control(node.name).unlink(missing_ok=True)
    argv = own_module(module, str(config), user=LAB_USER)
    _start(record, state, node.name, node.namespace, argv, on_step)


def start_program(
    plan: Plan,
    program: Program,
    state: State,
    record: Record,
    on_step: OnStep = lambda _: None,
    *,
    start: Callable[..., OwnedInit] = ensure_init,
) -> None:
    """Start the program of an instance; what is left of an earlier one in the state folder makes way.

    `start` gives the instance's init: `ensure_init`, or `start_init` where there can be none yet.
    """
    own = is_own(program.argv)
    state.make_own(program.instance, user=LAB_USER if own else 0)
    state.control(program.instance).unlink(missing_ok=True)
    folder = _kept_command_folder(state)
    argv = _command(program, state, folder)
    on_step(f"start {program.instance}")
    spawn(
        record,
        program.instance,
        argv,
        namespace=path_of(program.namespace),
        log=state.make_log(program.instance),
        directory=ROOT_FOLDER if own else folder,
        init=start(
            record,
            program.namespace,
            own=state.own(program.instance),
            resolv_conf=resolv_conf_of(plan, program.instance),
            authority=state.authority,
            cache=cache_folder(),
        ),
    )


def _kept_command_folder(state: State) -> Path:
    with suppress(OSError):
        folder = Path(state.directory.read_text())
        if folder.is_dir():
            return folder
    return ROOT_FOLDER  # it is gone, or the lab was brought up by a version that kept none


def _start(record: Record, state: State, name: str, namespace: str, argv: list[str], on_step: OnStep) -> None:
    """Start a process that is the lab's own, and in no instance."""
    state.make_own(name, user=LAB_USER)
    on_step(f"start {name}")
    spawn(record, name, argv, namespace=path_of(namespace), log=state.make_log(name))


def _command(program: Program, state: State, folder: Path) -> list[str]:
    """Fill in what only the machine knows: the interpreter and the paths of the lab."""
    name = program.instance
    config = state.program(name)
    if program.config:
        state.write_new(config, program.config)
    known = {
        "{config}": str(config),
        "{log}": str(state.decisions(name)),
        "{control}": str(state.control(name)),
    }
    return filled_in(program.argv, known, folder)
