"""A person with two capabilities and a readable tracefs can do all of it; with less, is told what.

The person is uid 65534 (nobody); its processes get exactly CAP_BPF and CAP_PERFMON as ambient
capabilities, as `tracekit lab` starts them.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

NOBODY = 65534
TRACEFS = Path("/sys/kernel/tracing")
BOTH = "+bpf,+perfmon"
ROOT = Path(__file__).resolve().parents[2]

RING = """
struct event_t { u32 number; };
BPF_RINGBUF_OUTPUT(events, 16);
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	struct event_t event = { args->pid };

	if (event.number >> 30 == 1)
		events.ringbuf_output(&event, sizeof(event), 0);
	return 0;
}
"""
PERF = '#include "counters.h"\n' + RING.replace(
    "BPF_RINGBUF_OUTPUT(events, 16)", "BPF_PERF_OUTPUT(events)"
).replace("events.ringbuf_output(&event, sizeof(event), 0)", SUBMIT := "count(SENT)").replace(
    SUBMIT, "{ count(SENT); events.perf_submit(args, &event, sizeof(event)); }"
)
PRINTK = """
TRACEPOINT_PROBE(syscalls, sys_enter_getpgid)
{
	if ((u32)args->pid >> 30 == 1)
		bpf_trace_printk("%d", args->pid);
	return 0;
}
"""


def run(script: str, home: Path, *, capabilities: str = "") -> str:
    """Run a script as nobody; returns what it printed."""
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    command += [f"--bounding-set=-all{',' + capabilities if capabilities else ''}"]
    if capabilities:
        command += [f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    inherited = {k: v for k, v in os.environ.items() if k.startswith("TRACEKIT_")}
    readable = subprocess.run(
        [*command, sys.executable, "-c", "import numpy, tracekit"],
        env=environment | inherited,
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert readable.returncode == 0, (
        f"nobody can't run {sys.executable} with {ROOT}, so this can't be tested: make the"
        f" checkout and its environment readable for others\n{readable.stderr}"
    )
    ran = subprocess.run(
        [*command, sys.executable, "-c", "import tracekit as tk, ctypes, os\n" + script],
        env=environment | inherited,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def mount_options() -> str:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if (place, kind) == (str(TRACEFS), "tracefs"):
            return options
    raise AssertionError("tracefs is not mounted at its place")


@pytest.fixture(autouse=True)
def _only_root_may_become_somebody_else():
    if os.geteuid() != 0:
        reason = "run as root: these tests become another person and remount tracefs"
        (pytest.fail if os.environ.get("TRACEKIT_MODE") == "live" else pytest.skip)(reason)


@contextmanager
def tracefs_for(gid: int, mode: str):
    """Remount tracefs; one test at a time, in whatever process, and as it was afterwards."""
    was = TRACEFS.stat()
    with open("/run/lock/tracekit-test-tracefs", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remount(gid, mode)
        try:
            yield
        finally:
            remount(was.st_gid, f"{was.st_mode & 0o7777:o}")


def remount(gid: int, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,gid={gid},mode={mode}", str(TRACEFS)], check=True)


@pytest.fixture
def home():
    """A folder of nobody's own; pytest's are closed to others."""
    with tempfile.TemporaryDirectory(prefix="tracekit-nobody-") as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@pytest.fixture
def readable():
    with tracefs_for(NOBODY, "750"):
        yield


@pytest.fixture
def prepared(readable):
    """Two tracefs instances made for nobody, as `tracekit lab` makes them."""
    made = [TRACEFS / f"instances/tracekit-{NOBODY}-{90 + number}" for number in range(2)]
    for instance in made:
        instance.mkdir()
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(instance)], check=True)
    yield made
    for instance in made:
        instance.rmdir()


SENT = "[ctypes.CDLL(None).getpgid(0x40000000 + n) for n in range(100)]"


@pytest.mark.parametrize("text", [RING, PERF], ids=["ring", "perf"])
def test_two_capabilities_are_enough(home, readable, text):
    script = f"""
status = open("/proc/self/status").read()
print(os.getuid(), [line.split()[1] for line in status.splitlines() if "CapEff" in line])
with tk.Probe.from_text({text!r}) as probe:
    {SENT}
    events = probe.read(count=100)
    print((events["number"] - 0x40000000).tolist() == list(range(100)), probe.closed)
print(probe.closed)
"""
    printed = run(script, home, capabilities=BOTH).splitlines()
    assert printed == [f"{NOBODY} ['000000c000000000']", "True False", "True"]


def test_printing_probes_use_the_prepared_instances(home, prepared):
    script = f"""
def messages(probe):
    events = probe.read()
    mine = events["msg"][events["pid"] == os.getpid()]
    return [int(message) - 0x40000000 for message in mine] == list(range(100))

with tk.Probe.from_text({PRINTK!r}, name="one") as one:
    {SENT}
    print(messages(one))
# the same instance again, without what it holds of before
with tk.Probe.from_text({PRINTK!r}, name="one") as one:
    print(len(one.read()))
    with tk.Probe.from_text("//\\n" + {PRINTK!r}, name="two") as two:
        try:
            tk.Probe.from_text({PRINTK!r}, name="three")
        except tk.TracekitError as error:
            print(type(error).__name__, error)
""".replace("tk.TracekitError", "Exception")
    printed = run(script, home, capabilities=BOTH).splitlines()
    assert printed[:2] == ["True", "0"]
    assert printed[2].startswith("RequirementMissing")
    assert "all 2 prepared ones are in use" in printed[2]
    assert "tracekit lab" in printed[3]


def test_no_instance_was_prepared(home, readable):
    script = f"""
try:
    tk.Probe.from_text({PRINTK!r})
except Exception as error:
    print(type(error).__name__, error, tk.open_probes())
"""
    printed = run(script, home, capabilities=BOTH)
    assert printed.startswith("RequirementMissing")
    assert "none was prepared" in printed


def test_tracefs_that_may_not_be_read_is_told_before_anything_is_compiled(home):
    script = f"""
for make in (lambda: tk.Probe.from_text({RING!r}), lambda: tk.Probe.from_file("getrandom.c")):
    try:
        make()
    except Exception as error:
        print(type(error).__name__, "remount" in str(error), tk.open_probes())
"""
    with tracefs_for(0, "700"):
        printed = run(script, home, capabilities=BOTH).splitlines()
    assert printed == ["TracefsUnavailable True ()"] * 2


@pytest.mark.parametrize("capabilities", ["", "+bpf", "+perfmon"])
def test_without_both_capabilities_and_without_sudo(home, readable, capabilities):
    script = f"""
try:
    tk.Probe.from_text({RING!r})
except Exception as error:
    print(type(error).__name__, "CAP_BPF and CAP_PERFMON" in str(error), "lab" in str(error))
"""
    printed = run(script, home, capabilities=capabilities)
    assert printed == "RequirementMissing True True\n"
