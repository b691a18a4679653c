import pytest

from tracekit.errors import RequirementMissing
from tracekit.tracepoints import btf
from tracekit.tracepoints.btf import EventStruct, Member, event_struct, parse_btf

# What bpftool writes, for each kind of type that a struct of an event can hold.
DUMP = """[1] INT 'long unsigned int' size=8 bits_offset=0 nr_bits=64 encoding=(none)
[2] CONST '(anon)' type_id=0
[3] PTR '(anon)' type_id=2
[4] INT 'unsigned char' size=1 bits_offset=0 nr_bits=8 encoding=(none)
[5] TYPEDEF '__u8' type_id=4
[6] ARRAY '(anon)' type_id=5 index_type_id=1 nr_elems=28
[7] STRUCT 'trace_entry' size=8 vlen=1
\t'type' type_id=4 bits_offset=0
[8] ENUM 'dir' encoding=UNSIGNED size=4 vlen=1
\t'UP' val=0
[9] PTR '(anon)' type_id=7
[10] PTR '(anon)' type_id=9
[11] CONST '(anon)' type_id=10
[12] INT 'char' size=1 bits_offset=0 nr_bits=8 encoding=(none)
[13] ARRAY '(anon)' type_id=12 index_type_id=1 nr_elems=0
[14] ARRAY '(anon)' type_id=6 index_type_id=1 nr_elems=2
[15] FWD 'page' fwd_kind=struct
[16] PTR '(anon)' type_id=15
[17] FUNC_PROTO '(anon)' ret_type_id=0 vlen=0
[18] PTR '(anon)' type_id=17
[19] TYPE_TAG 'user' type_id=12
[20] PTR '(anon)' type_id=19
[21] STRUCT 'trace_event_raw_x' size=200 vlen=11
\t'ent' type_id=7 bits_offset=0
\t'saddr' type_id=6 bits_offset=64
\t'dir' type_id=8 bits_offset=288
\t'skbaddr' type_id=3 bits_offset=320
\t'all' type_id=11 bits_offset=384
\t'pair' type_id=14 bits_offset=448
\t'page' type_id=16 bits_offset=896
\t'fn' type_id=18 bits_offset=960
\t'name' type_id=20 bits_offset=1024
\t'__data' type_id=13 bits_offset=1088
[22] STRUCT 'trace_event_raw_empty' size=0 vlen=0
"""


def test_declarations_offsets_and_sizes():
    structs = parse_btf(DUMP)
    assert set(structs) == {"trace_event_raw_x", "trace_event_raw_empty"}
    assert structs["trace_event_raw_x"] == EventStruct(
        "trace_event_raw_x",
        200,
        (
            Member("struct trace_entry ent", "ent", 0, 8),
            Member("__u8 saddr[28]", "saddr", 8, 28),
            Member("enum dir dir", "dir", 36, 4),
            Member("const void *skbaddr", "skbaddr", 40, 8),
            Member("struct trace_entry ** const all", "all", 48, 8),
            Member("__u8 pair[2][28]", "pair", 56, 56),
            Member("struct page *page", "page", 112, 8),
            Member("function *fn", "fn", 120, 8),
            Member("char *name", "name", 128, 8),
            Member("char __data[0]", "__data", 136, 0),
        ),
    )
    assert structs["trace_event_raw_empty"].members == ()


def test_repr_is_a_table():
    text = repr(parse_btf(DUMP)["trace_event_raw_x"])
    assert text.splitlines()[:3] == [
        "struct trace_event_raw_x · 200 bytes",
        "offset  size  declaration",
        "     0     8  struct trace_entry ent",
    ]
    assert parse_btf(DUMP)["trace_event_raw_x"]._repr_html_().count("<tr") == 1 + 10


def test_a_kernel_without_btf_or_a_machine_without_bpftool(tmp_path, monkeypatch):
    missing = str(tmp_path / "vmlinux")
    with pytest.raises(RequirementMissing, match="has no BTF"):
        event_struct("tcp:tcp_probe", path=missing)
    (tmp_path / "vmlinux").write_bytes(b"no BTF")
    with monkeypatch.context() as patch:
        patch.setattr(btf.shutil, "which", lambda name, path: None)
        with pytest.raises(RequirementMissing, match="bpftool is not installed"):
            event_struct("tcp:tcp_probe", path=missing)
