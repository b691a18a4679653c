import sys
import types

import pytest

from tracekit.capture import registry


class FakeProbe:
    def __init__(self, name, cell=None, opened=0):
        self.name, self.cell, self.opened = name, cell, opened
        self.closed = self.released = False

    def close(self):
        self.closed = True

    def release(self):
        self.released = True


@pytest.fixture
def probes():
    made = [
        FakeProbe("a", ("cell 1", 7), 3),
        FakeProbe("b", ("cell 2", 8), 1),
        FakeProbe("c", None, 2),
    ]
    for probe in made:
        registry.register(probe)
    yield made
    for probe in made:
        probe.close()


def open_names():
    return [probe.name for probe in registry.open_probes() if isinstance(probe, FakeProbe)]


def test_open_probes_are_listed_oldest_first(probes):
    assert open_names() == ["b", "c", "a"]
    probes[2].close()
    assert open_names() == ["b", "a"]


def test_a_probe_that_is_gone_is_not_kept(probes):
    registry.register(FakeProbe("temporary"))
    assert "temporary" not in open_names()


@pytest.mark.parametrize(
    ("name", "cell", "left"),
    [
        ("a", None, ["b", "c"]),
        ("new", None, ["b", "c", "a"]),
        # another run of cell 1 closes what its former run made; the same run does not
        ("new", ("cell 1", 9), ["b", "c"]),
        ("new", ("cell 1", 7), ["b", "c", "a"]),
        ("b", ("cell 1", 9), ["c"]),
    ],
)
def test_what_a_new_probe_replaces(probes, name, cell, left):
    registry.close_replaced(name, cell)
    assert open_names() == left


def test_all_can_be_closed(probes):
    registry.close_all()
    assert all(probe.closed for probe in probes)


def shell(monkeypatch, value):
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: value
    monkeypatch.setitem(sys.modules, "IPython", module)


def test_the_running_cell_is_its_id_and_its_count(monkeypatch):
    parent = {"metadata": {"cellId": "abc"}}
    shell(monkeypatch, types.SimpleNamespace(get_parent=lambda: parent, execution_count=5))
    assert registry.running_cell() == ("abc", 5)


@pytest.mark.parametrize(
    "value",
    [
        None,
        types.SimpleNamespace(),
        types.SimpleNamespace(get_parent=lambda: None),
        types.SimpleNamespace(get_parent=dict),
        types.SimpleNamespace(get_parent=lambda: {"metadata": {}}),
    ],
    ids=["no shell", "terminal", "no parent", "empty parent", "no id"],
)
def test_outside_a_notebook_there_is_no_cell(monkeypatch, value):
    shell(monkeypatch, value)
    assert registry.running_cell() is None


def test_without_ipython_there_is_no_cell(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert registry.running_cell() is None
