import pytest

from tracekit.capture.program import Program, read_program
from tracekit.errors import CompileError


def program(text: str, folder=None, **defines) -> Program:
    return Program(text, "mine.c", folder, defines)


def test_tracepoints_are_those_the_code_names_not_comments_and_strings():
    text = """
    // TRACEPOINT_PROBE(no, comment)
    /* TRACEPOINT_PROBE(no, block)
     */
    char *s = "TRACEPOINT_PROBE(no, text) \\" TRACEPOINT_PROBE(no, more)";
    char c = '"';
    RAW_TRACEPOINT_PROBE(sys_enter) { return 0; }
    #define BOTH(x) TRACEPOINT_PROBE(no, macro) { return x; }
    #define LONG(x) \\
        TRACEPOINT_PROBE(no, long_macro) { return x; }
    TRACEPOINT_PROBE(tcp, tcp_probe) { return 0; }
    TRACEPOINT_PROBE ( sched ,
                       sched_switch ) { return 0; }
    """
    assert program(text).tracepoints == ("tcp:tcp_probe", "sched:sched_switch")


def test_tracepoints_behind_an_if_are_not_certain():
    text = """
#ifndef X
TRACEPOINT_PROBE(a, one) { return 0; }
# if Y
TRACEPOINT_PROBE(a, two) { return 0; }
# endif
#else
TRACEPOINT_PROBE(a, three) { return 0; }
#endif
TRACEPOINT_PROBE(a, four) { return 0; }
"""
    assert program(text).tracepoints == ("a:one", "a:two", "a:three", "a:four")
    assert program(text).certain_tracepoints == ("a:four",)


@pytest.mark.parametrize(
    ("text", "prints"),
    [
        ('bpf_trace_printk("x");', True),
        ('bpf_trace_printk ("x");', True),
        ("// bpf_trace_printk(x)", False),
        ('"bpf_trace_printk(x)"', False),
        ("my_bpf_trace_printk(x)", False),
        ("", False),
    ],
)
def test_whether_it_prints(text, prints):
    assert program(text).prints is prints


def test_what_a_local_header_does_counts(tmp_path):
    (tmp_path / "log.h").write_text(
        '#define LOG(x) bpf_trace_printk("%d", x)\nstruct seen_t { u64 ts; };\n'
        "TRACEPOINT_PROBE(tcp, tcp_probe) { return 0; }\n"
    )
    found = program('#include "log.h"\n', tmp_path)
    assert found.prints
    assert found.tracepoints == ("tcp:tcp_probe",)
    assert [struct.type for struct in found.structs] == ["struct seen_t"]


def test_defines_become_options_and_true_is_one():
    flags = program("", A=1, B=True, C=False, D='"text"', E=0x10).flags
    assert flags == ["-DA=1", "-DB=1", "-DC=0", '-DD="text"', "-DE=16"]


def test_lines_are_those_of_the_compiler():
    assert program("a\n\x0cb\n").lines == ["a", "\x0cb"]
    assert program("a\n\nb").lines == ["a", "", "b"]
    assert program("").lines == []


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("struct event { u64 ts; };", "struct event"),
        ("struct event\n{ u64 ts; } __attribute__((packed));", "struct event"),
        ("struct __attribute__((packed)) event { u64 ts; };", "struct event"),
        ("struct __packed event { u64 ts; };", "struct event"),
        ("typedef struct { u64 ts; } event_t;", "event_t"),
        ("typedef struct { u64 ts; } __attribute__((packed)) event_t;", "event_t"),
        ("typedef struct __attribute__((packed)) { u64 ts; } event_t;", "event_t"),
        ("typedef struct { u64 ts; } __packed event_t;", "event_t"),
    ],
)
def test_a_struct_is_found_by_the_name_of_its_type(text, type_):
    (struct,) = program(text).structs
    assert struct.type == type_
    assert "ts" in struct.words


def test_a_named_struct_with_a_typedef_has_two_names():
    types = [struct.type for struct in program("typedef struct event { u64 a; } event_t;").structs]
    assert types == ["struct event", "event_t"]


def test_structs_within_functions_and_comments_are_none_of_the_file():
    text = "// struct a { int x; };\nint f(void) { struct b { int y; }; return 0; }"
    assert program(text).structs == ()


