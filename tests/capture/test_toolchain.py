import pytest

from tracekit.capture import toolchain
from tracekit.errors import RequirementMissing
from tracekit.host.interpreters import BccPython


@pytest.fixture
def bcc(tmp_path, monkeypatch):
    python = tmp_path / "python3"
    monkeypatch.setattr(toolchain, "find_bcc_python", lambda: python)
    monkeypatch.setattr(
        toolchain,
        "look_for_bcc",
        lambda: iter(
            [BccPython(tmp_path / "other", ""), BccPython(python, str(tmp_path / "__init__.py"))]
        ),
    )
    return tmp_path


def test_the_version_is_read_from_bccs_own_file(bcc):
    (bcc / "version.py").write_text("__version__ = '0.26.0'\n")
    assert toolchain.bcc_version() == "0.26.0"


def test_a_bcc_that_says_no_version(bcc):
    assert toolchain.bcc_version() == "of an unknown version"
    (bcc / "version.py").write_text("")
    assert toolchain.bcc_version() == "of an unknown version"


def test_a_bcc_that_is_gone(bcc, monkeypatch):
    monkeypatch.setattr(toolchain, "look_for_bcc", lambda: iter(()))
    with pytest.raises(RequirementMissing, match="no longer has bcc"):
        toolchain.bcc_version()
