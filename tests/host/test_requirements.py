from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tracekit.errors import RequirementMissing
from tracekit.host import checks, doctor, requirements, rights
from tracekit.host.requirements import (
    LEVELS,
    REQUIREMENTS,
    Check,
    Requirement,
    check_all,
    level_reached,
    missing_for,
)


def results(*missing: str) -> list[Check]:
    return [
        Check(
            need.name, need.name not in missing, "seen", "do this" if need.name in missing else ""
        )
        for need in REQUIREMENTS
    ]


@pytest.mark.parametrize(
    ("missing", "level"),
    [
        ((), "L3"),
        (("BTF", "bpftool"), "L3"),
        (("user namespaces",), "L2"),
        (("a program loads",), "L1"),
        (("kernel headers", "user namespaces"), "L1"),
        (("tracefs readable",), "L0"),
        (("environment",), "none"),
    ],
)
def test_level(missing, level):
    assert level_reached(results(*missing)) == level


def test_every_requirement_has_a_known_level_and_its_own_name():
    assert {need.level for need in REQUIREMENTS} == {*LEVELS, ""}
    assert len({need.name for need in REQUIREMENTS}) == len(REQUIREMENTS)


def test_a_check_that_breaks_counts_as_missing():
    def breaks():
        raise OSError("no such device")

    def refuses():
        raise RequirementMissing("no bcc", "install it")

    assert Requirement("x", "L1", "y", breaks).check() == Check(
        "x", False, "could not look: no such device", ""
    )
    assert Requirement("x", "L1", "y", refuses).check() == Check("x", False, "no bcc", "install it")


def test_the_first_thing_missing_is_told(monkeypatch):
    def ok():
        return True, "there", ""

    def lacks():
        return False, "not there", "get it"

    table = (
        Requirement("a", "L0", "", lacks),
        Requirement("b", "L1", "", ok),
        Requirement("c", "L2", "", lacks),
        Requirement("d", "", "", lacks),
    )
    monkeypatch.setattr(requirements, "REQUIREMENTS", table)
    assert missing_for("L1") is None
    assert missing_for("L2") == Check("c", False, "not there", "get it")


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize("sudo", [True, False])
@pytest.mark.parametrize("lab_gives", [True, False])
def test_what_lab_gives_counts_where_it_may_give_it(monkeypatch, lab_gives, sudo, mounted):
    place = Path("/sys/kernel/tracing") if mounted else None
    monkeypatch.setattr(rights, "sudo_asks_nothing", lambda: sudo)
    monkeypatch.setattr(rights, "mount_point", lambda kind: place)
    look = lambda: (False, "Permission denied", "get it")  # noqa: E731
    need = Requirement("x", "L1", "y", look, lab_gives)
    assert need.check() == Check("x", False, "Permission denied", "get it")
    (found,) = check_all([need], through_lab=True)
    assert found.ok == (lab_gives and sudo and mounted)
    assert "Permission denied" in found.fact
    assert ("lab and test give it" in found.fact) == found.ok
    assert found.remedy == ("" if found.ok else "get it")


def test_json_report():
    report = json.loads(doctor.as_json(results("user namespaces")))
    assert report["level"] == "L2"
    assert [check["name"] for check in report["checks"]] == [need.name for need in REQUIREMENTS]
    assert {"name": "user namespaces", "ok": False, "fact": "seen", "remedy": "do this"} in report[
        "checks"
    ]


def test_text_report_shows_remedies_below_facts():
    lines = doctor.as_text(results("bcc")).splitlines()
    (place,) = [number for number, line in enumerate(lines) if re.match(r"L2  bcc ", line)]
    assert re.search(r"missing +seen \(needed for programs\)$", lines[place])
    assert re.fullmatch(r" +next: +do this", lines[place + 1])
    assert lines[-1].startswith("level reached: L1 ")
    assert lines[-1].endswith("not yet: programs load, the traffic lab")


def test_lockdown(monkeypatch, tmp_path):
    state = tmp_path / "lockdown"
    monkeypatch.setattr(checks, "Path", lambda _: state)
    assert checks.look_for_lockdown()[0]
    state.write_text("none [integrity] confidentiality\n")
    assert checks.look_for_lockdown()[:2] == (True, "lockdown: integrity")
    state.write_text("none integrity [confidentiality]\n")
    ok, fact, remedy = checks.look_for_lockdown()
    assert not ok
    assert fact == "lockdown: confidentiality"
    assert remedy


@pytest.mark.live
def test_here_and_now_everything_for_programs_is_there():
    found = {check.name: check for check in check_all()}
    for need in REQUIREMENTS:
        if need.level in ("L1", "L2"):
            assert found[need.name].ok, found[need.name]


@pytest.mark.live
def test_a_program_that_does_not_load_is_not_called_ok(monkeypatch):
    monkeypatch.setattr(checks, "_PROGRAM", "from bcc import BPF; BPF(text=b'int f( {')")
    ok, fact, _ = checks.look_for_program_loads()
    assert not ok
    assert fact.startswith("a program that does nothing does not load: ")
