"""Every failure of the gallery really fails on this kernel, and every fix works."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tracekit.capture import bare
from tracekit.capture.bare import run_bare
from tracekit.errors import RequirementMissing
from tracekit.host.rights import is_root, sudo_asks_nothing
from tracekit.lesson.breakage import FAILURES, Broken, breakage, mend
from tracekit.tracepoints.tracefs import find_tracefs, read_format

pytestmark = pytest.mark.live

# Failures that end the process itself: no Python exception, no status of its own.
SIGNALS = {
    "compiler-abort": {-6},
    "event-after-cleanup": {-11},
    # crashes, hangs until it is killed, or fails in the end, as an exception of a thread
    "two-threads": {-11, -6, -9, 0},
}
# Failures after which the process goes on, as if nothing had been.
SILENT = {
    "macro-redefined",
    "no-return",
    "first-8-bytes",
    "stale-struct",
    "packed",
    "user-helper",
    "bool-member",
    "kernel-type-member",
    "nested-struct",
    "callback-error",
    "kept-event",
}
NAMES = [failure.id for failure in FAILURES]


def fails_here(name):
    """Whether this kernel has what the failure is about."""
    if name == "stale-struct":
        return "family" in read_format("tcp:tcp_probe")  # Linux 5.12
    if name == "user-helper":
        # else bcc takes one helper for both
        with open("/proc/kallsyms") as symbols:
            return any(int(line.split()[0], 16) for line in symbols)
    return True


def instances():
    return {path.name for path in (find_tracefs() / "instances").iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_it_fails_with_its_message(name):
    broken = breakage(name)
    for _ in range(9 if name == "two-threads" else 0):
        # a race, which ends well now and then
        broken = broken if broken.failed else breakage(name)
    assert broken.run.made, broken.run.output
    assert broken.failed == fails_here(name), broken.run.output
    status = broken.run.returncode
    if name in SIGNALS:
        assert status in SIGNALS[name]
    elif name == "hole-bytes":
        # before Linux 6.3 the verifier refuses it
        assert status in (0, 1)
    else:
        assert status == (0 if name in SILENT else 1), broken.run.output


@pytest.mark.parametrize("name", NAMES)
def test_its_fix_works(name):
    mended = mend(name)
    assert mended.works, mended.run.output
    # where the message is an empty output, what works prints something
    assert not Broken(mended.failure, mended.run).failed
    assert "warning: " not in mended.run.output
    assert "Exception ignored" not in mended.run.output


def test_nothing_stays_of_a_reader_that_failed():
    before = instances()
    assert breakage("second-reader").failed
    assert mend("second-reader").works
    assert [name for name in instances() - before if not foreign(name)] == []


def foreign(name):
    pid = name.rpartition("-")[2]
    return pid.isdigit() and Path("/proc", pid).exists()


def test_nothing_stays_loaded_of_a_program_that_crashed(kernel):
    before = kernel.programs_of(os.getpid())
    assert breakage("event-after-cleanup").failed
    assert kernel.programs_of(os.getpid()) == before


# the child itself --------------------------------------------------------------------------------


def test_a_child_prints_in_order_and_ends():
    script = "import os, sys\nprint(1, flush=True)\nos.write(2, b'2\\n')\nprint(3)\nsys.exit(5)\n"
    run = run_bare(script)
    assert (run.returncode, run.output, run.made) == (5, "1\n2\n3\n", True)
    assert run.ended == "ended with status 5"


def test_a_child_that_hangs_is_killed_with_its_children(kernel):
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\nchild.wait()\n"
    )
    begin = time.monotonic()
    run = run_bare(script, timeout=2.0)
    assert time.monotonic() - begin < 60
    assert run.ended == "was killed by SIGKILL"
    kernel.wait_until(lambda: not alive(int(run.output)))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_leaves_no_core():
    run = run_bare("import resource\nprint(resource.getrlimit(resource.RLIMIT_CORE)[0])\n")
    assert run.output == "0\n"


def test_a_child_without_capabilities():
    run = run_bare(
        "print([l for l in open('/proc/self/status') if 'CapEff' in l])\n", missing="capabilities"
    )
    assert "0000000000000000" in run.output


def test_a_child_without_tracefs_does_not_touch_ours():
    run = run_bare("import os\nprint(os.listdir('/sys/kernel/tracing'))\n", missing="tracefs")
    if not run.made:
        assert subprocess.run(["unshare", "-Urm", "true"]).returncode != 0
        return
    assert run.output == "[]\n"
    assert (find_tracefs() / "events").is_dir()


def test_without_any_right_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(bare, "may_load_programs", lambda: False)
    monkeypatch.setattr(bare, "sudo_asks_nothing", lambda: False)
    with pytest.raises(RequirementMissing, match="tracekit lab"):
        breakage("missing-header")


@pytest.mark.skipif(not is_root() and not sudo_asks_nothing(), reason="there is no sudo here")
def test_through_sudo(monkeypatch, tmp_path):
    if is_root():
        sudo = tmp_path / "sudo"
        sudo.write_text(
            '#!/bin/sh\n[ "$1" = -n ] || exit 1\nshift\nenv -i PATH="$PATH" "$@"\nexit $?\n'
        )
        sudo.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(bare, "may_load_programs", lambda: False)
    assert breakage("missing-header").failed
    assert mend("missing-header").works
    assert breakage("compiler-abort").run.returncode == -6
    assert breakage("no-capability").failed
