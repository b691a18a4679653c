import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tracekit.capture.probe import PROGRAMS
from tracekit.capture.program import Program
from tracekit.errors import CompileError, TracekitError
from tracekit.lesson.source import show_diff, show_source

TRICKY = """/* a comment
   over two lines: <b>bold</b> & "quoted" */
#define NAME "<x>"

\tint a = 0x10; // tab in front
"""


class PreText(HTMLParser):
    """The text of <pre>, split into what can be selected and what can't; every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.selectable = ""
        self.numbers: list[str] = []
        self.caption = ""
        self.feed(html)
        self.close()
        assert not self.open, "a tag is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append((tag, dict(attrs).get("style") or ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        if "figcaption" in tags:
            self.caption += data
        elif any("user-select:none" in style for _, style in self.open):
            self.numbers.append(data)
        elif "pre" in tags:
            self.selectable += data


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.c")), ids=lambda path: path.name)
def test_every_program_is_shown_as_it_is(path: Path) -> None:
    source = show_source(path.name)
    assert source.text == path.read_text()
    html = PreText(source._repr_html_())
    assert html.selectable + "\n" == path.read_text()
    assert html.numbers == [str(n) for n in range(1, len(source.lines) + 1)]
    assert html.caption == path.name
    text = repr(source).splitlines()
    assert max(map(len, text)) <= 80
    assert text[0] == path.name
    numbered = [line for line in text[1:] if line[:2].strip().isdecimal()]
    assert [int(line.split()[0]) for line in numbered] == list(range(1, len(source.lines) + 1))


def test_lines_keep_their_numbers() -> None:
    everything = show_source("tcp_probe.c")
    number = next(n for n, line in enumerate(everything.lines, 1) if "bpf_ktime_get_ns" in line)
    part = show_source("tcp_probe.c", lines=(number - 1, number))
    assert part.lines == everything.lines[number - 2 : number]
    assert PreText(part._repr_html_()).numbers == [str(number - 1), str(number)]
    assert repr(part).splitlines()[0] == (
        f"tcp_probe.c, lines {number - 1} to {number} of {len(everything.lines)}"
    )
    assert any(
        line.split() == [str(number), *everything.lines[number - 1].split()]
        for line in repr(part).splitlines()
    )


def test_html_escapes_and_keeps_tabs_and_comments_over_lines() -> None:
    source = show_source(Program(TRICKY, "<tricky>.c"))
    html = source._repr_html_()
    assert "<b>" not in html
    assert "<tricky>" not in html
    parsed = PreText(html)
    assert parsed.selectable + "\n" == TRICKY
    assert parsed.caption == "<tricky>.c"
    second = show_source(source.program, lines=(2, 2))
    # begun on a line that is not shown, it is a comment all the same
    assert "font-style:italic" in second._repr_html_()


def test_colours_come_from_the_theme() -> None:
    html = show_source("tcp_probe.c")._repr_html_()
    assert "color:var(--jp-mirror-editor-keyword-color,inherit)" in html
    assert "background:transparent" in html


def test_long_lines_go_on_without_a_number() -> None:
    source = show_source(Program("\tcall(" + "argument, " * 12 + "last);\nint b;\n", "long.c"))
    rows = repr(source).splitlines()[1:]
    assert max(map(len, rows)) <= 80
    assert [row[0] for row in rows] == ["1", *[" "] * (len(rows) - 2), "2"]
    assert "".join(row[1:] for row in rows[:-1]).split() == source.lines[0].split()


def test_a_program_without_text_is_shown() -> None:
    assert repr(show_source(Program("", "empty.c"))) == "empty.c"
    assert PreText(show_source(Program("", "empty.c"))._repr_html_()).selectable == ""


class HasProgram:
    program = Program("int a;\n", "held.c")


def test_what_holds_a_program_is_shown() -> None:
    assert show_source(HasProgram()).text == "int a;\n"


@pytest.mark.parametrize("lines", [(0, 1), (2, 1), (1, 2), (-1, 1)])
def test_lines_that_are_not_there(lines: tuple[int, int]) -> None:
    with pytest.raises(TracekitError, match=r"held\.c has no lines .*\n.*from 1 to 1"):
        show_source(HasProgram(), lines=lines)


def test_no_such_file() -> None:
    with pytest.raises(CompileError, match=r"tcp_probe_simple\.c"):
        show_source("tcp_probe_simpel.c")


NAMES = ("urandomread.c", "urandomread_explicit.c")


def test_difference_begins_as_diff_begins() -> None:
    # diffutils is essential in Debian and Ubuntu
    labels = [word for name in NAMES for word in ("--label", name)]
    paths = [PROGRAMS / name for name in NAMES]
    done = subprocess.run(
        ["diff", "-u", *labels, *paths], capture_output=True, text=True, check=False
    )
    theirs = done.stdout.splitlines()
    ours = show_diff(*NAMES).lines
    # Which lines count as kept may differ, what is removed and added in sum may not.
    assert ours[:2] == theirs[:2]
    assert _balance(ours) == _balance(theirs)


def _balance(lines: list[str]) -> int:
    body = lines[2:]
    return sum(line.startswith("+") for line in body) - sum(line.startswith("-") for line in body)


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], ("tcp_probe.c", "getrandom.c")])
def test_difference_turns_one_file_into_the_other(names: tuple[str, str]) -> None:
    old, new = (show_source(name).lines for name in names)
    assert _apply(show_diff(*names).lines, old) == new


def _apply(difference: list[str], old: list[str]) -> list[str]:
    result: list[str] = []
    done = 0
    for line in difference[2:]:
        if line.startswith("@@"):
            start = int(re.match(r"@@ -(\d+)", line)[1]) - 1  # type: ignore[index]
            result += old[done:start]
            done = start
        elif line.startswith("+"):
            result.append(line[1:])
        else:
            assert old[done] == line[1:]
            result += [] if line.startswith("-") else [old[done]]
            done += 1
    return result + old[done:]


def test_difference_has_a_sign_on_each_line_and_escapes() -> None:
    old = Program("int a;\n#include <x.h>\n\tint c;\n", "old.c")
    new = Program("int a;\n#include <y.h>\n\tint c;\n", "new.c")
    difference = show_diff(old, new)
    assert difference.removed == ["#include <x.h>"]
    assert difference.added == ["#include <y.h>"]
    parsed = PreText(difference._repr_html_())
    assert parsed.selectable.splitlines() == difference.lines[2:]
    assert [line[0] for line in parsed.selectable.splitlines()] == ["@", " ", "-", "+", " "]
    assert "old.c" in parsed.caption
    assert "new.c" in parsed.caption
    assert repr(difference).splitlines()[-1] == "         int c;"


def test_equal_programs_have_no_difference() -> None:
    difference = show_diff("tcp_probe.c", "tcp_probe.c")
    assert difference.lines == []
    assert "are equal" in repr(difference)
    assert "are equal" in PreText(difference._repr_html_()).caption
