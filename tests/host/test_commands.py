from __future__ import annotations

import os

import pytest

from tracekit.errors import RequirementMissing
from tracekit.host import commands
from tracekit.host.commands import Command, as_user, run_command


def test_a_failure_shows_command_last_lines_and_next_step():
    shell = "for i in $(seq 100); do echo line $i; done; exit 3"
    with pytest.raises(RequirementMissing) as caught:
        run_command(Command("count", ("sh", "-c", shell), next_step="count by hand"))
    assert caught.value.fact.startswith("count failed (status 3)\n  command: sh -c ")
    lines = caught.value.fact.splitlines()[2:]
    assert [line.strip() for line in lines] == [f"line {number}" for number in range(86, 101)]
    assert caught.value.next_step == "count by hand"


def test_a_missing_command_is_told():
    with pytest.raises(RequirementMissing, match="No such file"):
        run_command(Command("nothing", ("no-such-command",)))


def test_progress_goes_to_standard_error(capsys):
    run_command(Command("say hello", ("echo", "hello")))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "say hello ...\n"


def test_root_is_reached_through_sudo(monkeypatch):
    command = Command("mount it", ("mount", "/x"), root=True, env={"LC_ALL": "C"})
    monkeypatch.setattr(commands, "is_root", lambda: False)
    assert str(command) == "sudo env LC_ALL=C mount /x"
    monkeypatch.setattr(commands, "is_root", lambda: True)
    assert str(command) == "env LC_ALL=C mount /x"


def test_root_installs_as_the_owner_of_the_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "is_root", lambda: False)
    assert as_user(("pip",), tmp_path) == ("pip",)
    monkeypatch.setattr(commands, "is_root", lambda: True)
    if os.getuid() == 0:
        assert as_user(("pip",), tmp_path) == ("pip",)
        os.chown(tmp_path, 65534, 65534)
        assert as_user(("pip",), tmp_path)[:4] == (
            *("setpriv", "--reuid=65534", "--regid=65534", "--init-groups"),
        )
