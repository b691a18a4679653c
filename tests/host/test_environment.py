from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

import pytest

from tracekit.host import environment
from tracekit.host.environment import (
    Wish,
    environment_python,
    in_environment,
    installed_versions,
    is_current,
    read_wishes,
    unmet,
    was_made_here,
    write_settings,
    write_stamp,
)

PYPROJECT = """
[project]
dependencies = ["numpy>=1.26", "jupyterlab >= 4.4", "ipykernel>=7.4"]
[project.optional-dependencies]
test = ["pytest>=8", "PyYAML>=6"]
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    return tmp_path


def install(folder: Path, **versions: str) -> Path:
    for name, version in versions.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def test_wishes_are_those_of_pyproject(checkout):
    assert read_wishes() == [
        Wish("numpy", (1, 26)),
        Wish("jupyterlab", (4, 4)),
        Wish("ipykernel", (7, 4)),
    ]
    assert read_wishes(frozenset({"test"}))[-1] == Wish("pyyaml", (6,))


def test_every_line_of_the_real_pyproject_is_understood():
    for wish in read_wishes(frozenset({"test"})):
        assert wish.at_least, wish


def test_what_is_missing_or_too_old_is_named(checkout, tmp_path):
    packages = install(tmp_path / "packages", numpy="2.0.1", jupyterlab="4.3.9")
    assert unmet(site_packages=packages) == [
        "jupyterlab is 4.3.9, needed is 4.4 or newer",
        "ipykernel is not installed",
    ]
    install(packages, ipykernel="7.4.0")
    assert unmet(site_packages=packages) == ["jupyterlab is 4.3.9, needed is 4.4 or newer"]


def test_the_broken_ipykernel_is_named(checkout, tmp_path):
    packages = install(tmp_path / "packages", numpy="2", jupyterlab="4.4", ipykernel="7.3.0")
    assert "ipykernel 7.3.0 hangs" in unmet(site_packages=packages)


def test_installed_versions_are_those_importlib_sees():
    import numpy

    found = installed_versions(Path(sysconfig.get_path("purelib")))
    assert found["numpy"] == numpy.__version__
    assert "tracekit" in found or not in_environment()


def made(prefix: Path) -> Path:
    python = environment_python(prefix)
    python.parent.mkdir(parents=True)
    python.symlink_to(Path(sys.executable).resolve())
    return prefix


def test_a_stamp_holds_until_something_changes(checkout):
    prefix = made(checkout / ".venv")
    assert not is_current(frozenset(), prefix)
    write_stamp(frozenset(), prefix)
    assert is_current(frozenset(), prefix)
    assert not is_current(frozenset({"test"}), prefix)
    write_stamp(frozenset({"test"}), prefix)
    assert is_current(frozenset(), prefix)
    assert is_current(frozenset({"test"}), prefix)
    (checkout / "pyproject.toml").write_text(PYPROJECT + "# changed\n")
    assert not is_current(frozenset(), prefix)
    assert was_made_here(prefix)


def test_a_moved_environment_is_made_anew(checkout):
    prefix = made(checkout / ".venv")
    write_stamp(frozenset(), prefix)
    moved = prefix.rename(checkout / "moved")
    assert not was_made_here(moved)
    assert not is_current(frozenset(), moved)


def test_another_python_means_another_environment(checkout):
    prefix = made(checkout / ".venv")
    write_stamp(frozenset(), prefix)
    python = environment_python(prefix)
    python.unlink()
    assert not was_made_here(prefix)
    python.symlink_to("/bin/sh")
    assert not was_made_here(prefix)


def test_a_spoiled_stamp_is_no_stamp(checkout):
    prefix = made(checkout / ".venv")
    write_stamp(frozenset(), prefix)
    for text in ("", "{", "[]"):
        (prefix / "tracekit-setup.json").write_text(text)
        assert not is_current(frozenset(), prefix)


def test_the_news_pop_up_is_off(checkout):
    write_settings(checkout / ".venv")
    config = json.loads((checkout / ".venv/etc/jupyter/labconfig/page_config.json").read_text())
    assert config["disabledExtensions"]["@jupyterlab/apputils-extension:announcements"] is True
