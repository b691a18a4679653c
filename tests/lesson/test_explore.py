"""The explorer on a catalogue's kernel: all of it but the run, without a browser."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

import tracekit as tk
from tracekit.capture.events import Events, Origin
from tracekit.errors import TracekitError, UnknownKernel, UnknownTracepoint
from tracekit.lesson.explore_search import Tracepoints
from tracekit.lesson.explore_shown import events_table, fields_table, layout
from tracekit.lesson.explore_view import ExplorerView

KERNEL = "debian-12_6.1"
NAMES = tk.find_tracepoints("*", root=tk.catalogue_root(KERNEL)).names


@pytest.fixture
def explorer():
    with tk.explore("tcp:tcp_probe", kernel=KERNEL) as one:
        yield one


@pytest.fixture
def view(explorer):
    explorer._view = ExplorerView(explorer)
    return explorer._view


def inside(widget):
    """All widgets of a tree, by the class that names their part."""
    found, left = {}, [widget]
    while left:
        one = left.pop()
        found |= {name: one for name in one._dom_classes if name.startswith("tracekit-")}
        left += getattr(one, "children", ())
    return found


def cells(html):
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]


# searching ------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["tcp", "probe tcp", "STATE", "sched_process exec", "nothing"])
def test_every_word_must_be_in_the_name(words):
    expected = tuple(n for n in NAMES if all(word in n for word in words.lower().split()))
    assert Tracepoints(KERNEL).search(words) == expected


def test_a_category_is_the_whole_part_before_the_colon():
    found = Tracepoints(KERNEL).search(category="sock")
    assert found == tuple(n for n in NAMES if n.partition(":")[0] == "sock")
    assert Tracepoints(KERNEL).search("tcp", category="sched") == ()


def test_names_of_fields_count_when_asked_for():
    tracepoints = Tracepoints(KERNEL)
    expected = tuple(
        name
        for name in NAMES
        if "dport" in name
        or any("dport" in field.name for field in tk.read_format(name, kernel=KERNEL).fields)
    )
    assert tracepoints.search("dport", fields=True) == expected
    assert len(expected) > len(tracepoints.search("dport")) == 0
    assert tracepoints.search("tcp dport", fields=True)


def test_no_words_find_all():
    assert Tracepoints(KERNEL).search() == tuple(NAMES)


# what is shown --------------------------------------------------------------------------------


def test_the_table_has_each_field_with_its_numbers_and_marks_the_dynamic():
    fmt = tk.read_format("sched:sched_process_exec", kernel=KERNEL)
    head, *rows = cells(fields_table(fmt))
    assert head == ["offset", "size", "type", "name", "note"]
    assert ["8", "4", "char", "filename", "dynamic (__data_loc)"] in rows
    assert ["12", "4", "pid_t", "pid", "signed"] in rows
    assert [row[3] for row in rows] == [field.name for field in fmt.all_fields]


def test_the_table_has_the_holes_at_their_places():
    fmt = tk.read_format("tcp:tcp_probe", kernel=KERNEL)
    rows = cells(fields_table(fmt))[1:]
    offsets = [int(row[0]) for row in rows]
    assert offsets == sorted(offsets)
    holes = [(int(row[0]), int(row[1])) for row in rows if row[4] == "hole"]
    assert holes == [(hole.offset, hole.size) for hole in fmt.holes]


def test_without_a_record_the_layout_shows_no_value():
    fmt = tk.read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
    shown = layout(fmt, None)
    assert "got_bits" in repr(shown)
    assert " = " not in repr(shown)
    assert "00" not in repr(shown)


def test_of_a_record_the_first_bytes_are_not_shown():
    fmt = tk.read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
    text = repr(layout(fmt, bytes(8) + (8192).to_bytes(4, "little") + bytes(8)))
    assert "got_bits = 8192" in text
    assert "pool_left = 0" in text
    assert "common_pid = " not in text


def test_no_events_are_said_in_words():
    fmt = tk.read_format("tcp:tcp_probe", kernel=KERNEL)
    assert events_table(None, fmt) == "<p>No events of tcp:tcp_probe yet.</p>"


def test_the_table_has_the_last_ten_and_no_kernel_address():
    fmt = tk.read_format("tcp:tcp_send_reset", kernel=KERNEL)
    records = np.zeros(12, [("common_ts", "u8"), ("skbaddr", "u8"), ("sport", "u2")])
    records["common_ts"] = range(12)
    records["skbaddr"] = 0xFFFF888627CA6BC8
    records["skbaddr"][-1] = 0x7FFF1234
    head, *rows = cells(events_table(Events(records, Origin("x", "6.1", "live")), fmt))
    assert head == ["common_ts", "skbaddr", "sport"]
    assert [row[0] for row in rows] == [str(number) for number in range(2, 12)]
    assert [row[1] for row in rows] == ["0xffff…"] * 9 + ["0x7fff1234"]


# from code ------------------------------------------------------------------------------------


def test_it_gives_the_notebook_its_values(explorer):
    assert explorer.name == "tcp:tcp_probe"
    assert explorer.format == tk.read_format("tcp:tcp_probe", kernel=KERNEL)
    assert explorer.program.text == tk.equivalent_program(explorer.format).text
    assert explorer.script() == explorer.program.script()
    assert explorer.record is None
    with pytest.raises(TracekitError, match="nothing was watched"):
        explorer.events  # noqa: B018


def test_a_name_is_chosen_or_refused(explorer):
    assert explorer.select("sched:sched_switch").format.name == "sched_switch"
    with pytest.raises(UnknownTracepoint, match="sched:sched_switch"):
        explorer.select("sched:sched_swich")
    assert explorer.name == "sched:sched_switch"


def test_it_begins_with_an_event_that_fires_everywhere():
    with tk.explore(kernel=KERNEL) as explorer:
        assert explorer.name == "sched:sched_switch"


def test_it_begins_with_the_first_where_that_is_missing():
    with tk.explore(kernel="ubuntu-20.04_5.4") as explorer:
        assert explorer.name == "random:urandom_read"


def test_what_is_not_there_is_said_at_once():
    with pytest.raises(UnknownTracepoint):
        tk.explore("no:such_event", kernel=KERNEL)
    with pytest.raises(UnknownKernel):
        tk.explore(kernel="no-such-kernel")


def test_the_script_is_written_once(explorer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = explorer.save_script()
    assert (file.name, file.read_text()) == ("tcp_probe.py", explorer.script())
    ast.parse(file.read_text())
    file.write_text("mine")
    with pytest.raises(TracekitError, match="already"):
        explorer.save_script()
    assert file.read_text() == "mine"
    with pytest.raises(TracekitError, match="can't be written"):
        explorer.save_script(tmp_path / "no" / "folder.py")


def test_a_catalogues_kernel_can_not_be_started(explorer, view):
    explorer.start(seconds=1)
    with pytest.raises(TracekitError, match="a kernel of the catalogue"):
        explorer.wait()
    assert not explorer.running
    assert explorer.plot.status.state == "failed"


def test_plain_text_says_how_to_use_it(explorer):
    text = repr(explorer)
    assert "tcp:tcp_probe" in text
    assert f"{len(NAMES)} tracepoints" in text
    for word in re.findall(r"\w+", text.partition("without widgets:")[2]):
        if word not in {"text", "name", "seconds", "file", "1"}:
            assert hasattr(type(explorer), word) or hasattr(explorer, word), word


# the widgets ----------------------------------------------------------------------------------


def test_each_part_has_its_class(explorer, view):
    parts = inside(view.widget)
    assert {
        "tracekit-explore",
        *(f"tracekit-explore-{part}" for part in ("category", "search", "in-fields", "found")),
        *(f"tracekit-explore-{part}" for part in ("previous", "next")),
        *(f"tracekit-explore-{part}" for part in ("list", "shown", "views", "fields", "layout")),
        *(f"tracekit-explore-{part}" for part in ("program", "script", "file", "save", "saved")),
        *("tracekit-explore-events", "tracekit-live", "tracekit-start", "tracekit-stop"),
    } <= set(parts)


def test_searching_fills_the_list_and_chooses_nothing(explorer, view):
    parts = inside(view.widget)
    parts["tracekit-explore-search"].value = "sched_wakeup"
    assert parts["tracekit-explore-list"].options == explorer.search("sched_wakeup")
    assert explorer.name == "tcp:tcp_probe"
    assert parts["tracekit-explore-list"].value is None
    count = len(explorer.search("sched_wakeup"))
    assert f"{count} tracepoints found" in parts["tracekit-explore-found"].value
    parts["tracekit-explore-category"].value = "tcp"
    assert parts["tracekit-explore-list"].options == ()
    parts["tracekit-explore-search"].value = ""
    assert parts["tracekit-explore-list"].value == "tcp:tcp_probe", "it is chosen still"


def test_without_a_mouse_one_goes_through_what_was_found(explorer, view):
    """JupyterLab 4 moves to another cell when an arrow key is pressed in a list."""
    parts = inside(view.widget)
    search = parts["tracekit-explore-search"]
    search.value = "sched_wakeup"
    found = explorer.search("sched_wakeup")
    enter = {"method": "custom", "content": {"event": "submit"}}
    chosen = []
    for _ in range(len(found) + 1):
        search._handle_msg({"content": {"data": enter}, "buffers": []})
        chosen.append(explorer.name)
    assert chosen == [*found, found[-1]], "the last stays chosen"
    parts["tracekit-explore-previous"].click()
    assert explorer.name == parts["tracekit-explore-list"].value == found[-2]
    parts["tracekit-explore-next"].click()
    assert explorer.name == found[-1]


def test_fields_are_searched_where_the_box_is_ticked(explorer, view):
    parts = inside(view.widget)
    parts["tracekit-explore-search"].value = "snd_cwnd"
    assert parts["tracekit-explore-list"].options == ()
    parts["tracekit-explore-in-fields"].value = True
    assert parts["tracekit-explore-list"].options == ("tcp:tcp_probe",)


def test_choosing_in_the_list_shows_that_one_everywhere(explorer, view):
    parts = inside(view.widget)
    parts["tracekit-explore-list"].value = "sched:sched_switch"
    assert explorer.name == "sched:sched_switch"
    assert "prev_comm" in parts["tracekit-explore-fields"].value
    assert "TRACEPOINT_PROBE" in parts["tracekit-explore-program"].value
    assert "sched_switch.c" in parts["tracekit-explore-program"].value
    assert parts["tracekit-explore-script"].value == explorer.script()
    assert parts["tracekit-explore-file"].value == "sched_switch.py"
    assert "No events of sched:sched_switch" in parts["tracekit-explore-events"].value


def test_one_view_is_shown_at_a_time(explorer, view):
    parts = inside(view.widget)
    pages = ("fields", "layout", "program")

    def shown():
        return [
            page for page in pages if parts[f"tracekit-explore-{page}"].layout.display != "none"
        ]

    assert shown() == ["fields"]
    parts["tracekit-explore-views"].value = "layout"
    assert shown() == ["layout"]
    assert "<svg" in parts["tracekit-explore-layout"].value
    parts["tracekit-explore-views"].value = "C program"
    assert shown() == ["program"]


def test_saving_says_where_or_why_not(explorer, view, tmp_path):
    parts = inside(view.widget)
    parts["tracekit-explore-file"].value = str(tmp_path / "mine.py")
    parts["tracekit-explore-save"].click()
    assert str(tmp_path / "mine.py") in parts["tracekit-explore-saved"].value
    parts["tracekit-explore-save"].click()
    assert "nothing was written" in parts["tracekit-explore-saved"].value
    assert "next: choose another name" in parts["tracekit-explore-saved"].value


def test_a_long_list_is_cut_and_says_so(explorer, view, monkeypatch):
    monkeypatch.setattr("tracekit.lesson.explore_view._LISTED", 5)
    parts = inside(view.widget)
    parts["tracekit-explore-search"].value = "sched"
    assert len(parts["tracekit-explore-list"].options) == 5
    assert "5 of them are listed" in parts["tracekit-explore-found"].value


def test_the_chosen_one_is_in_a_list_that_is_cut(explorer, view, monkeypatch):
    monkeypatch.setattr("tracekit.lesson.explore_view._LISTED", 5)
    parts = inside(view.widget)
    for name in (
        explorer.tracepoints.names[-1],
        explorer.tracepoints.names[len(explorer.tracepoints.names) // 2],
    ):
        explorer.select(name)
        parts["tracekit-explore-search"].value = "e"
        parts["tracekit-explore-search"].value = ""
        assert len(parts["tracekit-explore-list"].options) == 5
        assert parts["tracekit-explore-list"].value == name


def test_a_page_without_widgets_gets_the_fields_and_the_layout(explorer):
    bundle = explorer._still()
    assert bundle["text/plain"] == repr(explorer)
    assert "snd_cwnd" in bundle["text/html"]
    assert "<svg" in bundle["text/html"]
