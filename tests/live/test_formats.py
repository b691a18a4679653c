"""Every format file of the running kernel, held against what others say of the same events."""

import os
import subprocess
from pathlib import Path

import pytest

import tracekit as tk
from tracekit.errors import UnknownTracepoint
from tracekit.host.headers import find_headers
from tracekit.host.interpreters import find_bcc_python
from tracekit.tracepoints.btf import event_struct, event_struct_names

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def formats():
    found = tk.find_tracepoints()
    return {name: tk.read_format(name) for name in (*found.names, *found.pseudo)}


def test_the_names_are_the_kernels(formats):
    root = tk.find_tracefs()
    # The kernel's own list of what can be enabled.
    available = (root / "available_events").read_text().split()
    assert sorted(available) == sorted(tk.find_tracepoints())
    # Every folder with a format file, found by another way than ours.
    shell = subprocess.run(
        ["find", str(root / "events"), "-name", "format"], stdout=subprocess.PIPE, check=True
    )
    paths = [Path(line).parts for line in shell.stdout.decode().splitlines()]
    assert sorted(f"{parts[-3]}:{parts[-2]}" for parts in paths) == sorted(formats)
    assert sorted({parts[-3] for parts in paths}) == list(tk.categories())


def test_every_file_parses_whole(formats):
    root = tk.find_tracefs()
    headers = set()
    for name, fmt in formats.items():
        category, _, event = name.partition(":")
        folder = root / "events" / category / event
        text = (folder / "format").read_text()
        assert (fmt.category, fmt.name, fmt.text) == (category, event, text)
        assert len(fmt) == text.split("\nprint fmt:")[0].count("\n\tfield:")
        assert fmt.print_fmt == text.partition("\nprint fmt:")[2].strip()
        assert fmt.dtype.itemsize == fmt.size
        if (folder / "id").exists():
            assert fmt.id == int((folder / "id").read_text())
        else:
            assert category == "ftrace"
        headers.add(fmt.common_fields)
    assert len(headers) == 1
    print(f"{len(formats)} format files, {sum(map(len, formats.values()))} fields")


def test_offsets_and_sizes_are_btfs(formats):
    structs = set(event_struct_names())
    events = fields = 0
    for fmt in formats.values():
        if fmt.name not in structs:
            continue  # it shares the struct of a class, or is a system call's
        members = {m.name: (m.offset, m.size) for m in event_struct(fmt.full_name).members}
        header = members.pop("ent")
        common_end = max(f.end for f in fmt.common_fields)
        assert header[0] == 0
        assert common_end <= header[1] < common_end + 8
        members.pop("__data", None)
        ours = {
            f"{f.location}_{f.name}" if f.location else f.name: (f.offset, f.size)
            for f in fmt.fields
        }
        assert ours == members, fmt.full_name
        events += 1
        fields += len(ours)
    print(f"{events} events with a struct of their own, {fields} fields: all equal")
    assert events > 0
    assert fields > events


def compile_with_bcc(text):
    environment = dict(os.environ)
    headers = find_headers()
    if not headers.exact:
        environment["BCC_KERNEL_SOURCE"] = str(headers.path)
    program = "import sys; from bcc import BPF; BPF(text=sys.stdin.read())"
    return subprocess.run(
        [str(find_bcc_python()), "-c", program],
        input=text,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_clang_lays_out_every_generated_struct_as_the_kernel_does(formats):
    structs = [
        fmt.c_struct(f"s{number}", asserts=True) for number, fmt in enumerate(formats.values())
    ]
    for number, kernel in enumerate(tk.kernels()):
        fmt = tk.read_format("tcp:tcp_probe", kernel=kernel)
        structs.append(fmt.c_struct(f"catalogue{number}", asserts=True))
    text = "\n".join(structs)
    done = compile_with_bcc(text)
    assert done.returncode == 0, done.stdout[-3000:]
    # The same compiler refuses an offset that is one too high, so its silence means something.
    wrong = structs[-1].replace("snd_cwnd) == 88", "snd_cwnd) == 89")
    refused = compile_with_bcc(wrong)
    assert refused.returncode != 0
    assert "snd_cwnd at 88" in refused.stdout
    print(f"{len(structs)} structs, {text.count('_Static_assert')} assertions")


def test_the_running_kernel_is_named_where_a_tracepoint_is_unknown():
    with pytest.raises(UnknownTracepoint) as caught:
        tk.read_format("net:tcp_probe")
    assert os.uname().release in str(caught.value)
    assert caught.value.nearest[0] == "tcp:tcp_probe"
    assert caught.value.kernels == ()
