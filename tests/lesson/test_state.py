import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.errors import TracekitError
from tracekit.lesson import state


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path / "state"))


def test_what_was_saved_is_loaded():
    assert state.load("kind", "one") is None
    state.save("kind", "one", {"text": "穴", "number": None})
    assert state.load("kind", "one") == {"text": "穴", "number": None}
    state.save("kind", "one", {"number": 2})
    state.save("kind", "two", {})
    assert state.load_all("kind") == {"one": {"number": 2}, "two": {}}
    state.forget("kind", "one")
    state.forget("kind", "one")
    assert state.load_all("kind") == {"two": {}}


def test_the_folder_is_the_first_that_was_chosen(monkeypatch, tmp_path):
    assert state.state_folder() == tmp_path / "state"
    monkeypatch.delenv("TRACEKIT_STATE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state.state_folder() == tmp_path / "xdg/tracekit"
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert state.state_folder() == tmp_path / "home/.local/state/tracekit"


def test_a_write_that_fails_leaves_what_was_there(monkeypatch):
    state.save("kind", "one", {"number": 1})

    def fail(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(TracekitError, match="No space left"):
        state.save("kind", "one", {"number": 2})
    assert state.load("kind", "one") == {"number": 1}
    assert [path.name for path in (state.state_folder() / "kind").iterdir()] == ["one.json"]


def test_a_folder_that_is_not_one_is_told_with_the_next_step(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("TRACEKIT_STATE", str(file))
    with pytest.raises(TracekitError, match="can't be written") as caught:
        state.save("kind", "one", {})
    assert "TRACEKIT_STATE" in caught.value.next_step


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\udcff"])
def test_a_file_of_somebody_else_is_named(text):
    state.save("kind", "one", {})
    path = state.state_folder() / "kind/one.json"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(TracekitError, match="not what tracekit wrote") as caught:
        state.load_all("kind")
    assert str(path) in caught.value.fact
    assert caught.value.next_step == "delete it"


@pytest.mark.parametrize("name", ["", ".", "..", "../outside", "a/b", ".hidden"])
def test_a_name_can_not_leave_the_folder(name):
    with pytest.raises(TracekitError, match="can't name a file"):
        state.save("kind", name, {})
    assert not state.state_folder().exists()


def test_several_notebooks_write_at_the_same_time():
    # Each writer replaces the same file many times, with values of very different lengths.
    writer = (
        "import sys; from tracekit.lesson import state\n"
        "for n in range(101):\n"
        "    state.save('kind', 'one', {'who': sys.argv[1], 'n': n, 'text': 'x' * (n * 997)})\n"
    )
    state.save("kind", "one", {"who": "", "n": 0, "text": ""})
    words = [sys.executable, "-c", writer]
    writers = [subprocess.Popen([*words, str(number)], cwd=Path.cwd()) for number in range(3)]
    seen = 0
    while any(process.poll() is None for process in writers):
        value = state.load("kind", "one")
        assert len(value["text"]) == value["n"] * 997
        seen += 1
    assert [process.returncode for process in writers] == [0, 0, 0]
    assert seen
    assert state.load("kind", "one")["n"] == 100
    (only,) = (state.state_folder() / "kind").iterdir()
    assert json.loads(only.read_text())["n"] == 100
