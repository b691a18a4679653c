from __future__ import annotations

import os
import types

import pytest

from tracekit.errors import RequirementMissing
from tracekit.host import lab, rights
from tracekit.host.lab import Launch, jupyter_words, launch, plan_launch

WORDS = ("python", "-m", "something")
ROOT_OPTION = {"root_option": "--allow-root"}


@pytest.fixture
def machine(monkeypatch):
    """A machine that a test describes: who we are, what we may, who else is there."""
    here = types.SimpleNamespace(root=False, read=False, load=False, sudo=True, person=None)
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setattr(lab.environment, "in_environment", lambda: True)
    monkeypatch.setattr(rights, "is_root", lambda: here.root)
    monkeypatch.setattr(rights, "may_read_tracefs", lambda: here.read)
    monkeypatch.setattr(rights, "may_load_programs", lambda: here.load)
    monkeypatch.setattr(lab.shutil, "which", lambda name: "/usr/bin/sudo" if here.sudo else None)
    monkeypatch.setattr(lab, "_person", lambda name: here.person)
    monkeypatch.setattr(lab, "_check_access", lambda uid, name: None)
    return here


def test_who_has_the_rights_just_starts(machine):
    machine.read = machine.load = True
    assert plan_launch(WORDS) == Launch(WORDS, "with the rights of this shell", wait=False)


def test_reading_is_enough_for_a_list(machine):
    machine.read = True
    assert not plan_launch(WORDS, needs_programs=False).wait
    assert plan_launch(WORDS).wait


def test_an_ordinary_user_goes_through_sudo_once(machine):
    plan = plan_launch(WORDS)
    assert plan.wait, "mount options are restored afterwards"
    assert plan.words[0] == "sudo"
    assert plan.words[2] == "-I", "root imports nothing that a user could have put there"
    assert plan.words[3].endswith("/tracekit/host/privileges.py")
    assert f"--user={os.getuid()}" in plan.words
    assert f"--caller={os.getpid()}" in plan.words
    assert plan.words[-4:] == ("--", *WORDS)


@pytest.mark.parametrize("reason", ["no sudo", "sudo refused"])
def test_without_sudo_there_are_recordings(machine, reason):
    machine.sudo = reason != "no sudo"
    plan = plan_launch(WORDS, sudo=reason != "sudo refused")
    assert plan == Launch(
        WORDS, "on recordings, without the right to trace this kernel", wait=False
    )


def test_root_starts_it_as_the_person_whose_checkout_it_is(machine):
    machine.root, machine.person = True, (1234, "somebody")
    plan = plan_launch(WORDS, **ROOT_OPTION)
    assert "sudo" not in plan.words
    assert "--user=1234" in plan.words
    assert "--allow-root" not in plan.words
    assert plan.note.startswith("as somebody")


def test_root_alone_says_so(machine):
    machine.root = True
    plan = plan_launch(WORDS, **ROOT_OPTION)
    assert plan.words == (*WORDS, "--allow-root")
    assert "no ordinary user" in plan.note


def test_tests_run_as_root_where_root_runs_them(machine):
    machine.root, machine.person = True, (1234, "somebody")
    assert plan_launch(WORDS, may_be_root=True) == Launch(WORDS, "as root", wait=False)


def test_only_root_starts_it_for_somebody_else(machine):
    with pytest.raises(RequirementMissing, match="only root"):
        plan_launch(WORDS, user="somebody")


def test_without_an_environment_nothing_is_started(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(lab.environment, "in_environment", lambda: False)
    monkeypatch.setattr(lab, "environment_python", lambda: tmp_path / "none")
    with pytest.raises(RequirementMissing, match="no environment"):
        plan_launch(WORDS)


def test_an_unknown_user_is_told():
    with pytest.raises(RequirementMissing, match="there is no user no-such-person"):
        lab._person("no-such-person")


def test_daemons_are_no_persons(monkeypatch):
    # Only who has a login shell and an ordinary number is dropped to unasked.
    monkeypatch.setenv("SUDO_UID", "65534")
    assert lab._person("") is None
    assert lab._person("nobody") == (65534, "nobody")


def test_jupyter_opens_the_first_chapter_of_this_checkout():
    words = jupyter_words(["--port=1"])
    assert words[-1] == "--port=1"
    assert f"--ServerApp.root_dir={lab.CHECKOUT}" in words
    assert "--LabApp.default_url=/lab/tree/notebooks/01-format-files.ipynb" in words


def test_the_exit_status_is_that_of_what_was_started(capfd):
    assert launch(Launch(("sh", "-c", "exit 7"), "for a test", wait=True)) == 7
    assert launch(Launch(("sh", "-c", "exit 7"), "x", wait=True), dry_run=True) == 0
    assert capfd.readouterr().out == "  sh -c 'exit 7'\n"
