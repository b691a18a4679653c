import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tracekit.errors import FormatError, TracefsUnavailable, UnknownKernel, UnknownTracepoint
from tracekit.tracepoints.catalogue import catalogue_root
from tracekit.tracepoints.tracefs import categories, find_tracefs, find_tracepoints, read_format

FORMAT = (
    "name: {}\nID: 1\nformat:\n\n\tfield:int x;\toffset:8;\tsize:4;\tsigned:1;\n\nprint fmt: x\n"
)


@pytest.fixture
def root(tmp_path):
    place = tmp_path / "tracing"
    for name in ("tcp:tcp_probe", "tcp:tcp_send_reset", "xhci-hcd:xhci_dbg", "ftrace:print"):
        category, event = name.split(":")
        folder = place / "events" / category / event
        folder.mkdir(parents=True)
        (folder / "format").write_text(FORMAT.format(event))
        (place / "events" / category / "enable").write_text("0\n")
    (place / "events" / "enable").write_text("0\n")
    (place / "events" / "header_page").write_text("\tfield: u64 timestamp;\n")
    return place


@contextmanager
def an_ordinary_user():
    # Root may read everything; as nobody the modes of the files count.
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def mounts(tmp_path, *lines):
    table = tmp_path / "mounts"
    table.write_text("proc /proc proc rw 0 0\n" + "".join(f"{line}\n" for line in lines))
    return table


def test_finds_where_tracefs_is_mounted(tmp_path, root):
    assert find_tracefs(mounts(tmp_path, f"tracefs {root} tracefs rw 0 0")) == root
    assert find_tracefs(mounts(tmp_path, f"nodev {root} tracefs rw 0 0")) == root


def test_a_mount_point_with_a_blank(tmp_path, root):
    place = root.rename(tmp_path / "a b")
    line = f"tracefs {tmp_path}/a\\040b tracefs rw 0 0"
    assert find_tracefs(mounts(tmp_path, line)) == place


def test_tracefs_inside_debugfs_counts_and_comes_last(tmp_path, root):
    debug = f"debugfs {root.parent} debugfs rw 0 0"
    assert find_tracefs(mounts(tmp_path, debug)) == root
    other = tmp_path / "other"
    (other / "events").mkdir(parents=True)
    assert find_tracefs(mounts(tmp_path, debug, f"tracefs {other} tracefs rw 0 0")) == other


def test_not_mounted_says_how_to_mount(tmp_path):
    with pytest.raises(TracefsUnavailable) as caught:
        find_tracefs(mounts(tmp_path))
    assert caught.value.fact == "tracefs is not mounted"
    assert caught.value.next_step == "sudo mount -t tracefs tracefs /sys/kernel/tracing"


def test_not_readable_says_how_to_let_a_group_read(tmp_path, root):
    table = mounts(tmp_path, f"tracefs {root} tracefs rw 0 0")
    for parent in (tmp_path, *tmp_path.parents):
        if not parent.stat().st_mode & 0o001:  # the temporary folders are root's alone
            parent.chmod(parent.stat().st_mode | 0o001)
    root.chmod(0o700 if os.geteuid() == 0 else 0o000)
    try:
        with an_ordinary_user(), pytest.raises(TracefsUnavailable) as caught:
            find_tracefs(table)
    finally:
        root.chmod(0o755)
    assert caught.value.fact == f"tracefs is mounted at {root}, and this user may not read it"
    assert caught.value.next_step.startswith("sudo mount -o remount,gid=")
    assert caught.value.next_step.endswith(str(root))


def test_categories_are_folders(root):
    assert categories(root) == ("ftrace", "tcp", "xhci-hcd")
    assert categories(str(root)) == categories(root)
    with pytest.raises(TracefsUnavailable, match="is not a folder of tracepoints"):
        categories(root / "events")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["tcp:tcp_probe", "tcp:tcp_send_reset", "xhci-hcd:xhci_dbg"]),
        ("*:*", ["tcp:tcp_probe", "tcp:tcp_send_reset", "xhci-hcd:xhci_dbg"]),
        ("tcp", ["tcp:tcp_probe", "tcp:tcp_send_reset"]),
        ("tcp:*", ["tcp:tcp_probe", "tcp:tcp_send_reset"]),
        ("tcp:tcp_probe", ["tcp:tcp_probe"]),
        ("*:*reset", ["tcp:tcp_send_reset"]),
        ("*reset*", ["tcp:tcp_send_reset"]),
        ("[tx]*:*_[dp]*", ["tcp:tcp_probe", "xhci-hcd:xhci_dbg"]),
        ("t?p:tcp_p*", ["tcp:tcp_probe"]),
        ("tc", []),
        ("TCP", []),
        ("", []),
    ],
)
def test_patterns(root, pattern, expected):
    found = find_tracepoints(pattern, root)
    assert list(found) == expected
    assert found.pattern == pattern
    assert found.where == f"the folder {root}"


