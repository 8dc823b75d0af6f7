"""A whole run, from an empty machine to its results and back to an empty machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gwlbemu.bench import loads, machine, tools
from gwlbemu.bench.figures import Figure
from gwlbemu.bench.labs import path_labs
from gwlbemu.bench.results import Results
from gwlbemu.bench.session import Effort, Session
from gwlbemu.fastpath.build import available, compile_object


def measure(figures: Sequence[Figure], effort: Effort, say: Callable[[str], None]) -> Results:
    """Measure what `figures` need. NetError when the machine refuses; nothing is left behind in any case."""
    results = Results(machine=machine.describe())
    with tempfile.TemporaryDirectory(prefix="gwlbemu-bench-") as name:
        folder = Path(name)
        reason = available(folder)
        sender = tools.sender(folder)
        reflector = None if reason else compile_object(folder)
        sending, receiving = machine.cores()
        results.settings = {
            "packets": f"{loads.FRAME} bytes with the Ethernet header; TCP segments of {loads.SEGMENT} bytes,"
            f" -1500: of {loads.INTERNET_SEGMENT}",
            "kernel paths": "plain, hops, vxlan, ovs: the kernel's own bridges and routers, without shortcuts",
            "sender": f"{'blast.c' if len(sender) == 1 else 'sender.py'}, unlimited",
            "pinned": f"senders to core {sending}; node processes and iperf3 -s to core {receiving}",
            "appliance": "tc reflector" if reflector else f"Python passthrough (no tc reflector: {reason})",
            "rounds": str(effort.rounds),
            "load average at the start": f"{machine.load():.1f}",
        }
        with path_labs(reflector, say) as opened:
            if reason:
                opened.missing |= dict.fromkeys(("fast", "fast-super"), reason)
            experiments = dict.fromkeys(figure.experiment for figure in figures)
            if set(experiments) - {"up", "pauses", "inspect", "network", "application"} and opened.open("fast") is None:
                results.subject = "python"
            session = Session(opened, sender, effort, results, folder, say)
            for experiment in experiments:
                session.run(experiment)
            results.missing |= opened.missing
    return results
