"""What every chapter and every book of solutions looks like as a file: nothing is run."""

import json
import re
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from tracekit import errors
from tracekit.lesson.document import all_claims

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CHAPTERS = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
SOLUTIONS = sorted(NOTEBOOKS.glob("solutions/*.ipynb"))
LAST_SECTIONS = ["Summary", "Synopsis", "Exercises", "Next"]
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# A starter that has not been filled in fails in one of these ways, or with a tracekit error.
PYTHON_ERRORS = {"AssertionError", "NameError", "TypeError"}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def of_kind(path, kind):
    return [cell for cell in read(path)["cells"] if cell["cell_type"] == kind]


def tags(cell):
    return cell["metadata"].get("tags", [])


def words(text):
    """The words a reader reads: of a link its text, of a fenced block nothing."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return [word for word in text.split() if re.search(r"\w", word)]


def headings(path):
    """The titles of the sections, in order."""
    texts = [source(cell) for cell in of_kind(path, "markdown")]
    return [title for text in texts for title in re.findall(r"(?m)^## (.*)$", text)]


def exercises(path):
    """The starters: code cells, and fenced code in markdown, behind the heading Exercises."""
    found, inside = [], False
    for cell in read(path)["cells"]:
        text = source(cell)
        if re.match(r"## ", text):
            inside = text.startswith("## Exercises")
        if inside and cell["cell_type"] == "code":
            found.append(text)
        elif inside:
            found += re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    return found


def checked(code):
    """The exercises whose checks a cell calls: "03-2"."""
    return re.findall(r"\btk\.check\(\s*\"(\d\d-\d)\"", code)


def claimed(code):
    """The claims that a cell asserts."""
    return [int(number) for number in re.findall(r"\btk\.claim\(\s*(\d+)\b", code)]


every_notebook = pytest.mark.parametrize("path", CHAPTERS + SOLUTIONS, ids=lambda p: p.stem)
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)


def test_the_document_has_its_nine_chapters_and_each_number_is_given_once():
    numbers = [int(path.name[:2]) for path in CHAPTERS]
    assert numbers[:9] == list(range(1, 10))
    assert len(set(numbers)) == len(numbers)


def test_every_chapter_has_its_solutions():
    assert [path.name for path in SOLUTIONS] == [path.name for path in CHAPTERS]


# the file ------------------------------------------------------------------------------------


@every_notebook
def test_the_file_is_written_in_one_way(path):
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    again = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    assert text == again
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"] == KERNEL
    assert notebook["metadata"].get("language_info", {"name": "python"}) == {"name": "python"}
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}


@every_notebook
def test_no_output_is_kept(path):
    for cell in of_kind(path, "code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]


@every_notebook
def test_ids_are_readable_and_unique(path):
    ids = [cell["id"] for cell in read(path)["cells"]]
    assert [i for i in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", i) or len(i) > 64] == []
    assert [i for i in ids if ids.count(i) > 1] == []


@every_notebook
def test_metadata_say_only_what_a_cell_is_meant_to_raise(path):
    known = {name for name in errors.__all__ if name != "Diagnostic"} | PYTHON_ERRORS
    for cell in read(path)["cells"]:
        assert set(cell["metadata"]) <= {"tags", "tracekit"}, cell["id"]
        assert set(tags(cell)) <= {"raises-exception", "exercise"}, cell["id"]
        note = cell["metadata"].get("tracekit", {})
        assert set(note) <= {"raises"}, cell["id"]
        if note:
            assert note["raises"] in known, cell["id"]
            assert "raises-exception" in tags(cell), cell["id"]
        if tags(cell):
            assert cell["cell_type"] == "code", cell["id"]


@every_notebook
def test_no_cell_is_empty_and_none_names_a_machine(path):
    for cell in read(path)["cells"]:
        assert source(cell).strip(), cell["id"]
        assert source(cell) == source(cell).strip("\n"), cell["id"]
        assert not re.search(r"/(work|root|home|tmp)/", source(cell)), cell["id"]


# code ----------------------------------------------------------------------------------------


@every_chapter
def test_code_cells_are_short(path):
    texts = [source(cell).splitlines() for cell in of_kind(path, "code")]
    counts = [sum(bool(line.strip()) for line in lines) for lines in texts]
    assert max(map(len, texts)) <= 20
    assert sum(count <= 8 for count in counts) >= 0.9 * len(counts)
    assert median(counts) <= 3


@every_notebook
def test_lines_of_code_fit_the_page(path):
    for cell in of_kind(path, "code"):
        assert [line for line in source(cell).splitlines() if len(line) > 79] == [], cell["id"]


@every_notebook
def test_nothing_is_installed_and_nobody_leaves(path):
    for cell in of_kind(path, "code"):
        assert not re.search(r"(?m)^\s*[!%]|\bexit\(|\bwhile True\b|while 1\b", source(cell))


# text ----------------------------------------------------------------------------------------


@every_chapter
def test_markdown_cells_are_short(path):
    counts = [len(words(source(cell))) for cell in of_kind(path, "markdown")]
    assert max(counts) <= 150
    assert 20 <= median(counts) <= 40


@every_notebook
def test_a_paragraph_is_one_line(path):
    """The page breaks it, at whatever width it has; a list, a table or a fenced block has more."""
    own_line = re.compile(r"\s*([-*] |\d+\. |#|\||>)|\s*$")
    for cell in of_kind(path, "markdown"):
        lines = re.sub(r"```.*?```", "", source(cell), flags=re.DOTALL).splitlines()
        pairs = pairwise(lines)
        wrapped = [b for a, b in pairs if a.strip() and a[0] not in "#|" and not own_line.match(b)]
        assert wrapped == [], cell["id"]


@every_notebook
def test_no_word_belittles_the_reader(path):
    for cell in of_kind(path, "markdown"):
        assert not re.search(r"(?i)\b(simply|just|obviously|of course)\b", source(cell)), cell["id"]


@every_notebook
def test_links_lead_somewhere(path):
    for cell in of_kind(path, "markdown"):
        for target in re.findall(r"\]\(([^)#]+)\)", source(cell)):
            if not target.startswith("https://"):
                assert (path.parent / target).is_file(), f"{cell['id']}: {target}"


# the chapter's shape -------------------------------------------------------------------------


@every_chapter
def test_a_chapter_has_a_walkable_length(path):
    # The first chapter has 33 of the document's claims to judge, and comes out above 90.
    assert 40 <= len(read(path)["cells"]) <= 100
    kinds = "".join(cell["cell_type"][0] for cell in read(path)["cells"])
    assert "cccc" not in kinds


@every_notebook
def test_it_begins_with_a_title_and_the_machine(path):
    title, setup = read(path)["cells"][:2]
    assert re.match(r"# \w", source(title))
    assert setup["cell_type"] == "code"
    assert len(source(setup).splitlines()) <= 6
    assert source(setup).endswith("tk.describe_machine()")
    if path in CHAPTERS:
        assert "**Prerequisites:**" in source(title)
        assert "**What this machine needs:**" in source(title)


@every_chapter
def test_it_ends_in_the_same_way(path):
    assert headings(path)[-4:] == LAST_SECTIONS


@every_chapter
def test_a_cell_asserts_few_claims_and_no_claim_has_two(path):
    cells = {cell["id"]: claimed(source(cell)) for cell in of_kind(path, "code")}
    assert [name for name, numbers in cells.items() if len(numbers) > 3] == []
    numbers = [number for found in cells.values() for number in found]
    assert [number for number in numbers if numbers.count(number) > 1] == []


@every_chapter
def test_each_claim_about_the_chapters_lines_has_a_cell(path):
    """One cell and no more: no chapter asserts another chapter's claims, and none twice."""
    numbers = {number for cell in of_kind(path, "code") for number in claimed(source(cell))}
    assert numbers == {n for n, claim in all_claims().items() if claim.chapter == path.name[:2]}


@every_chapter
def test_each_exercise_has_a_place_to_write_and_a_check(path):
    starters = exercises(path)
    assert 3 <= len(starters) <= 5
    for starter in starters:
        assert "..." in starter
        assert re.search(r"(?m)^\s*assert ", starter) or checked(starter)


@every_chapter
def test_the_solutions_solve_these_exercises(path):
    """Each check of the chapter stands in the solutions too, word for word."""
    solutions = path.parent / "solutions" / path.name
    solved = "\n".join(source(cell) for cell in of_kind(solutions, "code"))
    for starter in exercises(path):
        assert set(checked(starter)) <= set(checked(solved))
        for line in starter.splitlines():
            if line.startswith("assert ") and line.count("...") == 0:
                assert line in solved
    assert "..." not in re.sub(r"[\"'#].*", "", solved)
