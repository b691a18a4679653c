import ast
import json
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tracekit.errors import TracekitError, UnknownClaim, UnknownKernel, VerdictError
from tracekit.lesson import claims as module
from tracekit.lesson.claims import claims, main
from tracekit.lesson.document import all_claims
from tracekit.lesson.judgement import claim, judgements

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
THEN = "ubuntu-20.04_5.4"  # the document's kernel, in the catalogue


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path))


@pytest.fixture
def kernel(monkeypatch):
    """Let this process believe that it runs on another kernel."""

    def pretend(release: str) -> None:
        names = list(os.uname())
        names[2] = release
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(names))

    pretend("6.18.44")
    return pretend


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("number", "holds", "because", "line"),
    [
        (117, False, "", "line 459 · true on 5.4, false here: family came in between"),
        (117, False, "mark reads 2", "line 459 · true on 5.4, false here: mark reads 2"),
        (120, True, "", "line 529 · true on 5.4 and here"),
        (5, None, "no such event", "line 14 · true on 5.4, not judged here: no such event"),
        (5, None, "", "line 14 · true on 5.4, not judged here"),
        (45, "not checkable", "read it", "line 127 · true on 5.4, not checkable here: read it"),
        (48, "not checkable", "", "line 139 · not checkable here"),
        (85, True, "", "line 331 · true here"),
        (50, False, "2305 here", "line 156 · false here: 2305 here"),
        (89, False, "it is 10", "line 345 · false on 5.4 and here: it is 10"),
        (
            117,
            True,
            "",
            "line 459 · true on 5.4 and here · the course has seen it false on 6.18",
        ),
    ],
)
def test_a_cell_shows_one_line(number, holds, because, line):
    found = claim(number, holds, because)
    assert found.line == f"claim {number} · {line}"
    assert " ".join(repr(found).split()) == found.line
    html = found._repr_html_()
    assert html.count("<") == 2
    assert f">claim {number} · {line}<" in html


@pytest.mark.usefixtures("kernel")
def test_a_verdict_may_be_that_of_another_kernels_file():
    file = "(format file in the catalogue)"
    found = claim(7, True, "this kernel has no such event", catalogued=THEN)
    assert found.line == f"claim 7 · line 18 · true on 5.4 {file}: this kernel has no such event"
    assert (found.word, found.here, found.holds) == ("true on 5.4", None, True)
    other = claim(7, np.bool_(False), catalogued=THEN)
    assert other.word == "false on 5.4"
    assert other.line.endswith(" · the course has seen it true on 5.4")
    assert judgements("6.18.44")[7] == other
    assert claim(62, False, catalogued="debian-12_6.1-rt").word == "false on 6.1-rt"


def test_a_kernel_that_the_catalogue_lacks_gives_no_verdict():
    with pytest.raises(UnknownKernel):
        claim(7, True, catalogued="ubuntu-20.04_5.5")
    assert judgements(os.uname().release) == {}


def test_the_kernel_of_the_document_is_not_compared_with_itself(kernel):
    kernel("5.4.0-28-generic")
    assert repr(claim(117, True)) == "claim 117 · line 459 · true here"


@pytest.mark.usefixtures("kernel")
def test_html_escapes_what_a_reader_wrote():
    assert "<b>" not in claim(117, False, "<b>&")._repr_html_()
    assert claim(117, False, "<b>&").because == "<b>&"


@pytest.mark.usefixtures("kernel")
def test_every_claim_can_be_shown_with_every_verdict():
    for number, stated in all_claims().items():
        for holds, other in product((True, False, "not checkable", None), ("", THEN)):
            found = claim(number, holds, catalogued=other)
            assert found.line.startswith(f"claim {number} · line {stated.line} · ")
            assert "\n" not in found.line
            assert max(map(len, repr(found).splitlines())) <= 80


def test_a_verdict_is_kept_for_its_kernel_and_replaced_by_the_next(kernel):
    claim(117, True)
    claim(117, np.bool_(False), "again")
    claim(5, None)
    claim(48, "not checkable")
    kept = {5: None, 48: "not checkable", 117: False}
    assert recorded("6.18.44") == kept
    assert type(recorded("6.18.44")[117]) is bool
    kernel("5.4.0-28-generic")
    assert recorded("5.4.0-28-generic") == {}
    claim(117, True)
    assert recorded("5.4.0-28-generic") == {117: True}
    assert recorded("6.18.44") == kept


def recorded(release: str) -> dict[int, bool | str | None]:
    return {number: found.holds for number, found in judgements(release).items()}


@pytest.mark.parametrize("holds", [1, 0, "yes", "true", [True], np.array([True]), np.int64(1), 1.0])
def test_what_is_not_a_truth_value_is_refused(holds):
    with pytest.raises(VerdictError, match="not a truth value") as caught:
        claim(62, holds)
    assert isinstance(caught.value, TypeError | TracekitError)
    assert judgements(os.uname().release) == {}


def test_a_number_without_a_claim_records_nothing():
    with pytest.raises(UnknownClaim):
        claim(122, True)
    assert judgements(os.uname().release) == {}


@pytest.mark.usefixtures("kernel")
def test_the_table_knows_all_verdicts():
    claim(117, False)
    claim(120, True)
    claim(5, None, "no such event")
    claim(7, True, catalogued=THEN)
    claim(12, False, catalogued=THEN)
    claim(48, "not checkable")
    table = claims()
    assert len(table) == 121
    assert " ".join(repr(table).split()).startswith(
        "121 claims · 1 true, 1 false, 1 true on 5.4, 1 false on 5.4, 1 not checkable, "
        "1 not judged, 115 not run · Linux 6.18.44 id line here "
    )
    assert max(map(len, table.text.splitlines())) <= 80
    assert "true on 5.4, 5.10; false on 5.10-rt, 6.1," in table.text
    html = table._repr_html_()
    assert html.count("<tr ") == 121
    assert "family came in between" in html
    assert "no such event" in html


