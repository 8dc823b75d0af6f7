"""What `pip install` of a wheel brings: the command, the bundled topologies and every file that a lab needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.slow
SOURCES = ("gwlbemu", "appliances", "tests", "pyproject.toml", "MANIFEST.in", "Makefile", "README.md", "LICENSE")
SECONDS = 300  # for one step: far more than it takes


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False)


def build(kind: str, source: Path, folder: Path) -> Path:
    """Make a wheel or an sdist of `source` as any build front end does, offline: by the backend in pyproject.toml."""
    folder.mkdir()
    done = run(
        sys.executable, "-c", f"import setuptools.build_meta as it; it.build_{kind}({str(folder)!r})", cwd=source
    )
    assert done.returncode == 0, done.stderr
    [made] = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source archive, made of a copy: the tree itself may belong to somebody else."""
    work = tmp_path_factory.mktemp("sdist")
    copy = work / "source"
    copy.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    (copy / "topologies").symlink_to("gwlbemu/topologies")
    return build("sdist", copy, work / "out")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of that source archive."""
    work = tmp_path_factory.mktemp("wheel")
    assert run("tar", "-xzf", sdist, cwd=work).returncode == 0
    [source] = work.iterdir()
    return build("wheel", source, work / "out")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it and the libraries of this one in reach; returns its bin folder."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    made = run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    assert made.returncode == 0, made.stderr
    pip = (sys.executable, "-m", "pip", "--python", venv / "bin/python")
    done = run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=venv.parent)
    assert done.returncode == 0, done.stderr
    libraries = sysconfig.get_path("purelib", vars={"base": str(venv)})
    Path(libraries, "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin"


def files_of_the_packages() -> set[str]:
    return {
        str(file.relative_to(ROOT))
        for package in ("gwlbemu", "appliances")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_wheel_has_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == files_of_the_packages()
    assert {"gwlbemu/py.typed", "gwlbemu/fastpath/gwlb.c", "gwlbemu/topologies/two-zones.yaml"} <= names


def test_the_source_archive_has_the_tests_and_the_documented_paths(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "tests/contract.yaml", "tests/conftest.py", "topologies/two-zones.yaml"} <= names


def test_a_bundled_topology_is_found_by_name_from_anywhere(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "gwlbemu", "plan", "two-zones", cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    title = said.stdout.splitlines()[0]
    assert title.startswith("two-zones ")
    file = Path(title.partition("(")[2].rstrip(")"))
    assert file.is_relative_to(installed.parent)
    assert file.read_bytes() == (ROOT / "topologies/two-zones.yaml").read_bytes()
    assert run(installed / "gwlbemu", "doctor", "two-zones", cwd=tmp_path).stdout == f"{file}: nothing found\n"


def test_the_package_runs_as_a_module(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "python", "-m", "gwlbemu", "--help", cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("Usage: gwlbemu ")
    assert run(installed / "python", "-m", "gwlbemu", "plan", "nowhere", cwd=tmp_path).returncode == 3
