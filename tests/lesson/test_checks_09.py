"""The exercises of the ledger: no live kernel is needed, and what is refused is explained."""

import sys

import pytest

from tracekit.lesson.claims import claims
from tracekit.lesson.exercise import check, exercises

# Counted by hand in the course's data: what lies in front of the first field, and the first four.
REAL_TIME = [11, 55, 56, 119]
# By hand from the format files: 6.12 and 6.18 have the places of 6.1, and 6.18 adds err behind.
RETRANSMIT = ["debian-12_6.1", "debian-12_6.12", "linux_6.18"]


def read_cwnd(record, fmt):
    field = fmt["snd_cwnd"]
    return int.from_bytes(record[field.offset : field.end], sys.byteorder)


def read_as_on_5_4(record, fmt):
    return int.from_bytes(record[84:88], sys.byteorder)


def read_backwards(record, fmt):
    field = fmt["snd_cwnd"]
    order = "big" if sys.byteorder == "little" else "little"
    return int.from_bytes(record[field.offset : field.end], order)


def not_filled_in(record, fmt):
    return int.from_bytes(record[...], sys.byteorder)


def changed(before, after):
    old = {entry["id"]: entry["verdict_here"] for entry in before}
    new = {entry["id"]: entry["verdict_here"] for entry in after}
    return [n for n in old if {old[n], new.get(n)} == {True, False}]


def changed_in_order(before, after):
    """As if both ledgers had the same claims in the same order."""
    pairs = zip(before, after, strict=True)
    return [a["id"] for a, b in pairs if {a["verdict_here"], b["verdict_here"]} == {True, False}]


def changed_with_words(before, after):
    old = {entry["id"]: entry["verdict_here"] for entry in before}
    return [e["id"] for e in after if old[e["id"]] is not e["verdict_here"]]


def nothing(*_):
    return ...


# exercise, wrong answers with a word of what is said of them, the solution
CASES = [
    ("09-1", [(..., "nothing"), ([11, 55], "2 of them missing"), (range(3), "no list")], REAL_TIME),
    ("09-1", [([*REAL_TIME, 57], "57 does not belong"), (["11"], "'11' does not")], set(REAL_TIME)),
    (
        "09-2",
        [
            (not_filled_in, "TypeError"),
            (read_as_on_5_4, "record of debian-12_6.1 "),
            (read_backwards, "expected was"),
            (nothing, "gives Ellipsis"),
            (84, "no function"),
        ],
        read_cwnd,
    ),
    (
        "09-3",
        [
            (nothing, "returns Ellipsis"),
            (changed_in_order, "expected was [2, 3]"),
            (changed_with_words, "only True and False count"),
            ([2, 3], "no function"),
        ],
        changed,
    ),
    (
        "09-4",
        [(..., "nothing"), (RETRANSMIT[:1], "2 of them missing"), ("linux_6.18", "no list")],
        RETRANSMIT,
    ),
    ("09-4", [([*RETRANSMIT, "debian-12_6.1-rt"], "does not belong")], tuple(RETRANSMIT)),
]


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path))


@pytest.mark.parametrize(("id", "wrong", "solution"), CASES)
def test_wrong_answers_are_explained_and_the_solution_passes(id, wrong, solution):
    for answer, word in wrong:
        found = check(id, answer)
        assert found.outcome == "not yet"
        assert word in found.line
    assert check(id, solution).line == f"exercise {id} · passed"


def test_every_exercise_has_its_case():
    assert {case[0] for case in CASES} == {exercise.id for exercise in exercises("09")}


def test_the_ledgers_own_records_have_the_keys_that_the_exercises_name():
    for entry in claims().records:
        assert entry.keys() >= {"id", "verdict_here", "verdicts"}
    assert changed(claims().records, claims().records) == []
