from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.errors import RequirementMissing
from tracekit.host import interpreters
from tracekit.host.interpreters import (
    BccPython,
    find_bcc_python,
    find_distribution_python,
    look_for_bcc,
    python_version,
)


@pytest.fixture
def _only(monkeypatch, tmp_path):
    # A Python, called python-with-bcc, whose bcc is what the test puts in tmp_path/bcc.
    python = tmp_path / "python-with-bcc"
    python.write_text(
        f"#!/bin/sh\nshift\nexec {sys.executable} -c "
        f"\"import sys; sys.path.insert(0, '{tmp_path}')\n$2\"\n"
    )
    python.chmod(0o755)
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc/__init__.py").touch()
    monkeypatch.setattr(interpreters, "_candidates", lambda: iter([python]))
    find_bcc_python.cache_clear()
    yield
    find_bcc_python.cache_clear()


@pytest.mark.usefixtures("_only")
def test_the_real_bcc_has_its_library_beside_it(tmp_path):
    (tmp_path / "bcc/libbcc.py").touch()
    assert list(look_for_bcc()) == [
        BccPython(tmp_path / "python-with-bcc", str(tmp_path / "bcc/__init__.py"))
    ]
    assert find_bcc_python() == tmp_path / "python-with-bcc"


@pytest.mark.usefixtures("_only")
def test_a_foreign_bcc_is_named(tmp_path):
    with pytest.raises(RequirementMissing) as caught:
        find_bcc_python()
    assert f"{tmp_path}/bcc/__init__.py is an unrelated package" in caught.value.fact
    assert "python3-bpfcc" in caught.value.next_step


@pytest.mark.usefixtures("_only")
def test_no_bcc_at_all(tmp_path):
    (tmp_path / "bcc/__init__.py").unlink()
    (tmp_path / "bcc").rmdir()
    with pytest.raises(RequirementMissing, match="never with pip or conda") as caught:
        find_bcc_python()
    assert "unrelated" not in caught.value.fact


def test_the_chosen_interpreter_is_asked_first(monkeypatch):
    monkeypatch.setenv("TRACEKIT_BCC_PYTHON", "/opt/chosen/python")
    assert next(interpreters._candidates()) == Path("/opt/chosen/python")


def test_versions(tmp_path):
    assert python_version(Path(sys.executable)) == sys.version_info[:2]
    assert python_version(Path(os.path.realpath(sys.executable))) == sys.version_info[:2]
    assert python_version(tmp_path / "none") == (0, 0)


def test_the_environment_can_be_made_of_what_is_found():
    python = find_distribution_python()
    assert python is not None
    assert (3, 11) <= python_version(python) < (3, 14)
    assert not python.is_relative_to(sys.prefix) or sys.prefix == "/usr"


@pytest.mark.live
def test_the_interpreter_found_really_imports_it():
    find_bcc_python.cache_clear()
    python = find_bcc_python()
    program = "import warnings; warnings.simplefilter('ignore'); import bcc; print(bcc.BPF.KPROBE)"
    shown = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True)
    assert shown.stdout.strip().isdigit(), shown.stderr