def test_ftraces_own_records_are_left_out_and_named(root):
    assert find_tracepoints("*", root).pseudo == ("ftrace:print",)
    found = find_tracepoints("ftrace", root)
    assert (found.names, found.pseudo) == ((), ("ftrace:print",))
    assert "nothing can be attached" in repr(found)
    # They have a format file all the same.
    assert read_format("ftrace:print", root=root).name == "print"


def test_reads_a_format(root):
    fmt = read_format("xhci-hcd:xhci_dbg", root=root)
    assert (fmt.full_name, fmt.kernel, fmt["x"].offset) == ("xhci-hcd:xhci_dbg", None, 8)
    assert fmt.text == FORMAT.format("xhci_dbg")


def test_reads_of_the_catalogue_are_marked():
    fmt = read_format("tcp:tcp_probe", kernel="debian-12_6.1")
    assert fmt.kernel == "debian-12_6.1"
    assert "debian-12_6.1" in repr(fmt)
    root = catalogue_root("debian-12_6.1")
    assert read_format("tcp:tcp_probe", root=root).fields == fmt.fields


def test_unknown_names_give_the_nearest_and_the_kernels(root):
    with pytest.raises(UnknownTracepoint) as caught:
        read_format("random:urandom_read", root=root)
    assert caught.value.kernels == ("ubuntu-20.04_5.4",)
    with pytest.raises(UnknownTracepoint) as caught:
        read_format("net:tcp_probe", root=root)
    assert caught.value.nearest[0] == "tcp:tcp_probe"
    assert str(root) in caught.value.fact


@pytest.mark.parametrize(
    "name",
    [
        "tcp_probe",
        "tcp/tcp_probe",
        "tcp::tcp_probe",
        "tcp:tcp_probe ",
        "tcp:tcp_probe/format",
        "tcp:tcp_probe:x",
        "tcp.tcp_probe",
    ],
)
def test_malformed_names_say_the_form_and_the_nearest(root, name):
    with pytest.raises(UnknownTracepoint) as caught:
        read_format(name, root=root)
    assert "a name is CATEGORY:EVENT" in caught.value.fact
    assert caught.value.nearest[0] == "tcp:tcp_probe"


@pytest.mark.parametrize("name", ["", ":", "tcp:", ":tcp_probe", "..:..", ".:tcp", "a\0:b", "é è"])
def test_odd_names_are_refused(root, name):
    with pytest.raises(UnknownTracepoint):
        read_format(name, root=root)


def test_a_category_is_no_tracepoint(root):
    with pytest.raises(UnknownTracepoint):
        read_format("tcp:enable", root=root)


def test_unknown_kernel_and_both_sources():
    with pytest.raises(UnknownKernel, match=r"debian-12_6\.12"):
        read_format("tcp:tcp_probe", kernel="debian_6.12")
    with pytest.raises(TypeError):
        read_format("tcp:tcp_probe", kernel="debian-12_6.12", root=".")


def test_a_broken_file_names_its_line(root):
    path = root / "events/tcp/tcp_probe/format"
    path.write_text(path.read_text().replace("offset:8", "offset:eight"))
    with pytest.raises(FormatError, match="line 5"):
        read_format("tcp:tcp_probe", root=root)


def test_reading_and_showing_need_the_standard_library_alone():
    # The commands `list` and `show` run before anything is installed.
    program = (
        "import sys, tracekit as tk\n"
        "fmt = tk.read_format('tcp:tcp_probe', kernel='linux_6.18')\n"
        "assert repr(fmt) and fmt._repr_html_() and fmt.c_struct() and fmt.holes\n"
        "assert tk.compare(fmt, fmt).agrees\n"
        "assert tk.find_tracepoints('tcp', tk.catalogue_root('linux_6.18'))\n"
        "tk.tplist, tk.event_struct, tk.decode_sockaddr(bytes(28))\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'numpy', 'bcc'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "[]\n"
