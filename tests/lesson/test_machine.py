import os
from pathlib import Path

import pytest

from tracekit.capture import toolchain
from tracekit.errors import RequirementMissing, TracefsUnavailable
from tracekit.host.interpreters import BccPython
from tracekit.lesson import machine
from tracekit.lesson.machine import Machine, describe_machine


def test_what_is_missing_is_told_with_its_next_step(monkeypatch):
    def no_bcc():
        raise RequirementMissing("no bcc here", "install it")

    def no_tracefs():
        raise TracefsUnavailable("tracefs is not mounted", "mount it")

    monkeypatch.setattr(machine, "bcc_version", no_bcc)
    monkeypatch.setattr(machine, "find_tracefs", no_tracefs)
    found = describe_machine()
    assert (found.bcc, found.tracefs) == (None, None)
    assert repr(found).splitlines() == [
        f"kernel   {os.uname().release}",
        "bcc      missing",
        "tracefs  missing",
        "         no bcc here",
        "next     install it",
        "         tracefs is not mounted",
        "next     mount it",
    ]
    assert "mount it" in found._repr_html_()


def test_html_and_text_say_the_same():
    found = Machine("6.18.44", "0.26.0", Path("/sys/kernel/tracing"))
    for line in repr(found).splitlines():
        for word in line.split():
            assert word in found._repr_html_()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("__version__ = '0.26.0'\n", "0.26.0"),
        ('__version__ = "0.31.0+abc"\n', "0.31.0+abc"),
        ("# nothing\n", "of an unknown version"),
        (None, "of an unknown version"),
    ],
)
def test_the_version_is_the_one_bccs_build_wrote(monkeypatch, tmp_path, text, version):
    package = tmp_path / "bcc"
    package.mkdir()
    for name in ("__init__.py", "libbcc.py"):
        (package / name).write_text("")
    if text is not None:
        (package / "version.py").write_text(text)
    found = BccPython(Path("/usr/bin/python3"), str(package / "__init__.py"))
    monkeypatch.setattr(toolchain, "find_bcc_python", lambda: found.python)
    monkeypatch.setattr(toolchain, "look_for_bcc", lambda: iter([found]))
    assert toolchain.bcc_version() == version
