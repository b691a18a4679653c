import pytest

import tracekit as tk
from tracekit.capture.struct_layout import generated_struct, lay_out_struct
from tracekit.errors import CompileError, RecordTypeError

pytestmark = pytest.mark.live

HEADER = "#include <uapi/linux/in6.h>\n"


@pytest.mark.parametrize("kernel", tk.kernels())
def test_the_struct_made_from_a_format_file_lies_as_the_file_says(kernel):
    """The compiler is the judge of what the generator wrote, for every kernel of the catalogue."""
    fmt = tk.read_format("tcp:tcp_probe", kernel=kernel)
    laid_out = lay_out_struct(fmt.c_struct("args"))
    for field in fmt.fields:
        assert (laid_out[field.name].offset, laid_out[field.name].size) == (
            field.offset,
            field.size,
        )


def test_what_bcc_generates_lies_as_the_format_file_says():
    fmt = tk.read_format("tcp:tcp_probe")
    generated = generated_struct("tcp:tcp_probe")
    assert generated.name == "tracepoint__tcp__tcp_probe"
    for field in fmt.fields:
        assert generated[field.name].offset == field.offset
    # what it fills holes with is named by its offset
    pads = {f.offset for f in generated.fields if f.name.startswith("__pad_")}
    assert pads == {hole.offset + byte for hole in fmt.holes for byte in range(hole.size)}


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("struct s { u8 a; u32 b, c[3]; u16 d; };", {"a": 0, "b": 4, "c": 8, "d": 20}),
        (
            "struct s { u8 a; u32 b; } __attribute__((packed));",
            {"a": 0, "b": 1},
        ),
        (
            HEADER + "struct other { int x; };\n"
            "struct s { u8 a[sizeof(struct sockaddr_in6)]; /* u8 no; */ u64 b; };",
            {"a": 0, "b": 32},
        ),
    ],
)
def test_the_compiler_places_members(text, places):
    laid_out = lay_out_struct(text, "s")
    assert {name: laid_out[name].offset for name in places} == places


def test_the_end_of_a_struct_is_padded_too():
    laid_out = lay_out_struct("struct s { u64 a; u8 b; };")
    assert laid_out.size == 16
    assert laid_out.fields[-1].name == "__pad_9"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("int x;", RecordTypeError),
        ("struct s { u32 a : 3; };", RecordTypeError),
        ("struct s { struct { int x; } inner; };", RecordTypeError),
        ("struct s { nosuch_t a; };", CompileError),
    ],
)
def test_what_can_not_be_laid_out_is_said(text, error):
    with pytest.raises(error):
        lay_out_struct(text)
