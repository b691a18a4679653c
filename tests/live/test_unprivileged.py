"""A person with two capabilities and a readable tracefs can do all of it; with less, is told what.

The person is a user number that nobody has; its processes get exactly CAP_BPF and CAP_PERFMON as
ambient capabilities, as `tracekit lab` starts them, and are in the group it lets read tracefs.
"""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tracekit.host.privileges import supervisor_words
from tracekit.host.rights import is_root, sudo_asks_nothing

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not is_root() and not sudo_asks_nothing(), reason="only root may become somebody else"
    ),
]

# A user no other test has, on a machine where tests may run at the same time.
NOBODY = 2_000_000 + os.getpid()
AS_ROOT = () if is_root() else ("sudo", "-n")
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


# Nobody may be unable to enter the home directory in which the checkout and its environment are:
# they are shown to the script in another place, in a mount namespace of its own.
SHOW = 'mount --bind "$1" "$3" && mount --bind "$2" "$4" && shift 4 && exec "$@"'


def run(script: str, home: Path, group: int | None = None, *, capabilities: str = "") -> str:
    """Run a script as nobody, in the group given and no other; returns what it printed."""
    checkout, prefix = home / "checkout", home / "prefix"
    show = ["sh", "-c", SHOW, "sh", str(ROOT), sys.prefix, str(checkout), str(prefix)]
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}"]
    drop += ["--clear-groups" if group is None else f"--groups={group}"]
    drop += [f"--bounding-set=-all{',' + capabilities if capabilities else ''}"]
    if capabilities:
        drop += [f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(home),
        "PYTHONPATH": str(checkout),
        "PYTHONDONTWRITEBYTECODE": "1",
    } | {k: v for k, v in os.environ.items() if k.startswith("TRACEKIT_")}
    env = ["env", "-i", *(f"{name}={value}" for name, value in environment.items())]
    python = prefix / Path(sys.executable).relative_to(sys.prefix)
    text = "import tracekit as tk, ctypes, os\n" + script
    ran = subprocess.run(
        [*AS_ROOT, "unshare", "-m", *show, *drop, *env, str(python), "-c", text],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def as_root(*words: str) -> None:
    subprocess.run([*AS_ROOT, *words], check=True)


@pytest.fixture
def home():
    """A folder of nobody's own; pytest's are closed to others."""
    with tempfile.TemporaryDirectory(prefix="tracekit-nobody-") as name:
        for folder in ("checkout", "prefix"):
            Path(name, folder).mkdir()
        as_root("chown", f"{NOBODY}:{NOBODY}", name)
        yield Path(name)
        as_root("chown", "-R", f"{os.getuid()}:{os.getgid()}", name)


@pytest.fixture
def group():
    """The group that may read tracefs meanwhile; `tracekit lab` of whoever runs this gives it."""
    words = supervisor_words(os.getuid(), os.getpid(), ("sh", "-c", "echo ready; exec cat"))
    with subprocess.Popen(
        [*AS_ROOT, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout.readline() == "ready\n"
        assert stat.S_IMODE(TRACEFS.stat().st_mode) == 0o750
        yield TRACEFS.stat().st_gid
        server.stdin.close()
        assert server.wait(timeout=30) == 0


@pytest.fixture
def prepared(group):
    """Two tracefs instances made for nobody, as `tracekit lab` makes them."""
    made = [TRACEFS / f"instances/tracekit-{NOBODY}-test{number}" for number in range(2)]
    for instance in made:
        as_root("mkdir", str(instance))
        as_root("chown", "-R", f"{NOBODY}:{NOBODY}", str(instance))
    yield made
    for instance in made:
        as_root("rmdir", str(instance))


SENT = "[ctypes.CDLL(None).getpgid(0x40000000 + n) for n in range(100)]"


@pytest.mark.parametrize("text", [RING, PERF], ids=["ring", "perf"])
def test_two_capabilities_are_enough(home, group, text):
    script = f"""
status = open("/proc/self/status").read()
print(os.getuid(), [line.split()[1] for line in status.splitlines() if "CapEff" in line])
with tk.Probe.from_text({text!r}) as probe:
    {SENT}
    events = probe.read(count=100)
    print((events["number"] - 0x40000000).tolist() == list(range(100)), probe.closed)
print(probe.closed)
"""
    printed = run(script, home, group, capabilities=BOTH).splitlines()
    assert printed == [f"{NOBODY} ['000000c000000000']", "True False", "True"]


def test_printing_probes_use_the_prepared_instances(home, group, prepared):
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
    printed = run(script, home, group, capabilities=BOTH).splitlines()
    assert printed[:2] == ["True", "0"]
    assert printed[2].startswith("RequirementMissing")
    assert "all 2 prepared ones are in use" in printed[2]
    assert "tracekit lab" in printed[3]


def test_no_instance_was_prepared(home, group):
    script = f"""
try:
    tk.Probe.from_text({PRINTK!r})
except Exception as error:
    print(type(error).__name__, error, tk.open_probes())
"""
    printed = run(script, home, group, capabilities=BOTH)
    assert printed.startswith("RequirementMissing")
    assert "none was prepared" in printed


@pytest.mark.usefixtures("group")
def test_tracefs_that_may_not_be_read_is_told_before_anything_is_compiled(home):
    script = f"""
for make in (lambda: tk.Probe.from_text({RING!r}), lambda: tk.Probe.from_file("getrandom.c")):
    try:
        make()
    except Exception as error:
        print(type(error).__name__, "remount" in str(error), tk.open_probes())
"""
    printed = run(script, home, capabilities=BOTH).splitlines()
    assert printed == ["TracefsUnavailable True ()"] * 2


@pytest.mark.parametrize("capabilities", ["", "+bpf", "+perfmon"])
def test_without_both_capabilities_and_without_sudo(home, group, capabilities):
    script = f"""
try:
    tk.Probe.from_text({RING!r})
except Exception as error:
    print(type(error).__name__, "CAP_BPF and CAP_PERFMON" in str(error), "lab" in str(error))
"""
    printed = run(script, home, group, capabilities=capabilities)
    assert printed == "RequirementMissing True True\n"