@pytest.mark.usefixtures("kernel")
def test_the_table_can_be_narrowed():
    claim(117, False)
    claim(120, True)
    claim(5, None)
    claim(7, True, catalogued=THEN)
    assert [c.id for c in claims(verdict="false").claims] == [117]
    assert [c.id for c in claims(verdict="true on 5.4").claims] == [7]
    assert [c.id for c in claims(verdict="not judged").claims] == [5]
    assert [c.id for c in claims(chapter="08", verdict="true").claims] == [120]
    assert [c.id for c in claims(chapter="06").claims] == [97, 98, 99, 100]
    assert len(claims(verdict="not run")) == 117


@pytest.mark.usefixtures("kernel")
def test_plain_text_fits_a_notebooks_page():
    lines = repr(claims()).splitlines()
    assert 25 < len(lines) <= 30
    whole = claims().text.splitlines()
    assert [line.split() for line in lines[:-1]] == [
        line.split() for line in whole[: len(lines) - 1]
    ]
    shown = sum(bool(re.match(r" *\d+ +\d+  ", line)) for line in lines)
    assert lines[-1].startswith(f"… {121 - shown} more; ")
    assert repr(claims(chapter="06")) == claims(chapter="06").text
    assert repr(claims(verdict="true")).splitlines()[0] == "0 claims · Linux 6.18.44"


@pytest.mark.usefixtures("kernel")
def test_the_verb_prints_one_object_for_each_claim(capsys):
    claim(117, False, "mark reads 2")
    claim(5, None, "gone")
    claim(7, True, catalogued=THEN)
    claim(48, "not checkable")
    assert main(json=True) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [entry["id"] for entry in printed] == list(range(1, 122))
    by_id = {entry["id"]: entry for entry in printed}
    assert by_id[117]["line"] == 459
    assert by_id[117]["verdict_here"] is False
    assert by_id[117]["because"] == "mark reads 2"
    assert by_id[117]["verdicts"]["5.4"] is True
    assert by_id[117]["how"]["5.4"] == "measured"
    here = {number: (entry["verdict_here"], entry["run_here"]) for number, entry in by_id.items()}
    assert here[5] == ("not judged", True)
    assert here[6] == ("not run", False)
    assert here[7] == ("true on 5.4", True)
    assert here[48] == ("not checkable", True)
    assert main(json=False) == 0
    assert capsys.readouterr().out == f"{claims().text}\n"


def test_the_command_line_has_the_verb():
    words = [sys.executable, "-m", "tracekit", "claims", "--json"]
    shown = subprocess.run(
        words, capture_output=True, text=True, cwd=NOTEBOOKS.parent, check=True
    ).stdout
    printed = json.loads(shown)
    assert len(printed) == 121
    assert all(entry.keys() >= {"id", "line", "verdict_here", "verdicts"} for entry in printed)
    assert {entry["verdict_here"] for entry in printed} == {"not run"}


@pytest.mark.parametrize(
    ("number", "holds", "release", "seen"),
    [
        (117, True, "6.18.44", False),
        (120, True, "6.18.44", None),
        (112, False, "6.18.44", None),
        (85, False, "6.18.44", True),  # no kernel takes part, so it is the same on all
        (5, None, "6.18.44", None),
        (4, "not checkable", "6.18.44", None),
        (117, True, "5.4.0-28", None),
        (117, False, "6.1.0-56-rt-amd64", None),
        (62, True, "4.18.0", None),  # nobody looked there
    ],
)
def test_only_a_verdict_contradicts_what_the_course_has_seen(kernel, number, holds, release, seen):
    kernel(release)
    assert claim(number, holds).contradicts is seen


def asserted_claims(notebook: Path) -> list[int | None]:
    """The claims a notebook asserts, in order; None for a call whose number is no literal."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found: list[int | None] = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        # Lines that IPython treats itself are no Python.
        code = re.sub(r"(?m)^\s*[%!].*$", "", "".join(cell["source"]))
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("tk.claim", "claim"):
                number = node.args[0] if node.args else None
                literal = isinstance(number, ast.Constant) and type(number.value) is int
                found.append(number.value if literal else None)
    return found


def test_a_notebooks_claims_are_found(tmp_path):
    cells = [
        {"cell_type": "code", "source": ["%matplotlib inline\n", "tk.claim(117, x == 1)"]},
        {"cell_type": "markdown", "source": ["tk.claim(1, True)"]},
        {"cell_type": "code", "source": ["y = tk.claim(\n    5,\n    None)\n", "# tk.claim(6, y)"]},
        {"cell_type": "code", "source": ["for n in a:\n", "    tk.claim(n, True)"]},
        {"cell_type": "code", "source": ["tk.claims()"]},
    ]
    notebook = tmp_path / "one.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    assert asserted_claims(notebook) == [117, 5, None]


def test_each_claim_is_asserted_once_and_in_its_chapter():
    where: dict[int | None, list[str]] = {}
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        for number in asserted_claims(notebook):
            where.setdefault(number, []).append(notebook.name[:2])
    assert where == {number: [claim.chapter] for number, claim in all_claims().items()}


def test_solutions_assert_no_claim():
    for notebook in sorted((NOTEBOOKS / "solutions").glob("*.ipynb")):
        assert asserted_claims(notebook) == [], notebook.name


def test_all_names_are_there():
    assert all(hasattr(module, name) for name in module.__all__)
