import io
from types import SimpleNamespace

import pytest

from tracekit.capture import loading
from tracekit.capture.misses import Misses
from tracekit.capture.process import RequestFailed
from tracekit.capture.program import Program
from tracekit.errors import RecordTypeError, RequirementMissing, TracefsUnavailable, WorkerDied


def refuse(*_):
    raise TracefsUnavailable("tracefs may not be read", "remount it")


@pytest.fixture
def asked(monkeypatch):
    """The commands workers would be started with."""
    commands = []

    def start(command):
        commands.append(command)
        return "worker"

    monkeypatch.setattr(loading, "find_bcc_python", lambda: "/usr/bin/python3")
    monkeypatch.setattr(loading, "WorkerProcess", start)
    return commands


@pytest.mark.parametrize(
    ("may", "sudo", "command"),
    [
        (True, True, ["/usr/bin/python3"]),
        (True, False, ["/usr/bin/python3"]),
        (False, True, ["sudo", "-n", "/usr/bin/python3"]),
    ],
)
def test_a_worker_is_started_with_the_least_privilege(monkeypatch, asked, may, sudo, command):
    monkeypatch.setattr(loading, "may_load_programs", lambda: may)
    monkeypatch.setattr(loading, "sudo_asks_nothing", lambda: sudo)
    assert loading.start_worker() == "worker"
    assert asked == [command]


def test_without_any_right_nothing_is_started(monkeypatch, asked):
    monkeypatch.setattr(loading, "may_load_programs", lambda: False)
    monkeypatch.setattr(loading, "sudo_asks_nothing", lambda: False)
    with pytest.raises(RequirementMissing, match="CAP_BPF"):
        loading.start_worker()
    assert not asked


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (
            "File worker.py\n    from bcc import BPF, lib\nOSError: libbcc.so.0\n",
            RequirementMissing,
        ),
        ("something else\n", WorkerDied),
    ],
)
def test_a_worker_that_does_not_start(monkeypatch, asked, output, error):
    def die(command):
        raise WorkerDied("it died", returncode=1, output=output)

    monkeypatch.setattr(loading, "may_load_programs", lambda: True)
    monkeypatch.setattr(loading, "WorkerProcess", die)
    with pytest.raises(error):
        loading.start_worker()


def test_an_unreadable_tracefs_matters_only_to_who_attaches_himself(monkeypatch):
    monkeypatch.setattr(loading, "read_format", refuse)
    monkeypatch.setattr(loading, "find_tracefs", refuse)
    monkeypatch.setattr(loading, "mount_point", lambda kind: f"/mnt/{kind}")
    monkeypatch.setattr(loading, "may_load_programs", lambda: True)
    with pytest.raises(TracefsUnavailable):
        loading.check_tracepoint("tcp:tcp_probe")
    with pytest.raises(TracefsUnavailable):
        loading._tracefs_of_worker()
    monkeypatch.setattr(loading, "may_load_programs", lambda: False)
    loading.check_tracepoint("tcp:tcp_probe")
    assert loading._tracefs_of_worker() == "/mnt/tracefs"


@pytest.mark.parametrize(
    ("found", "chosen", "passed"), [("/merged", "", "/merged"), (None, "/mine", "/mine")]
)
def test_the_headers_are_passed_on_also_through_sudo(monkeypatch, found, chosen, passed):
    monkeypatch.setenv("BCC_KERNEL_SOURCE", chosen)
    monkeypatch.setattr(
        loading, "find_headers", lambda: SimpleNamespace(path=found) if found else None
    )
    options = loading.compiler_options(Program("", "mine.c", defines={"A": 1}))
    assert options == {"cflags": ["-DA=1"], "kernel_source": passed}


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ({}, True),
        ({"entries": 1}, False),
        ({"leaf": "unsigned int"}, False),
        ({"flags": 0}, False),
        ({"type": 1}, False),
    ],
)
def test_only_three_mappable_u64_count(changed, counts):
    table = {"type": 2, "flags": 1024, "entries": 3, "leaf": "unsigned long long"} | changed
    assert loading._can_count(table) is counts
    assert loading._can_count(None) is False


class Passing:
    """A worker that passes files of /proc, or can not."""

    def __init__(self, *batches):
        self.batches = list(batches)

    def request(self, name):
        assert name == "programs"
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return SimpleNamespace(descriptors={path.name: io.FileIO(path) for path in batch})


@pytest.fixture
def misses_of(tmp_path):
    """misses_of(3, 4): files in which the kernel says that programs were missed so often."""

    def write(*counts):
        paths = []
        for count in counts:
            paths.append(tmp_path / f"{len(list(tmp_path.iterdir()))}")
            paths[-1].write_text(f"run_cnt:\t9\nrecursion_misses:\t{count}\nverified_insns:\t2\n")
        return paths

    return write


def test_the_misses_of_all_functions_are_watched(misses_of):
    loaded = loading.Loaded(None, None, None, True, (), (), Misses(counted=True))
    assert loaded.misses.total == 0  # nothing is loaded that could be missed
    loading.watch_misses(Passing(misses_of(1, 20), misses_of(300), []), loaded)
    assert loaded.misses.total == 321
    loading.watch_misses(Passing(misses_of(4000), []), loaded)
    assert loaded.misses.total == 4321
    loaded.release()
    assert loaded.misses is None


def test_where_one_function_can_not_be_watched_nothing_is_said(misses_of):
    loaded = loading.Loaded(None, None, None, True, (), (), Misses(counted=True))
    loading.watch_misses(Passing(misses_of(1), RequestFailed("no /proc", 2, "")), loaded)
    assert loaded.misses is None
    loading.watch_misses(Passing(), loaded)


def test_two_ways_are_named():
    program = Program('bpf_trace_printk("x");', "mine.c")
    with pytest.raises(RecordTypeError, match="2 ways: events, bpf_trace_printk"):
        loading._check_one_way([{"name": "events"}], program)
    loading._check_one_way([], program)


def test_what_is_attached_is_what_bcc_made():
    text = "TRACEPOINT_PROBE(a, one) {}\nTRACEPOINT_PROBE(a, two) {}\n"
    functions = ["helper", "tracepoint__b__three", "tracepoint__a__two"]
    assert loading._attached(Program(text, "mine.c"), functions) == ("a:two", "b:three")
