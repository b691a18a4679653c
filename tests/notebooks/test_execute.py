"""Every chapter and every book of solutions runs on this kernel, and leaves nothing behind."""

import os
import re
import time
import uuid
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from traitlets import default

from tracekit import errors
from tracekit.lesson.judgement import judgements
from tracekit.tracepoints.tracefs import find_tracefs

pytestmark = pytest.mark.live

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ALL = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb")) + sorted(NOTEBOOKS.glob("solutions/*.ipynb"))
CELL_SECONDS = 120
ROWS, COLUMNS = 30, 80
# A page of the web, a source that is nowhere here, another person's machine.
NOT_CHECKABLE = {4, 45, 48}
# What the format file of random:urandom_read says, where no kernel is left that has it.
OF_A_FORMER_EVENT = {7, 12}
TRACEKIT_ERRORS = {
    name
    for name in errors.__all__
    if isinstance(getattr(errors, name), type) and issubclass(getattr(errors, name), Exception)
}


class ThisPython(AsyncKernelManager):
    """Starts the kernel of the very Python that runs the tests, whatever else is installed."""

    @default("kernel_spec_manager")
    def _without_folders(self):
        return KernelSpecManager(kernel_dirs=[], parent=self)


@pytest.fixture(scope="module", autouse=True)
def _state(tmp_path_factory):
    """What the notebooks keep, verdicts and progress, is kept for this run of the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACEKIT_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="module", params=ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")
def path(request):
    return request.param


@pytest.fixture(scope="module")
def run(path):
    """One notebook, executed in a kernel of its own, which has ended; and that kernel's mark."""
    notebook = nbformat.read(path, as_version=4)
    mark = f"TRACEKIT_TEST_RUN={uuid.uuid4()}"
    name, value = mark.split("=")
    os.environ[name] = value
    try:
        NotebookClient(
            notebook,
            kernel_manager_class=ThisPython,
            timeout=CELL_SECONDS,
            resources={"metadata": {"path": str(path.parent)}},
        ).execute()
    finally:
        del os.environ[name]
    return notebook, mark


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell):
    """What a cell shows as plain text, its lines put together."""
    texts = [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return " ".join(" ".join(texts).split())


def raised(cell):
    return [output.ename for output in cell.outputs if output.output_type == "error"]


# A cell that fails and is not tagged has already failed the fixture, with its source and message.


def test_cells_that_are_meant_to_fail_do(run):
    notebook, _ = run
    for cell in code_cells(notebook):
        if "raises-exception" in cell.metadata.get("tags", []):
            wanted = cell.metadata.get("tracekit", {}).get("raises")
            assert len(raised(cell)) == 1, cell.id
            assert set(raised(cell)) <= ({wanted} if wanted else TRACEKIT_ERRORS), cell.id
        else:
            assert raised(cell) == [], cell.id


def test_every_code_cell_ran(run):
    notebook, _ = run
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_a_starter_fails_its_check_and_a_solution_passes(path, run):
    outcome = "passed" if path.parent.name == "solutions" else "not yet"
    for cell in code_cells(run[0]):
        for name in re.findall(r"(?m)^tk\.check\(\s*\"(\d\d-\d)\"", cell.source):
            assert f"exercise {name} · {outcome}" in shown(cell), cell.id


def test_each_claim_got_the_verdict_that_the_data_have(run):
    """A verdict that differs on this kernel is an error of the cell, or of the data."""
    cells = "\n".join(cell.source for cell in code_cells(run[0]))
    numbers = [int(number) for number in re.findall(r"\btk\.claim\(\s*(\d+)\b", cells)]
    found = judgements(os.uname().release)
    assert [number for number in numbers if number not in found] == []
    lines = [found[number].line for number in numbers if found[number].contradicts is not None]
    assert lines == []
    assert {n for n in numbers if found[n].holds == "not checkable"} <= NOT_CHECKABLE
    assert {n for n in numbers if found[n].catalogued} <= OF_A_FORMER_EVENT


def test_outputs_fit_the_page(run):
    notebook, _ = run
    for cell in code_cells(notebook):
        for output in cell.outputs:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            lines = text.expandtabs(8).splitlines()
            assert len(lines) <= ROWS, cell.id
            assert [line for line in lines if len(line) > COLUMNS] == [], cell.id


def test_nothing_goes_to_standard_error(run):
    notebook, _ = run
    for cell in code_cells(notebook):
        assert [o.text for o in cell.outputs if o.get("name") == "stderr"] == [], cell.id


def test_no_process_is_left_that_could_hold_a_program(run):
    """A program lives as long as a descriptor of it, and each process inherited the run's mark."""
    _, mark = run
    deadline = time.monotonic() + 10
    while left := processes_with(mark):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def test_no_tracefs_instance_is_left(run):
    folder = find_tracefs() / "instances"
    deadline = time.monotonic() + 10
    while left := [entry.name for entry in folder.iterdir() if is_abandoned(entry.name)]:
        assert time.monotonic() < deadline, f"nobody reads these any more: {left}"
        time.sleep(0.05)


def processes_with(mark):
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environ.read_bytes().split(b"\0")
            command = (environ.parent / "cmdline").read_bytes()
        except OSError:  # it ended, or belongs to somebody else
            continue
        if mark.encode() in variables:
            found.append(f"{environ.parent.name} {command.decode(errors='replace')}")
    return found


def is_abandoned(name):
    pid = name.removeprefix("tracekit-worker-")
    return pid != name and not Path("/proc", pid).exists()
