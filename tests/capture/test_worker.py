"""The worker's reader of trace_pipe, with a folder in the place of tracefs and no bcc."""

import fcntl
import importlib.util
import os
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import pytest

import tracekit.capture


@pytest.fixture
def worker(monkeypatch):
    bcc = types.ModuleType("bcc")
    bcc.BPF, bcc.lib = type("BPF", (), {}), MagicMock()
    monkeypatch.setitem(sys.modules, "bcc", bcc)
    path = Path(tracekit.capture.__path__[0]) / "worker.py"
    spec = importlib.util.spec_from_file_location("worker_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_instance(folder: Path) -> Path:
    """A folder with the files of an instance; a FIFO plays its trace_pipe."""
    (folder / "events/bpf_trace/bpf_trace_printk").mkdir(parents=True)
    (folder / "events/bpf_trace/bpf_trace_printk/enable").write_text("0")
    (folder / "trace").write_text("old lines")
    os.mkfifo(folder / "trace_pipe")
    return folder


@pytest.fixture
def tracefs(tmp_path):
    (make_instance(tmp_path) / "instances").mkdir()
    return tmp_path


@pytest.fixture
def may_not_make(worker, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(worker, "make_folder", refuse)


def test_an_own_instance_is_made_enabled_read_and_removed(worker, tracefs, monkeypatch):
    # the kernel fills a new instance with files, and rmdir takes them away
    monkeypatch.setattr(worker, "make_folder", lambda path: make_instance(Path(path)))
    removed = []
    monkeypatch.setattr(os, "rmdir", removed.append)
    printk = worker.Printk()
    printk.open(str(tracefs))
    own = tracefs / f"instances/tracekit-worker-{os.getpid()}"
    enable = own / "events/bpf_trace/bpf_trace_printk/enable"
    assert printk.made == str(own)
    assert enable.read_text() == "1"
    assert (own / "trace").read_text() == ""
    with open(own / "trace_pipe", "w") as writer:
        writer.write("a line\n")
        writer.flush()
        assert printk.read() == b"a line\n"
        assert printk.read() == b""
    printk.close()
    assert enable.read_text() == "0"
    assert removed == [str(own)]


def test_one_read_is_bounded(worker, tracefs, monkeypatch):
    monkeypatch.setattr(worker, "READ_AT_ONCE", 1000)
    monkeypatch.setattr(os, "read", lambda descriptor, size: b"x" * 600)
    printk = worker.Printk()
    printk.pipe = 0
    assert len(printk.read()) == 1200


def test_a_prepared_instance_is_used_where_none_may_be_made(worker, tracefs, may_not_make):
    prefix = f"tracekit-{os.getuid()}-"
    for name in (f"{prefix}0", f"{prefix}1", "tracekit-99999-0", "another"):
        make_instance(tracefs / "instances" / name)
    first, second, third = (worker.Printk() for _ in range(3))
    first.open(str(tracefs))
    second.open(str(tracefs))
    assert (first.made, second.made) == ("", "")
    assert {Path(p.enable).parts[-5] for p in (first, second)} == {f"{prefix}0", f"{prefix}1"}
    with pytest.raises(PermissionError, match="all 2 prepared ones are in use"):
        third.open(str(tracefs))
    first.close()
    third.open(str(tracefs))
    assert prefix + "0" in third.enable
    for printk in (second, third):
        printk.close()
    assert len(list((tracefs / "instances").iterdir())) == 4  # nobody removed one


def test_none_was_prepared(worker, tracefs, may_not_make):
    with pytest.raises(PermissionError, match="tracefs instance, and none was prepared"):
        worker.Printk().open(str(tracefs))


def test_an_instance_another_process_locked_is_in_use(worker, tracefs, may_not_make):
    instance = make_instance(tracefs / f"instances/tracekit-{os.getuid()}-0")
    other = os.open(instance, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(PermissionError, match="in use"):
        worker.Printk().open(str(tracefs))
    os.close(other)
    printk = worker.Printk()
    printk.open(str(tracefs))
    printk.close()


def test_kernels_before_5_9_have_one_pipe_for_all(worker, tmp_path):
    os.mkfifo(tmp_path / "trace_pipe")
    printk = worker.Printk()
    printk.open(str(tmp_path))
    assert printk.pipe >= 0
    assert (printk.made, printk.enable) == ("", "")
    printk.close()


def test_what_killed_workers_left_is_removed_and_nothing_else(worker, tmp_path):
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    names = [
        f"tracekit-worker-{gone}",
        f"tracekit-worker-{os.getpid()}",
        f"tracekit-{os.getuid()}-{gone}",
        "tracekit-worker-x",
        "mine",
    ]
    for name in names:
        (tmp_path / name).mkdir()
    worker.remove_abandoned_instances(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])


def test_the_folder_of_a_killed_worker_with_our_process_id_is_replaced(worker, tmp_path):
    path = tmp_path / "own"
    path.mkdir()
    os.utime(path, (1, 1))
    worker.make_folder(str(path))
    assert path.stat().st_mtime > 1


def test_each_function_that_is_loaded_gets_its_file_passed_once(worker, monkeypatch):
    monkeypatch.setattr(worker, "FILES_AT_ONCE", 2)
    files = [os.memfd_create(f"function-{number}") for number in range(4)]
    functions = {b"f%d" % n: types.SimpleNamespace(fd=fd) for n, fd in enumerate(files)}
    made = worker.Worker()
    made.program = types.SimpleNamespace(funcs=dict(list(functions.items())[:3]))
    passed = [made.programs({}) for _ in range(3)]
    assert [values["descriptors"] for values, _, _ in passed] == [["f0", "f1"], ["f2"], []]
    # attached by hand later
    made.program.funcs = functions
    passed += [made.programs({}), made.programs({})]
    assert [values["descriptors"] for values, _, _ in passed[3:]] == [["f3"], []]
    opened = [descriptor for _, descriptors, _ in passed for descriptor in descriptors]
    links = [os.readlink(f"/proc/self/fd/{descriptor}") for descriptor in opened]
    assert links == [f"/proc/{os.getpid()}/fdinfo/{number}" for number in files]
    for descriptor in (*files, *opened):
        os.close(descriptor)


def test_what_is_kept_is_bounded_and_the_rest_counted(worker, monkeypatch):
    monkeypatch.setattr(worker, "KEEP", 10)
    made = worker.Worker()
    for data in (b"12345", b"67890", b"x", b"y"):
        made._keep(data)
    made._keep(b"a\nb\n", 2)
    made._keep(b"", 0)
    made.finished = 10  # no thread drains here
    values, _, payload = made.read({})
    assert payload == b"1234567890"
    assert (values["dropped"], values["lost"], values["foreign"]) == (4, 0, 0)
    assert made.read({})[2] == b""
