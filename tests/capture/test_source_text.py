from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture.source_text import Source, blank, brace_depths, find_probes


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a // b\nc", "a     \nc"),
        ("a /* b\n { */ c", "a     \n      c"),
        ('f("}", 1)', "f(   , 1)"),
        (r'"\"{" x', "      x"),
        ("'\"' x '\"'", "    x    "),
        ("#error don't x", "#error don't x"),
        ("/* never ends", "/* never ends"),
    ],
)
def test_comments_and_strings_are_blank(text, code):
    assert blank(text) == code


@given(st.text(alphabet="ab{}\"'/*\\\n ", max_size=60))
def test_every_character_and_line_stays_in_its_place(text):
    assert len(blank(text)) == len(text)
    assert [len(line) for line in blank(text).split("\n")] == [
        len(line) for line in text.split("\n")
    ]


def test_depths_are_those_in_front_of_each_character():
    assert brace_depths("a{b{}}") == [0, 0, 1, 1, 2, 1, 0]


def test_probes_that_a_macro_only_may_define_are_none():
    code = (
        "#define A TRACEPOINT_PROBE(a, one) {}\n"
        "#define B \\\n\\\n TRACEPOINT_PROBE(a, two) {}\n"
        "  TRACEPOINT_PROBE(a, three) {}\n"
    )
    assert [match["event"] for match in find_probes(code)] == ["three"]


@pytest.mark.parametrize(
    "text",
    [
        "int f(int a)\n{\n\treturn a;\n}\nint g(void) { return 0; } int h(int b) { return b; }\n",
        "struct s { int a; };\nint a[] = { 1, 2 };\nint f(struct s *p) { if (p) { return 1; } }",
        "TRACEPOINT_PROBE(a, b)\n\n{\n}\nTRACEPOINT_PROBE(a, c) { /* ) { */ }",
        "#define M(x) ({ x; })\n#define N(x) \\\n\tif (x) { y; }\nint f(int a) { M(a); }",
        "",
    ],
)
def test_directives_give_every_line_its_true_number(text):
    """Read as a preprocessor would: the lines behind a directive count from its number."""
    expanded = Source(text, "mine.c", Path()).expand(True, once=set(), within=())
    number, found = 0, {}
    for line in expanded.split("\n"):
        if line.startswith("#line "):
            number = int(line.split()[1])
            continue
        if line.strip() and line != "extern":
            found.setdefault(number, []).append(line.strip())
        number += 1
    source = {n: line for n, line in enumerate(text.split("\n"), 1) if line.strip()}
    assert found.keys() == source.keys()
    for n, pieces in found.items():
        assert "".join(pieces).replace(" ", "") == source[n].strip().replace(" ", "")
    # and taken out again the text is as it was
    assert Source(text, "mine.c", Path()).expand(False, once=set(), within=()) == text
