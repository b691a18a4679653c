import tarfile
from pathlib import Path

import pytest

from tracekit.errors import UnknownKernel
from tracekit.tracepoints.catalogue import catalogue_root, kernels, kernels_with
from tracekit.tracepoints.tracefs import find_tracepoints, read_format

TREES = Path(__file__).parent.parent / "data" / "formats"


def test_the_kernels_oldest_first():
    assert kernels() == (
        "ubuntu-20.04_5.4",
        "debian-11_5.10",
        "debian-12_6.1",
        "debian-12_6.1-rt",
        "debian-12_6.12",
        "linux_6.18",
    )


def test_every_file_parses_and_the_readme_names_every_kernel():
    readme = (catalogue_root("linux_6.18").parent / "README.md").read_text()
    for kernel in kernels():
        assert f"`{kernel}`" in readme
        names = find_tracepoints("*", catalogue_root(kernel))
        assert len(names) >= 2
        for name in names:
            fmt = read_format(name, kernel=kernel)
            assert (fmt.full_name, fmt.kernel) == (name, kernel)


@pytest.mark.parametrize("kernel", [kernel for kernel in kernels() if kernel[:6] != "ubuntu"])
def test_the_catalogue_is_a_part_of_the_kernels_own_tree(kernel):
    root = catalogue_root(kernel)
    ours = {path.relative_to(root).as_posix(): path for path in root.rglob("format")}
    with tarfile.open(TREES / f"{kernel}.tar.gz") as tar:
        theirs = {name for name in tar.getnames() if name.endswith("/format")}
        for name, path in ours.items():
            assert path.read_bytes() == tar.extractfile(name).read()
    wanted = {f"events/syscalls/sys_enter_{call}/format" for call in ("getrandom", "openat")}
    wanted |= {name for name in theirs if name.split("/")[1] in ("tcp", "sock", "sched")}
    assert set(ours) == wanted


def test_tcp_probe_on_each_kernel():
    # (first field at, snd_cwnd at, sock_cookie at, bytes), read from each kernel's own file
    expected = {
        "ubuntu-20.04_5.4": (8, 84, 104, 112),
        "debian-11_5.10": (8, 84, 104, 112),
        "debian-12_6.1": (8, 88, 112, 120),
        "debian-12_6.1-rt": (12, 92, 112, 120),
        "debian-12_6.12": (8, 88, 112, 136),
        "linux_6.18": (8, 88, 112, 136),
    }
    for kernel in kernels():
        fmt = read_format("tcp:tcp_probe", kernel=kernel)
        offsets = [fmt[name].offset for name in ("saddr", "snd_cwnd", "sock_cookie")]
        assert (*offsets, fmt.size) == expected[kernel]


def test_the_documents_two_files():
    fmt = read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
    assert (fmt.id, [f.declaration for f in fmt.fields]) == (
        1181,
        ["int got_bits", "int pool_left", "int input_left"],
    )
    probe = read_format("tcp:tcp_probe", kernel="ubuntu-20.04_5.4")
    assert (probe.id, probe["saddr"].declaration, probe["saddr"].length) == (
        1394,
        "__u8 saddr[sizeof(struct sockaddr_in6)]",
        28,
    )
    # Linux 5.10 still writes the same file, but for the number.
    later = read_format("tcp:tcp_probe", kernel="debian-11_5.10")
    assert (probe.fields, probe.print_fmt) == (later.fields, later.print_fmt)


def test_which_kernels_have_an_event():
    assert kernels_with("random:urandom_read") == ("ubuntu-20.04_5.4",)
    assert kernels_with("tcp:tcp_probe") == kernels()
    assert kernels_with("tcp:tcp_rcvbuf_grow") == ("linux_6.18",)
    for name in ("tcp:nothing", "tcp", "", "../..:x", "tcp:../tcp_probe"):
        assert kernels_with(name) == ()


@pytest.mark.parametrize("kernel", ["", ".", "..", "README.md", "debian-12", "linux_6.18/events"])
def test_only_the_kernels_names_are_taken(kernel):
    with pytest.raises(UnknownKernel):
        catalogue_root(kernel)
