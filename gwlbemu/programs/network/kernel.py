"""The kernel of a node, as its keeper handles it: write the tables, see whether they are there, end connections."""

from __future__ import annotations

import socket
from contextlib import suppress

from gwlbemu.core.network.tables import NUMBER_MASK, PRESERVED, Tables
from gwlbemu.errors import NetError
from gwlbemu.net import conntrack, firewall
from gwlbemu.programs.network.ruleset import TABLE, ruleset

INTACT, MISSING, ALTERED = "intact", "missing", "altered"
_FAMILIES = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}


class Kernel:
    """The kernel's side of one node, in the network namespace of the calling thread.

    Connections that an earlier keeper left go on if their targets are known; those of others end, and all of them where
    the tables were missing.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables, self._ruleset = tables, ruleset(tables)
        self._generation, self._fingerprints = 0, [""]  # of the rules, when they were written
        were_there = all(self._look())
        self._write_anew()
        if were_there:
            self._adopt()
        else:
            self._end_all()

    def _adopt(self) -> None:
        """Give the connections of an earlier keeper, which counted targets anew, the marks of today."""
        numbers = {(each.address, each.port): each.mark & NUMBER_MASK for each in self._tables.known}
        of_listener = {
            (one.protocol, one.port): {
                (each.address, each.port): each.mark & NUMBER_MASK
                for group in set(one.chooser.slots)
                for each in self._tables.groups[group].destinations
            }
            for one in self._tables.listeners
        }
        changes = []
        for entry in _connections():
            target = entry.reply.source, entry.reply.source_port
            # A target may be one of several groups: of that to which the connection's listener forwards.
            own = of_listener.get((entry.protocol, entry.original.destination_port), {})
            number = own.get(target, numbers.get(target))
            changes.append((entry, number | entry.mark & PRESERVED if number else 0))
        conntrack.change_marks(changes)

    def _end_all(self) -> None:
        """End every connection: which of them were reset while the tables were missing is not known."""
        conntrack.change_marks([(entry, 0) for entry in _connections()])

    def write(self, tables: Tables) -> None:
        """Let the kernel hold `tables` from now on, all at once; nothing is done where it does already."""
        if tables == self._tables:
            return
        wanted = ruleset(tables)
        try:
            firewall.load(wanted.over(self._ruleset))
        except NetError:  # somebody has taken away what it builds on
            firewall.load(wanted.anew())
        self._tables, self._ruleset = tables, wanted
        self._note()

    def repair(self) -> None:
        """Write everything anew, whatever is there. Connections go on, with the default idle timeout, unless the tables
        were missing: then all of them end.
        """
        were_there = self.state() != MISSING
        self._write_anew()
        if not were_there:
            self._end_all()

    def _write_anew(self) -> None:
        firewall.load(self._ruleset.anew())
        self._note()

    def end(self, number: int) -> None:
        """End the connections of a target: the next packet of each is answered by a reset."""
        conntrack.delete(number, NUMBER_MASK)

    def state(self) -> str:
        """Return whether the tables are as they were written: INTACT, MISSING or ALTERED."""
        generation = firewall.generation()
        if generation != self._generation:
            found = self._look()
            if found != self._fingerprints:
                return ALTERED if all(found) else MISSING
            self._generation = generation  # somebody changed something else
        return INTACT

    def traffic(self) -> dict[str, tuple[int, int]]:
        """Return packets and bytes of each counter of the tables (see `ruleset`), none while there is no table."""
        found: dict[str, tuple[int, int]] = {}
        for family in self._ruleset.families:
            with suppress(NetError):
                for name, (packets, size) in firewall.traffic(family, TABLE).items():
                    before = found.get(name, (0, 0))
                    found[name] = before[0] + packets, before[1] + size
        return found

    def _note(self) -> None:
        self._generation = firewall.generation()
        self._fingerprints = self._look()

    def _look(self) -> list[str]:
        return [firewall.fingerprint(_FAMILIES[family], TABLE) for family in self._ruleset.families]


def _connections() -> list[conntrack.Entry]:
    """The connections that are on a target."""
    return [entry for some in conntrack.entries() for entry in some if entry.mark & NUMBER_MASK]
