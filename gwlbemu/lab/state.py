"""Where a running lab keeps what it knows: one folder per lab, gone with the lab."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gwlbemu.command import command
from gwlbemu.errors import LabError
from gwlbemu.net.record import ROOT
from gwlbemu.topology.names import CAPTURE, DISCARDS

# Whom our own processes become; systemd's table of user ids has it among those that nobody uses (65520 to 65533).
LAB_USER = 65528


@dataclass(frozen=True, slots=True)
class State:
    """The paths of one lab's state folder."""

    lab: str
    root: Path = ROOT

    @property
    def folder(self) -> Path:
        """The lab's folder; everything below is in it."""
        return self.root / self.lab

    @property
    def plan(self) -> Path:
        """The plan as it is now, as JSON."""
        return self.folder / "plan.json"

    @property
    def topology(self) -> Path:
        """The text of the topology file as it was when the lab came up; absent when the lab came from no file."""
        return self.folder / "topology.yaml"

    @property
    def directory(self) -> Path:
        """Holds, as text, the working directory of the users' own commands."""
        return self.folder / "directory"

    @property
    def shortcuts(self) -> Path:
        """Where shortcuts are installed, as JSON (see `lab.shortcuts`)."""
        return self.folder / "shortcuts.json"

    @property
    def capture_folder(self) -> Path:
        """The folder of the capture's pcapng files."""
        return self.folder / "capture"

    def capture_files(self) -> list[Path]:
        """Return the capture's files so far, oldest first."""
        return sorted(self.capture_folder.glob("*.pcapng"), key=lambda path: path.stat().st_mtime_ns)

    def node(self, name: str) -> Path:
        """Return the path of the configuration of a node, or of the capture."""
        return self.folder / "nodes" / f"{name}.json"

    def own(self, name: str) -> Path:
        """Return the folder that is a process's own: of the lab's state an instance sees this one alone."""
        return self.folder / "own" / name

    @property
    def discards(self) -> Path:
        """The socket by which the capture hears of dropped packets."""
        return self.own(CAPTURE) / DISCARDS

    def control(self, name: str) -> Path:
        """Return the path of the control socket of a process."""
        return self.own(name) / "sock"

    def log(self, name: str) -> Path:
        """Return the path of what a process prints."""
        return self.folder / "logs" / f"{name}.log"

    def decisions(self, name: str) -> Path:
        """Return the path of what an appliance decided, as JSON lines; a program that writes none has no such file."""
        return self.own(name) / "decisions.jsonl"

    def all_decisions(self) -> list[Path]:
        """Return the path of every file of decisions that there is."""
        return sorted(self.folder.glob("own/*/decisions.jsonl"))

    def program(self, name: str) -> Path:
        """Return the path of the rule file of an instance's program."""
        return self.own(name) / "program.conf"

    @property
    def failures(self) -> Path:
        """What `fail` broke and nobody healed, as JSON (see `lab.failure`)."""
        return self.folder / "failures.json"

    @staticmethod
    def keep(path: Path, text: str) -> None:
        """Write a file so that whoever reads it, or dies meanwhile, leaves the old text or the new one."""
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(path)

    @staticmethod
    def write_new(path: Path, text: str) -> None:
        """Write a file in a folder that is not ours alone: what its owner has put at `path` is not followed."""
        path.unlink(missing_ok=True)
        with open(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w"
        ) as file:
            file.write(text)

    def make_own(self, name: str, *, user: int) -> None:
        """Make the folder of a process, which belongs to `user` and nobody else.

        Links that an earlier process left in it are removed: root opens files there before it becomes `user`.
        """
        own = self.own(name)
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in own.iterdir():
            if left.is_symlink():
                left.unlink()
        with suppress(OSError):  # in a user namespace that has no such user the process stays what it is
            os.chown(own, user, user)

    def damaged(self, path: Path) -> LabError:
        """Return the error to raise for a file of ours that cannot be read."""
        return LabError(f"{path} is damaged: take the lab down ({command('down', '--lab', self.lab)})")

    def make_folders(self) -> None:
        """Make the folders in which the processes of a lab keep their files."""
        for part in ("nodes", "own", "logs", "capture"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            os.chown(self.capture_folder, LAB_USER, LAB_USER)
