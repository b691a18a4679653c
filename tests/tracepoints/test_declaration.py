import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.tracepoints.declaration import parse_declaration, type_is_signed, type_width

# (text of the field line, type, name, dimensions, location): one of each shape that kernels write
SHAPES = [
    ("int got_bits", "int", "got_bits", (), ""),
    ("unsigned short common_type", "unsigned short", "common_type", (), ""),
    ("__u8 saddr[28]", "__u8", "saddr", ("28",), ""),
    (
        "__u8 saddr[sizeof(struct sockaddr_in6)]",
        "__u8",
        "saddr",
        ("sizeof(struct sockaddr_in6)",),
        "",
    ),
    ("char comm[TASK_COMM_LEN]", "char", "comm", ("TASK_COMM_LEN",), ""),
    ("__u8 key[32 + 2]", "__u8", "key", ("32 + 2",), ""),
    ("u32 pair[2][3]", "u32", "pair", ("2", "3"), ""),
    ("char buf[]", "char", "buf", ("",), ""),
    ("const void * skbaddr", "const void *", "skbaddr", (), ""),
    ("const void* ip", "const void*", "ip", (), ""),
    ("const void *ip", "const void *", "ip", (), ""),
    ("struct iocb * * iocbpp", "struct iocb * *", "iocbpp", (), ""),
    ("const char *const * argv", "const char *const *", "argv", (), ""),
    ("void __seg_gs * base", "void __seg_gs *", "base", (), ""),
    ("enum dma_data_direction dir", "enum dma_data_direction", "dir", (), ""),
    ("union bpf_attr * uattr", "union bpf_attr *", "uattr", (), ""),
    ("unsigned int from", "unsigned int", "from", (), ""),
    ("__data_loc char[] filename", "char", "filename", (), "__data_loc"),
    ("__data_loc unsigned int[] regs", "unsigned int", "regs", (), "__data_loc"),
    ("__data_loc cpumask_t cpumask", "cpumask_t", "cpumask", (), "__data_loc"),
    ("__rel_loc char name[]", "char", "name", (), "__rel_loc"),
    ("__rel_loc char[] name", "char", "name", (), "__rel_loc"),
    ("__rel_loc cpumask_t mask", "cpumask_t", "mask", (), "__rel_loc"),
    ("const char __attribute__((user)) * name", "const char *", "name", (), ""),
    (
        'const char __attribute__((btf_type_tag("user"))) * const argv[4]',
        "const char * const",
        "argv",
        ("4",),
        "",
    ),
    ("void (*callback)(int)", "void (*)(int)", "callback", (), ""),
]


@pytest.mark.parametrize(("text", "type_", "name", "dimensions", "location"), SHAPES)
def test_every_shape(text, type_, name, dimensions, location):
    assert parse_declaration(text) == (type_, name, dimensions, location)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pid",
        "int ",
        "int [4]",
        "[4]",
        "int x[4",
        "type_len : 5 bits",
        "__data_loc",
        "__data_loc name",
        "int x) y[",
        "char __attribute__((user * name",
        "int 4x",
    ],
)
def test_refuses_what_is_no_declaration(text):
    with pytest.raises(ValueError, match=r"expected|closed"):
        parse_declaration(text)


@given(
    st.sampled_from(["int", "unsigned long", "const struct page *", "enum e", "u8"]),
    st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True),
    st.none() | st.integers(0, 4096).map(str) | st.sampled_from(["sizeof(struct x y)", "A + 1"]),
)
def test_parts_come_back(type_, name, dimension):
    text = f"{type_} {name}" + ("" if dimension is None else f"[{dimension}]")
    expected = () if dimension is None else (dimension,)
    assert parse_declaration(text) == (type_, name, expected, "")


def test_widths_are_those_of_the_c_types():
    # ctypes' types have the sizes of the C compiler that built Python.
    import ctypes
    import sys

    known = {
        "char": ctypes.c_char,
        "unsigned char": ctypes.c_ubyte,
        "short": ctypes.c_short,
        "int": ctypes.c_int,
        "unsigned int": ctypes.c_uint,
        "long long": ctypes.c_longlong,
        "__u64": ctypes.c_uint64,
        "int16_t": ctypes.c_int16,
        "bool": ctypes.c_bool,
    }
    if sys.maxsize > 2**32 and sys.platform != "win32":
        known |= {"unsigned long": ctypes.c_ulong, "char *": ctypes.c_char_p}
    assert {name: type_width(name) for name in known} == {
        name: ctypes.sizeof(type_) for name, type_ in known.items()
    }
    assert type_width("const unsigned int") == 4
    assert type_width("struct page") is None


@pytest.mark.parametrize(
    ("type_", "signed"),
    [
        ("int", True),
        ("const int", True),
        ("long", True),
        ("s64", True),
        ("__s32", True),
        ("pid_t", True),
        ("char", True),
        ("unsigned char", False),
        ("u32", False),
        ("__u64", False),
        ("bool", False),
        ("const char *", False),
        ("size_t", False),
        ("struct inter", False),
    ],
)
def test_sign_by_the_types_name(type_, signed):
    assert type_is_signed(type_) is signed
