import re
from collections import Counter

import pytest

from tracekit.errors import UnknownClaim
from tracekit.lesson.document import all_claims, find_claim, kernel_family
from tracekit.tracepoints.catalogue import kernels
from tracekit.tracepoints.tracefs import read_format

LINES_OF_THE_DOCUMENT = 533
KERNELS = {"5.4", "5.10", "5.10-rt", "6.1", "6.1-rt", "6.12", "6.12-rt", "6.18", "7.3", "7.3-rt"}
FIELDS = {  # claim -> what the document prints of a field of tcp:tcp_probe
    57: ("mark", 68, 4),
    58: ("data_len", 72, 2),
    60: ("snd_nxt", 76, 4),
    61: ("snd_una", 80, 4),
    62: ("snd_cwnd", 84, 4),
    63: ("ssthresh", 88, 4),
    64: ("snd_wnd", 92, 4),
    65: ("srtt", 96, 4),
    66: ("rcv_wnd", 100, 4),
    67: ("sock_cookie", 104, 8),
}
DOCUMENTS_STRUCT = [
    ("saddr", 8, 28),
    ("daddr", 36, 28),
    ("sport", 64, 2),
    ("dport", 66, 2),
    *FIELDS.values(),
]


def test_the_claims_are_numbered_from_1_to_121():
    assert list(all_claims()) == list(range(1, 122))
    assert all(number == claim.id for number, claim in all_claims().items())


@pytest.mark.parametrize("claim", all_claims().values(), ids=lambda claim: str(claim.id))
def test_a_claim_is_complete(claim):
    assert 1 <= claim.line <= LINES_OF_THE_DOCUMENT
    for text in (claim.en, claim.ja, claim.note, claim.limit):
        assert text == text.strip()
        assert "\n" not in text
    assert re.search(r"[.)]$", claim.en)
    assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff].*．$", claim.ja)
    # Reasons stand behind a colon, in one line of a notebook.
    for text in (claim.note, claim.limit):
        assert len(text) <= 90
        assert ": " not in text
        assert not text.endswith(".")
    assert re.fullmatch(r"(E\d+( E\d+)*)?", claim.erratum)
    assert claim.verdicts.keys() == claim.how.keys()
    assert set(claim.how.values()) <= {"measured", "read"}
    assert claim.verdicts.keys() <= KERNELS or set(claim.verdicts) == {"any"}
    assert all(isinstance(verdict, bool) for verdict in claim.verdicts.values())
    if False in claim.verdicts.values():
        assert claim.note


def test_no_statement_stands_there_twice():
    for language in ("en", "ja"):
        texts = Counter(getattr(claim, language) for claim in all_claims().values())
        assert max(texts.values()) == 1


def test_each_erratum_belongs_to_a_claim():
    named = {word for claim in all_claims().values() for word in claim.erratum.split()}
    assert named == {f"E{number}" for number in range(1, 22)}


def test_the_chapters_follow_the_documents_lines():
    in_order = sorted(all_claims().values(), key=lambda claim: claim.line)
    chapters = [claim.chapter for claim in in_order]
    assert chapters == sorted(chapters)
    assert set(chapters) == {f"0{number}" for number in range(1, 9)}
    assert (find_claim(33).chapter, find_claim(34).chapter, find_claim(121).chapter) == (
        "01",
        "02",
        "08",
    )


def verdicts_of(fmt) -> dict[int, bool]:
    """What a format file of tcp:tcp_probe itself says about the claims that quote it."""
    places = {field.name: (field.name, field.offset, field.size) for field in fmt.fields}
    common = [(field.name, field.offset, field.size) for field in fmt.common_fields]
    names = [name for name, _, _ in DOCUMENTS_STRUCT]
    found = {number: places[place[0]] == place for number, place in FIELDS.items()}
    found[11] = common == [
        ("common_type", 0, 2),
        ("common_flags", 2, 1),
        ("common_preempt_count", 3, 1),
        ("common_pid", 4, 4),
    ]
    found[54] = fmt.id == 1394
    found[55] = [places["saddr"], places["daddr"]] == DOCUMENTS_STRUCT[:2]
    found[56] = [places["sport"], places["dport"]] == DOCUMENTS_STRUCT[2:4]
    found[59] = (places["data_len"][1] + 2, places["snd_nxt"][1]) == (74, 76)
    found[68] = "%pISpc" in fmt.print_fmt and all(
        f"{name}=%#x" in fmt.print_fmt for name in ("mark", "snd_nxt", "snd_una")
    )
    found[69] = [field.name for field in fmt.fields] == names
    found[80] = places["saddr"][2] == places["daddr"][2] == 28
    found[117] = [places[name] for name in names] == DOCUMENTS_STRUCT
    found[119] = fmt.fields[0].offset == 8
    return found


@pytest.mark.parametrize("kernel", kernels())
def test_the_verdicts_are_those_of_the_catalogues_format_files(kernel):
    family = kernel.rpartition("_")[2]
    expected = verdicts_of(read_format("tcp:tcp_probe", kernel=kernel))
    for number, verdict in expected.items():
        # On these two, the compiled struct was measured; nobody ran it on the other kernels.
        if number in (54, 117) and family not in find_claim(number).verdicts:
            continue
        assert find_claim(number).verdicts[family] is verdict, (number, kernel)


def test_the_documents_first_example_is_in_its_own_kernels_format_file():
    fmt = read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
    names = ["got_bits", "pool_left", "input_left"]
    assert [field.declaration for field in fmt.fields] == [f"int {name}" for name in names]
    assert [(f.offset, f.size, f.signed) for f in fmt.fields] == [
        (8, 4, True),
        (12, 4, True),
        (16, 4, True),
    ]
    assert find_claim(7).verdicts == find_claim(12).verdicts == {"5.4": True}


@pytest.mark.parametrize("number", [0, 122, -1, "117", None])
def test_a_number_without_a_claim_is_told_with_the_next_step(number):
    with pytest.raises(UnknownClaim, match=r"no claim.*\n.*from 1 to 121"):
        find_claim(number)


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ("5.4.0-28-generic", "5.4"),
        ("6.1.0-56-amd64", "6.1"),
        ("6.1.0-56-rt-amd64", "6.1-rt"),
        ("6.12.117+deb12-rt-amd64", "6.12-rt"),
        ("5.10.0-rt17", "5.10-rt"),
        ("6.18.44-fc-v669", "6.18"),
        ("6.8.0-1010-partner", "6.8"),
        ("5.15.167.4-microsoft-standard-WSL2", "5.15"),
        ("strange", "strange"),
    ],
)
def test_a_release_belongs_to_a_family(release, family):
    assert kernel_family(release) == family
