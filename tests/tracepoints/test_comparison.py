import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.tracepoints.catalogue import kernels
from tracekit.tracepoints.comparison import compare
from tracekit.tracepoints.format import Format
from tracekit.tracepoints.layout import layout_of
from tracekit.tracepoints.tracefs import read_format


def probe(kernel):
    return read_format("tcp:tcp_probe", kernel=kernel)


DOCUMENT = [
    ("u64", "__unused__"),
    ("u8", "saddr", 28),
    ("u8", "daddr", 28),
    ("u16", "sport"),
    ("u16", "dport"),
    ("u32", "mark"),
    ("u16", "data_len"),
    ("u32", "snd_nxt"),
    ("u32", "snd_una"),
    ("u32", "snd_cwnd"),
    ("u32", "ssthresh"),
    ("u32", "snd_wnd"),
    ("u32", "srtt"),
    ("u32", "rcv_wnd"),
    ("u64", "sock_cookie"),
]


@pytest.mark.parametrize("ours", [DOCUMENT, layout_of(DOCUMENT), probe("ubuntu-20.04_5.4")])
def test_what_the_documents_struct_reads_on_linux_6_18(ours):
    # Measured on a running 6.18: the struct was attached, and its values compared with the
    # right ones of the same record.
    result = compare(ours, probe("linux_6.18"))
    wrong = {
        "mark": "family + hole (2 bytes)",
        "data_len": "mark bytes 0-1",
        "snd_nxt": "data_len + hole (2 bytes)",
        "snd_una": "snd_nxt",
        "snd_cwnd": "snd_una",
        "ssthresh": "snd_cwnd",
        "snd_wnd": "ssthresh",
        "srtt": "snd_wnd",
        "rcv_wnd": "srtt",
        "sock_cookie": "rcv_wnd + hole (4 bytes)",
    }
    assert {name: result[name].reads for name in result.wrong} == wrong
    assert result.wrong == tuple(wrong)
    assert not result.agrees
    assert [result[n].verdict for n in ("saddr", "daddr", "sport", "dport")] == ["same"] * 4
    assert result.missing == ("family", "skbaddr", "skaddr")


def test_on_a_longer_header_even_the_ports_are_wrong():
    result = compare(DOCUMENT, probe("debian-12_6.1-rt"))
    assert result["__unused__"].verdict == "filler"
    assert result["sport"].reads == "daddr bytes 24-25"
    assert result["saddr"].reads == "common_preempt_lazy_count + hole (3 bytes) + saddr bytes 0-23"
    assert len(result.wrong) == 14


@pytest.mark.parametrize("kernel", kernels())
def test_a_format_agrees_with_itself_and_with_its_own_struct(kernel):
    fmt = probe(kernel)
    result = compare(fmt, fmt)
    assert {reading.verdict for reading in result} == {"same"}
    assert (result.agrees, result.missing, len(result)) == (True, (), len(fmt))


def test_5_4_and_5_10_are_one_layout():
    assert compare(probe("ubuntu-20.04_5.4"), probe("debian-11_5.10")).agrees


def test_another_sign_another_name_and_the_end_of_the_record():
    kernels_format = read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
    result = compare(
        [("u64", "__unused__"), ("u32", "got_bits"), ("s32", "pool"), ("u64", "beyond")],
        kernels_format,
    )
    assert (result["got_bits"].verdict, result["got_bits"].note) == ("same", "sign differs")
    assert (result["pool"].verdict, result["pool"].reads) == ("other name", "pool_left")
    assert result["beyond"].reads == "input_left + behind the record (4 bytes)"
    assert result["beyond"].verdict == "wrong"
    assert result.missing == ("pool_left", "input_left")
    with pytest.raises(LookupError):
        result["nothing"]


def test_a_filler_over_a_field_is_wrong():
    result = compare([("u64", "__unused__"), ("u64", "__more__")], probe("linux_6.18"))
    assert result["__more__"].verdict == "wrong"
    assert result["__more__"].reads == "saddr bytes 0-7"


def test_repr_is_at_most_80_columns_and_says_wrong_in_words():
    result = compare(DOCUMENT, probe("linux_6.18"))
    lines = repr(result).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 30
    assert sum(line.endswith("  wrong") for line in lines) == 10
    assert lines[0] == "a struct on the record of tcp:tcp_probe · linux_6.18"
    assert "ours has no family, skbaddr, skaddr" in repr(result)
    html = result._repr_html_()
    assert html.count(">wrong</td>") == 10
    assert "10 of 15 read other bytes" in html
    long = compare([("u8", "all", 200)], probe("linux_6.18"))
    assert max(map(len, repr(long).splitlines())) <= 80
    assert long["all"].reads == "8 common bytes + saddr + 19 more + behind the record (64 bytes)"


MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["u8", "u16", "u32", "u64"]),
        st.sampled_from("abcdefgh"),
        st.integers(1, 4),
    ),
    unique_by=lambda member: member[1],
    min_size=1,
    max_size=8,
)


@given(MEMBERS, MEMBERS)
def test_the_pieces_are_the_bytes(ours, theirs):
    fmt = Format("t", "e", None, (), layout_of(theirs), "")
    owner = {}
    for field in fmt:
        owner |= {at: (field.name, at - field.offset) for at in range(field.offset, field.end)}
    for reading in compare(ours, fmt):
        pieces = [
            (piece.name, piece.first + i) if piece.kind == "field" else None
            for piece in reading.pieces
            for i in range(piece.size)
        ]
        expected = [owner.get(at) for at in range(reading.field.offset, reading.field.end)]
        assert pieces == expected
        right = [(reading.field.name, i) for i in range(reading.field.size)]
        named = {f.name: f.size for f in fmt}.get(reading.field.name)
        assert (reading.verdict == "same") == (pieces == right and named == len(right))
