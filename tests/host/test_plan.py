from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from tracekit.host import packages, plan, rights
from tracekit.host.packages import (
    NEEDS,
    TEST_NEEDS,
    Need,
    apt_names,
    find_browser,
    install_hint,
    lists_are_old,
)
from tracekit.host.plan import environment_commands, mount_commands, package_commands

needs_apt = pytest.mark.skipif(shutil.which("apt-cache") is None, reason="not Debian or Ubuntu")


def need(name: str, *candidates: str, there: bool = False) -> Need:
    return Need(name, "a test", {"apt-get": candidates, "dnf": (f"{name}-dnf",)}, lambda: there)


@pytest.fixture
def _apt(monkeypatch):
    monkeypatch.setattr(packages, "package_manager", lambda: "apt-get")
    monkeypatch.setattr(packages, "_known_to_apt", lambda names: set(names) & {"b", "c", "d"})
    monkeypatch.setattr(packages, "lists_are_old", lambda: False)
    monkeypatch.setattr(plan, "has_own_headers", lambda: True)


def wish(monkeypatch, *needs):
    headers = need("headers", "h", there=True)
    monkeypatch.setattr(packages, "NEEDS", (*needs, headers))


def wish_for_tests(monkeypatch, *needs):
    monkeypatch.setattr(packages, "TEST_NEEDS", needs)


@pytest.mark.usefixtures("_apt")
def test_only_what_is_missing_is_installed(monkeypatch):
    wish(monkeypatch, need("one", "b", there=True), need("two", "c"), need("three", "a", "d"))
    (install,) = package_commands()
    assert install.words[:5] == ("apt-get", "-q", "-y", "--no-install-recommends", "install")
    assert install.words[5:] == ("c", "d"), "of several names, the first that apt knows"
    assert install.root
    assert install.env["DEBIAN_FRONTEND"] == "noninteractive"


@pytest.mark.usefixtures("_apt")
def test_nothing_missing_means_no_command(monkeypatch):
    wish(monkeypatch, need("one", "b", there=True))
    assert package_commands() == []


@pytest.mark.usefixtures("_apt")
def test_unknown_names_make_apt_read_its_lists(monkeypatch, capsys):
    wish(monkeypatch, need("one", "b"), need("two", "unheard-of"))
    update, install = package_commands()
    assert update.words[-1] == "update"
    assert install.words[5:] == ("b", "unheard-of")
    (install,) = package_commands(lists_are_new=True)
    assert install.words[5:] == ("b",), "one unknown name would make apt refuse all"
    assert "no package unheard-of" in capsys.readouterr().err


@pytest.mark.usefixtures("_apt")
def test_other_distributions_are_told_the_names(monkeypatch, capsys):
    monkeypatch.setattr(packages, "package_manager", lambda: "dnf")
    wish(monkeypatch, need("one", "b"))
    assert package_commands() == []
    assert "one is missing (a test): sudo dnf install one-dnf" in capsys.readouterr().err


@pytest.mark.usefixtures("_apt")
def test_a_browser_is_installed_for_the_tests_alone(monkeypatch, capsys):
    wish(monkeypatch, need("one", "b", there=True))
    wish_for_tests(monkeypatch, need("browser", "c"))
    assert package_commands() == []
    (install,) = package_commands(for_tests=True)
    assert install.words[5:] == ("c",)
    wish_for_tests(monkeypatch, need("browser", "unheard-of"))
    assert package_commands(for_tests=True) == [], "and the lists are not read anew for it"
    assert "no package unheard-of" in capsys.readouterr().err
    monkeypatch.setattr(packages, "lists_are_old", lambda: True)
    assert package_commands(for_tests=True)[0].words[-1] == "update"


def test_any_of_the_known_browsers_will_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser() is None
    for name in ("google-chrome", "chromium"):
        (tmp_path / name).touch(0o755)
        assert find_browser() == str(tmp_path / name)


def test_lists_are_old(tmp_path):
    assert lists_are_old(tmp_path)
    (tmp_path / "partial").mkdir()
    (tmp_path / "deb.example_dists_x_main_binary-amd64_Packages").touch()
    assert not lists_are_old(tmp_path)
    long_ago = time.time() - 8 * 86400
    for path in (tmp_path, tmp_path / "partial"):
        os.utime(path, (long_ago, long_ago))
    assert lists_are_old(tmp_path)


@needs_apt
def test_apt_knows_the_packages_by_these_names():
    """The oracle is apt itself, on whichever distribution this runs."""
    names = apt_names(NEEDS)
    assert len(names) == len(NEEDS)
    shown = subprocess.run(["apt-cache", "show", *names], capture_output=True, text=True)
    assert {f"Package: {name}" for name in names} <= set(shown.stdout.splitlines())


@needs_apt
def test_a_hint_is_a_whole_command():
    assert "install" in install_hint("browser").split()
    assert install_hint("bcc") == "sudo apt-get install python3-bpfcc"


def test_every_need_has_a_name_for_debian_and_fedora():
    for one in (*NEEDS, *TEST_NEEDS):
        assert one.packages["apt-get"]
        assert one.packages["dnf"]


def test_only_what_is_not_mounted_is_mounted(monkeypatch):
    monkeypatch.setattr(rights, "mount_point", lambda kind: None)
    if rights.is_root() or os.path.isdir("/sys/kernel/tracing"):
        assert [command.words for command in mount_commands()] == [
            ("mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"),
            ("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"),
        ]
    monkeypatch.setattr(rights, "mount_point", lambda kind: f"/somewhere/{kind}")
    assert mount_commands() == []


def test_an_environment_is_made_once(monkeypatch):
    monkeypatch.setattr(plan, "has_environment", lambda extras: False)
    monkeypatch.setattr(plan.environment, "in_environment", lambda: False)
    monkeypatch.setattr(plan.environment, "is_usable", lambda: False)
    make, install = environment_commands(frozenset({"test"}))
    assert make.words[-4:-1] == ("-m", "venv", "--clear")
    assert install.words[-1] == f"{plan.CHECKOUT}[test]"
    monkeypatch.setattr(plan.environment, "is_usable", lambda: True)
    monkeypatch.setattr(plan.environment, "was_made_here", lambda: True)
    assert environment_commands(frozenset({"test"})) == [install]
    monkeypatch.setattr(plan, "has_environment", lambda extras: True)
    assert environment_commands(frozenset({"test"})) == []
