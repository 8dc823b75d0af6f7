"""Where a running lab keeps what it knows: one folder per lab, gone with the lab."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gwlbemu.command import command
from gwlbemu.errors import LabError, NetError
from gwlbemu.net.record import ROOT
from gwlbemu.topology.names import CAPTURE, DISCARDS, NEWS, RESOLVER

# Whom our own processes become; systemd's table of user ids has it among those that nobody uses (65520 to 65533).
LAB_USER = 65528

_SEAL = ',\n "digest": "'
OPEN, CLOSED = 0o644, 0o600  # modes of files: for everybody to read, for a process alone


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
    def authority(self) -> Path:
        """The certificate of the lab's own authority, as PEM; absent in a lab without TLS listeners."""
        return self.folder / "authority.pem"

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
        """Return the path of the configuration of a node, of the capture or of the resolver."""
        return self.folder / "nodes" / f"{name}.json"

    def own(self, name: str) -> Path:
        """Return the folder that is a process's own: of the lab's state an instance sees this one alone."""
        return self.folder / "own" / name

    @property
    def discards(self) -> Path:
        """The socket by which the capture hears of dropped packets."""
        return self.own(CAPTURE) / DISCARDS

    @property
    def news(self) -> Path:
        """The socket by which the resolver hears of the zones of load balancers."""
        return self.own(RESOLVER) / NEWS

    def control(self, name: str) -> Path:
        """Return the path of the control socket of a process."""
        return self.own(name) / "sock"

    @property
    def logs(self) -> Path:
        """The folder of what processes print (`log`) and appliances decide (`decisions`)."""
        return self.folder / "logs"

    def log(self, name: str) -> Path:
        """Return the path of what a process prints."""
        return self.logs / f"{name}.log"

    def decisions(self, name: str) -> Path:
        """Return the path of what an appliance decided, as JSON lines; a program that writes none has no such file."""
        return self.own(name) / "decisions.jsonl"

    def access_log(self, name: str) -> Path:
        """Return the path of the access log of an application load balancer's node; absent while it has none."""
        return self.own(name) / "access.log"

    def decision_files(self, name: str) -> list[Path]:
        """Return the files of what an appliance decided that are there, the older first (see `ports.logfile`)."""
        newest = self.decisions(name)
        return [path for path in (newest.with_name(f"{newest.name}.1"), newest) if path.exists()]

    def all_decisions(self) -> list[Path]:
        """Return the path of every newest file of decisions that there is."""
        return sorted(self.folder.glob("own/*/decisions.jsonl"))

    def program(self, name: str) -> Path:
        """Return the path of the rule file of an instance's program."""
        return self.own(name) / "program.conf"

    @property
    def failures(self) -> Path:
        """What `fail` broke and nobody healed, as JSON (see `lab.failure`)."""
        return self.folder / "failures.json"

    @property
    def plan_before(self) -> Path:
        """The plan before the change that is being made; one that stays was interrupted (see `lab.change`)."""
        return self.plan.with_suffix(".before")

    @staticmethod
    def keep(path: Path, text: str, *, mode: int = OPEN) -> None:
        """Write a file so that whoever reads it, or dies meanwhile, leaves the old text or the new one.

        Raises NetError when it cannot be written, on a full disk for example; then the old one stays.
        """
        _write_new(path, text, mode).rename(path)

    @staticmethod
    @contextmanager
    def replaced(path: Path, text: str) -> Iterator[None]:
        """Write a file as `keep` does, for good unless the block raises: then what was there is back, which takes no
        room on a full disk.
        """
        before = path.with_suffix(".before")
        before.unlink(missing_ok=True)
        there = path.exists()
        try:
            if there:
                os.link(path, before)
            State.keep(path, text)
        except OSError as error:
            raise _unwritten(path, error) from None
        except NetError:
            before.unlink(missing_ok=True)
            raise
        try:
            yield
        except BaseException:
            if there:
                before.replace(path)
            else:
                path.unlink(missing_ok=True)
            raise
        before.unlink(missing_ok=True)

    @staticmethod
    @contextmanager
    def prepared(path: Path, text: str) -> Iterator[None]:
        """Write a file as `keep` does, but let it take its place only when the block has ended well."""
        fresh = _write_new(path, text, OPEN)
        try:
            yield
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        fresh.rename(path)

    @staticmethod
    def write_new(path: Path, text: str) -> None:
        """Write a file in a folder that is not ours alone: what its owner has put at `path` is not followed."""
        path.unlink(missing_ok=True)
        try:
            with open(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, CLOSED), "w"
            ) as file:
                file.write(text)
        except OSError as error:
            raise _unwritten(path, error) from None

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
        """Make the folders in which the processes of a lab keep their files, whatever the caller's umask.

        What tells about a lab is everybody's to read; what tells a process what to do is its own.
        """
        for part, mode in (("nodes", 0o700), ("own", 0o711), ("logs", 0o755), ("capture", 0o755)):
            folder = self.folder / part
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
            folder.chmod(mode)
        for folder in (self.logs, self.capture_folder):  # our processes keep them small
            with suppress(OSError):
                os.chown(folder, LAB_USER, LAB_USER)

    def make_log(self, name: str) -> Path:
        """Make the file of what a process prints, if there is none, and return its path; no link there is followed."""
        path = self.log(name)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, OPEN)
        try:
            os.fchmod(fd, OPEN)
            with suppress(OSError):
                os.fchown(fd, LAB_USER, LAB_USER)
        finally:
            os.close(fd)
        return path


def sealed(text: str) -> str:
    """Return the text of a JSON object with one key more, `digest`, by which `is_damaged` knows it again."""
    body = text.rstrip().removesuffix("}").rstrip()
    return body + _SEAL + _digest(body)


def is_damaged(text: str) -> bool:
    """Whether a text that was sealed is not what it was; one that was not sealed may be anything."""
    body, seal, rest = text.rpartition(_SEAL)
    return bool(seal) and rest != _digest(body)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest() + '"\n}\n'


def _write_new(path: Path, text: str, mode: int) -> Path:
    """Write the file that will take the place of `path`; there is none when it cannot be written."""
    fresh = path.with_suffix(".new")
    try:
        with open(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode),
            "w",
            encoding="utf-8",
            errors="surrogateescape",
        ) as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise _unwritten(path, error) from None
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return fresh


def _unwritten(path: Path, error: OSError) -> NetError:
    return NetError(f"{path} cannot be written: {error.strerror}; nothing was changed")
