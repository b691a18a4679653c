"""Claims, predictions and exercises in one kernel after the other, without a browser."""

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from traitlets import default

SECONDS = 60
WIDGET = "application/vnd.jupyter.widget-view+json"


class ThisPython(AsyncKernelManager):
    """Starts the kernel of the very Python that runs the tests, whatever else is installed."""

    @default("kernel_spec_manager")
    def _without_folders(self):
        return KernelSpecManager(kernel_dirs=[], parent=self)


def run(*sources):
    """Execute the cells in a new kernel; return each cell's last result."""
    cells = [nbformat.v4.new_code_cell(text) for text in ("import tracekit as tk", *sources)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_manager_class=ThisPython, timeout=SECONDS).execute()
    results = []
    for cell in notebook.cells[1:]:
        assert [output.output_type for output in cell.outputs] == ["execute_result"], cell.outputs
        results.append(cell.outputs[0].data)
    return results


def test_what_a_learner_did_survives_the_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path))
    ask = "tk.predict('01-size', 'How many bytes?', [8, 12])"
    unanswered, compared, first_hint, failed, passed, claim = run(
        ask,
        "tk.compare_prediction('01-size', 8)",
        "tk.hint('01-1')",
        "tk.check('01-1', ...)",
        "tk.check('01-1', 'pool_left')",
        "tk.claim(90, 204 * 256 + 156 == 52389)",
    )
    assert WIDGET in unanswered
    assert "your answer: none yet" in unanswered["text/plain"]
    assert "no prediction  8" in compared["text/plain"]
    assert "hint 1 of 3" in first_hint["text/plain"]
    assert "not yet" in failed["text/plain"]
    assert passed["text/plain"] == "exercise 01-1 · passed"
    assert "false here: 204*256+165 is 52389" in claim["text/html"]

    committed, compared, second_hint, progress, table = run(
        f"{ask}.commit(8)",
        "tk.compare_prediction('01-size', 8)",
        "tk.hint('01-1')",
        "tk.progress('01')",
        "tk.claims(verdict='false')",
    )
    assert "your answer: 8" in committed["text/plain"]
    assert "as predicted" in compared["text/plain"]
    assert "hint 2 of 3" in second_hint["text/plain"]
    assert progress["text/plain"].startswith("chapter 01 · 1 of 4 exercises solved\n")
    assert table["text/plain"].startswith("1 claim · ")

    (compared,) = run("tk.compare_prediction('01-size', 12)")
    assert "otherwise" in compared["text/plain"]
