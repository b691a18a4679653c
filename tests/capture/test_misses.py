import io
import os
import struct

import pytest

from tracekit.capture.misses import Misses, kernel_counts_misses

LINE = "recursion_misses:\t{}\nverified_insns:\t11\n"


@pytest.fixture
def file_of(tmp_path):
    """file_of(text): an open file with this text, which plays one of /proc/PID/fdinfo."""
    made = []

    def write(text):
        made.append(tmp_path / str(len(made)))
        made[-1].write_text(text)
        return made[-1], io.FileIO(made[-1])

    return write


def test_programs_are_summed_and_looked_at_anew_each_time(file_of):
    (first, opened), (_, other) = file_of("prog_id:\t7\n" + LINE.format(3)), file_of(LINE.format(4))
    misses = Misses(counted=True)
    misses.add([opened])
    assert misses.total == 3
    misses.add([other])
    assert (misses.total, misses.total) == (7, 7)
    first.write_text(LINE.format(10))
    assert misses.total == 14
    assert opened.closed  # it has one of its own
    assert other.closed


@pytest.mark.parametrize(
    ("counted", "text", "total"),
    [
        (False, LINE.format(0), None),  # Linux 5.12 to 6.6: there, and always 0
        (False, LINE.format(2), 2),  # it counts, and has no BTF to show that
        (True, LINE.format(0), 0),
        (False, "run_cnt:\t5\n", None),  # before 5.12
    ],
)
def test_none_where_the_kernel_does_not_count(file_of, counted, text, total):
    misses = Misses(counted=counted)
    misses.add([file_of(text)[1]])
    assert misses.total == total


def test_a_process_that_is_gone_leaves_what_it_was(file_of, monkeypatch):
    misses = Misses(counted=True)
    misses.add([file_of(LINE.format(5))[1]])
    assert misses.total == 5

    def fail(*_):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "pread", fail)
    assert misses.total == 5


def test_released_files_are_closed(file_of):
    before = set(os.listdir("/proc/self/fd"))
    misses = Misses(counted=True)
    misses.add([file_of(LINE.format(1))[1]])
    assert misses.total == 1
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    misses.release()
    assert set(os.listdir("/proc/self/fd")) == before
    assert misses.total == 1


# what the kernel says of itself -----------------------------------------------------------


def btf(*structs, strings=()):
    """The bytes of a BTF with structs of these member names, and further strings."""
    names = b"\0"
    offsets = {}
    for name in [name for members in structs for name in members] + list(strings):
        if name not in offsets:
            offsets[name] = len(names)
            names += name.encode() + b"\0"
    types = b""
    for members in structs:
        types += struct.pack("=III", 0, 4 << 24 | len(members), 8 * len(members))
        for number, name in enumerate(members):
            types += struct.pack("=III", offsets[name], 1, 64 * number)
    sections = (0, len(types), len(types), len(names))
    return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, *sections) + types + names


NEW = ("addrs", "count", "flags", "missed", "cookies")
OLD = ("addrs", "count", "flags")


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        (btf(("other",), NEW), True),
        (btf(OLD, ("a", "missed")), False),
        (btf(OLD), False),
        (btf(OLD, strings=("missed",)), False),
        (btf(("addrs", "missed", "count", "flags")), False),
        (btf(NEW).replace(b"\x9f\xeb", b"\0\0"), False),
        (b"", False),
    ],
)
def test_the_member_that_came_with_it_is_found_in_btf(tmp_path, data, counts):
    path = tmp_path / "vmlinux"
    path.write_bytes(data)
    assert kernel_counts_misses(str(path)) is counts


def test_a_kernel_without_btf_is_not_known_to_count(tmp_path):
    assert kernel_counts_misses(str(tmp_path / "none")) is False