def test_the_words_of_a_comment_are_not_the_structs():
    (struct,) = program("struct event { u64 ts; // the port\n };").structs
    assert struct.words == {"u64", "ts"}


def test_line_directives_stand_within_the_declaration():
    text = "u64 a; TRACEPOINT_PROBE(x, y) {\n\treturn 0;\n}\n"
    assert program(text).compiled_text == (
        '#line 1 "mine.c"\nu64 a; \nextern\n#line 1 "mine.c"\n       TRACEPOINT_PROBE(x, y) {\n'
        f'#line 1 "mine.c"\n{" " * 31}\n\treturn 0;\n}}\n'
    )


def test_the_long_form_has_true_lines_too():
    text = "\nint tracepoint__x__y(struct tracepoint__x__y *args) { return 0; }"
    assert 'extern\n#line 2 "mine.c"\nint tracepoint__x__y' in program(text).compiled_text


def test_a_name_with_quotes_is_quoted():
    assert Program("", 'a"b\\c.c').compiled_text.startswith('#line 1 "a\\"b\\\\c.c"\n')


def test_headers_are_pasted_with_their_own_lines(tmp_path):
    (tmp_path / "one.h").write_text('#include "deep/two.h"\nint one;\n')
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/two.h").write_text('int two;\n#include "three.h"\n')
    (tmp_path / "deep/three.h").write_text("int three;\n")
    text = '// "one.h"\n#include "one.h"\nint zero;\n'
    assert program(text, tmp_path).compiled_text.splitlines() == [
        '#line 1 "mine.c"',
        '// "one.h"',
        '#line 1 "one.h"',
        '#line 1 "deep/two.h"',
        "int two;",
        '#line 1 "three.h"',
        "int three;",
        '#line 3 "deep/two.h"',
        '#line 2 "one.h"',
        "int one;",
        '#line 3 "mine.c"',
        "int zero;",
    ]
    assert program(text, tmp_path).self_contained_text.splitlines() == [
        '// "one.h"',
        "int two;",
        "int three;",
        "int one;",
        "int zero;",
    ]


def test_the_same_include_twice_and_the_lines_behind_each(tmp_path):
    (tmp_path / "x.h").write_text("X\n")
    lines = program('#include "x.h"\nA\n#include "x.h"\nB\n', tmp_path).compiled_text.splitlines()
    assert lines[lines.index("A") - 1] == '#line 2 "mine.c"'
    assert lines[lines.index("B") - 1] == '#line 4 "mine.c"'


def test_pragma_once_and_headers_that_include_themselves(tmp_path):
    (tmp_path / "once.h").write_text("#pragma once\nint once;\n")
    (tmp_path / "self.h").write_text('#ifndef S\n#define S\n#include "self.h"\nint own;\n#endif\n')
    text = '#include "once.h"\n#include "once.h"\n#include "self.h"\n'
    compiled = program(text, tmp_path).compiled_text
    assert compiled.count("int once;") == compiled.count("int own;") == 1
    assert "pragma" not in compiled


@pytest.mark.parametrize(
    "text", ['/*\n#include "x.h"\n*/', '#include "missing.h"\n', "#include <linux/in6.h>\n"]
)
def test_other_includes_stay(tmp_path, text):
    (tmp_path / "x.h").write_text("X")
    assert program(text, tmp_path).self_contained_text == text


def test_a_file_is_looked_for_here_then_in_the_folders(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    (there / "a.c").write_text("there")
    monkeypatch.chdir(here)
    assert read_program("a.c", (there,)).text == "there"
    (here / "a.c").write_text("here")
    found = read_program("a.c", (there,), {"X": 1})
    assert (found.text, found.file, found.defines) == ("here", "a.c", {"X": 1})
    assert read_program(there / "a.c", ()).text == "there"


def test_a_file_that_is_not_there_names_those_that_are(tmp_path):
    (tmp_path / "good.c").write_text("")
    with pytest.raises(CompileError, match=r"no C file 'bad\.c'\n.*good\.c"):
        read_program("bad.c", (tmp_path,))


def test_a_file_in_another_encoding_is_read(tmp_path):
    (tmp_path / "latin.c").write_bytes("// für\nint x;".encode("latin-1"))
    assert read_program(tmp_path / "latin.c", ()).lines[1] == "int x;"
