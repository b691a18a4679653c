"""The environment: a folder of Python packages that belongs to this checkout, ``.venv``.

A person who came with an environment of their own (conda, from ``environment.yml``) keeps it: any
environment in which tracekit is installed will do.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracekit.host.interpreters import python_version
from tracekit.host.rights import is_root

__all__ = (
    "CHECKOUT",
    "Wish",
    "environment_python",
    "in_environment",
    "installed_versions",
    "is_current",
    "is_running",
    "is_usable",
    "read_wishes",
    "unmet",
    "was_made_here",
    "write_settings",
    "write_stamp",
)

CHECKOUT = Path(__file__).resolve().parents[2]
_VENV = CHECKOUT / ".venv"
# ipykernel 7.3.0 stops answering when a widget is used while a cell runs.
_BROKEN = {("ipykernel", (7, 3)): "hangs"}
# Without this, JupyterLab's first start covers a corner with a question about its news.
_PAGE_CONFIG = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}


@dataclass(frozen=True, slots=True)
class Wish:
    """One line of pyproject.toml's dependencies: a name, and the version it begins with."""

    name: str
    at_least: tuple[int, ...]


def in_environment() -> bool:
    """Whether the running interpreter is an environment in which tracekit is installed."""
    if not ((Path(sys.prefix) / "conda-meta").is_dir() or sys.prefix != sys.base_prefix):
        return False
    return "tracekit" in installed_versions(Path(sysconfig.get_path("purelib")))


def is_running(prefix: Path = _VENV) -> bool:
    """Whether the running interpreter is that of *prefix*, complete or not."""
    return Path(sys.prefix) == prefix


def environment_python(prefix: Path = _VENV) -> Path:
    """Name the interpreter of the environment in *prefix*, whether it is there or not."""
    return prefix / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def installed_versions(site_packages: Path) -> dict[str, str]:
    """Read which distributions a site-packages folder holds: name to version.

    Names are in the normal form of PEP 503: lower case, with ``-``.
    """
    # The folder is named, for the checkout itself has an egg-info that would
    # count as installed wherever Python is started in it.
    found = importlib.metadata.distributions(path=[str(site_packages)])
    return {_normal(found.metadata["Name"]): found.version for found in found}


def read_wishes(extras: frozenset[str] = frozenset(), pyproject: Path | None = None) -> list[Wish]:
    """Read what pyproject.toml asks for, with the optional groups named by *extras*."""
    text = (pyproject or CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    lines = [*project["dependencies"]]
    for extra in sorted(extras):
        lines += project["optional-dependencies"][extra]
    wishes = []
    for line in lines:
        name, _, version = line.partition(">=")
        wishes.append(Wish(_normal(name), _numbers(version)))
    return wishes


def unmet(extras: frozenset[str] = frozenset(), site_packages: Path | None = None) -> list[str]:
    """Say which wishes the environment does not meet, one sentence part each.

    *site_packages* is by default that of the environment in use: the running one if it is one,
    else ``.venv``'s.
    """
    site_packages = site_packages or _site_packages()
    versions = installed_versions(site_packages) if site_packages else {}
    problems = []
    for wish in read_wishes(extras):
        version = versions.get(wish.name)
        numbers = _numbers(version or "")
        if version is None:
            problems.append(f"{wish.name} is not installed")
        elif numbers < wish.at_least:
            wanted = ".".join(map(str, wish.at_least))
            problems.append(f"{wish.name} is {version}, needed is {wanted} or newer")
        for (name, broken), effect in _BROKEN.items():
            if name == wish.name and numbers[: len(broken)] == broken:
                problems.append(f"{name} {version} {effect}")
    return problems


def is_current(extras: frozenset[str], prefix: Path = _VENV) -> bool:
    """Whether *prefix* was set up for this checkout as it is now, with these *extras* at least."""
    stamp = _read_stamp(prefix)
    return (
        was_made_here(prefix)
        and stamp.get("pyproject") == _pyproject_digest()
        and extras <= set(stamp.get("extras", ()))
    )


def was_made_here(prefix: Path = _VENV) -> bool:
    """Whether *prefix* was not moved since, nor its Python replaced by another version."""
    python = environment_python(prefix)
    stamp = _read_stamp(prefix)
    if not python.exists():
        return False
    if not stamp:
        return True  # made by hand
    return bool(
        stamp.get("place") == str(prefix) and stamp.get("interpreter") == str(python.resolve())
    )


def is_usable(prefix: Path = _VENV) -> bool:
    """Whether *prefix* holds a Python that runs and has pip."""
    python = environment_python(prefix)
    places = ("lib/python3.*/site-packages", "Lib/site-packages")
    has_pip = any(any(prefix.glob(f"{place}/pip/__main__.py")) for place in places)
    return has_pip and python_version(python) > (0, 0)


def write_stamp(extras: frozenset[str], prefix: Path = _VENV) -> None:
    """Note in *prefix* what it was made from, so that the next start takes no time."""
    stamp = {
        "pyproject": _pyproject_digest(),
        "extras": sorted(extras | set(_read_stamp(prefix).get("extras", ()))),
        "place": str(prefix),
        # With its version in its name: /usr/bin/python3 is python3.11 until the
        # distribution's next release.
        "interpreter": str(environment_python(prefix).resolve()),
    }
    _write(_stamp_file(prefix), stamp)


def write_settings(prefix: Path = _VENV) -> None:
    """Write JupyterLab's settings of this environment: no pop-up that covers the first chapter."""
    _write(prefix / "etc/jupyter/labconfig/page_config.json", _PAGE_CONFIG)


def _write(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    building = file.with_name(f"{file.name}.{os.getpid()}")
    building.write_text(json.dumps(value, indent=1) + "\n")
    if is_root():
        # Root sets up for the person whose checkout it is.
        owner = CHECKOUT.stat()
        for path in (file.parent, building):
            os.chown(path, owner.st_uid, owner.st_gid)
    building.replace(file)


def _stamp_file(prefix: Path) -> Path:
    return prefix / "tracekit-setup.json"


def _read_stamp(prefix: Path) -> dict[str, Any]:
    try:
        stamp = json.loads(_stamp_file(prefix).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _pyproject_digest() -> str:
    return hashlib.sha256((CHECKOUT / "pyproject.toml").read_bytes()).hexdigest()


def _site_packages() -> Path | None:
    if in_environment():
        return Path(sysconfig.get_path("purelib"))
    return next(iter(sorted(_VENV.glob("lib/python3.*/site-packages"))), None)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).strip().lower()


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[0-9]+(\.[0-9]+)*", version.strip())
    return tuple(int(number) for number in release[0].split(".")) if release else ()
