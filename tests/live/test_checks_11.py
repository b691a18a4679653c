"""The exercises of the gallery: the starter fails its check, the solution passes."""

import pytest

from tracekit.lesson.exercise import check

pytestmark = pytest.mark.live

STRUCT = "struct event_t { %s }%s;"
PACKED = " __attribute__((packed))"

# exercise, an answer that is wrong, a word of what is said of it
WRONG = [
    ("11-1", ..., "nothing is in the place"),
    ("11-1", "a bug", "no failure of the gallery"),
    ("11-1", "slash", "prints another message"),
    ("11-2", ..., "nothing is in the place"),
    ("11-2", 8, "no struct event_t"),
    ("11-2", STRUCT % ("...", ""), "error: "),
    ("11-2", STRUCT % ("bool ok; u64 time; u32 pid;", ""), "knows no"),
    ("11-2", STRUCT % ("u8 ok; u64 time; __u32 pid;", ""), "knows no __u32"),
    ("11-2", STRUCT % ("u8 ok; u64 time; u32 pid;", PACKED), "other numbers"),
    ("11-2", STRUCT % ("u8 ok; u32 pid;", ""), "no member named 'time'"),
    ("11-3", ..., "nothing is in the place"),
    ("11-3", 1, "no function"),
    ("11-3", lambda event: ..., "has not the event's when"),
    ("11-3", lambda event: event, "yours has changed"),
]
RIGHT = [
    ("11-1", "past-the-record"),
    ("11-2", STRUCT % ("u8 ok; u64 time; u32 pid;", "")),
    ("11-2", STRUCT % ("u64 time; u32 pid; u8 ok;", "")),
    ("11-3", lambda event: type(event).from_buffer_copy(event)),
]


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACEKIT_STATE", str(tmp_path))


@pytest.mark.parametrize(("id", "answer", "word"), WRONG)
def test_a_wrong_answer_is_explained(id, answer, word):
    found = check(id, answer)
    assert found.outcome == "not yet"
    assert word in found.line


@pytest.mark.parametrize(("id", "answer"), RIGHT)
def test_a_right_answer_passes(id, answer):
    assert check(id, answer).line == f"exercise {id} · passed"
