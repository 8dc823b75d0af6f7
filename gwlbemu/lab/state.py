"""Where a running lab keeps what it knows: one folder per lab, gone with the lab."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gwlbemu.command import command
from gwlbemu.errors import LabError
from gwlbemu.net.record import ROOT


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
    def secret(self) -> Path:
        """What every choice of the lab that AWS makes at random follows from, as text; for root alone."""
        return self.folder / "secret"

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

    def control(self, name: str) -> Path:
        """Return the path of the control socket of a process."""
        return self.folder / "control" / f"{name}.sock"

    def log(self, name: str) -> Path:
        """Return the path of what a process prints."""
        return self.folder / "logs" / f"{name}.log"

    def decisions(self, name: str) -> Path:
        """Return the path of what an appliance decided, as JSON lines; a program that writes none has no such file."""
        return self.folder / "logs" / f"{name}.jsonl"

    def program(self, name: str) -> Path:
        """Return the path of the rule file of an instance's program."""
        return self.folder / "programs" / f"{name}.conf"

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

    def keep_secret(self, text: str) -> None:
        """Write the secret, readable by its owner alone whatever the umask is."""
        with open(
            os.open(self.secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", errors="surrogateescape"
        ) as file:
            file.write(text)

    def damaged(self, path: Path) -> LabError:
        """Return the error to raise for a file of ours that cannot be read."""
        return LabError(f"{path} is damaged: take the lab down ({command('down', '--lab', self.lab)})")

    def make_folders(self) -> None:
        """Make the folders in which the processes of a lab keep their files."""
        for part in ("nodes", "control", "logs", "programs", "capture"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
