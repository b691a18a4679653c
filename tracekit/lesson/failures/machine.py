"""What the machine lacks, or has twice."""

from __future__ import annotations

from tracekit.capture.bare import CANNOT_BE_MADE
from tracekit.lesson.failure import GETPGID, Failure

__all__ = ("FAILURES",)

_COUNT = f"""\
BPF_HASH(seen);
{GETPGID} {{
    seen.increment(args->pid);
    return 0;
}}
"""
# Two tracefs instances of our own, so that nobody's reader is disturbed. Who may not make any takes
# those that `tracekit lab` prepared; a lock says which are in use.
_INSTANCES = f"""\
import atexit, fcntl, glob, sys

def instances(count):
    folder = "/sys/kernel/tracing/instances"
    try:
        # a worker of tracekit removes those of a process that was killed
        made = [f"{{folder}}/tracekit-worker-{{n}}-{{me}}" for n in range(count)]
        for instance in made:
            os.mkdir(instance)
            atexit.register(os.rmdir, instance)
        # one that is open can't be removed; what was registered last runs first
        atexit.register(os.closerange, 3, 100)
        return made
    except OSError as error:
        reason = error
    found = []
    for instance in sorted(glob.glob(f"{{folder}}/tracekit-{{os.getuid()}}-*")):
        held = os.open(instance, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append(instance)
        except OSError:
            os.close(held)
    if len(found) < count:
        print(f"no tracefs instance can be made or used here: {{reason}}")
        sys.exit({CANNOT_BE_MADE})
    return found[:count]

"""
# What PyPI and conda call bcc has no BPF.
_OTHER_BCC = """\
import atexit, os, shutil, sys, tempfile

folder = tempfile.mkdtemp()
atexit.register(shutil.rmtree, folder)
os.mkdir(f"{folder}/bcc")
with open(f"{folder}/bcc/__init__.py", "w") as file:
    file.write("'''Another package of the same name.'''")
sys.path.insert(0, folder)

"""

FAILURES = (
    Failure(
        "second-reader",
        "two readers of one trace_pipe",
        "",
        """\
one, other = instances(2)
first = open(f"{one}/trace_pipe")
second = open(f"{one}/trace_pipe")
print("both are open")
first.close(); second.close()
""",
        message=r"OSError: \[Errno 16\] Device or resource busy",
        means="A trace_pipe has one reader at a time, in the whole machine. (Kernels before 6.6"
        " allow a second one, and each line goes to one of the two.) A tracefs instance"
        " has a buffer and a trace_pipe of its own.",
        fix=(('second = open(f"{one}', 'second = open(f"{other}'),),
        works=r"both are open",
        setup=_INSTANCES,
    ),
    Failure(
        "other-bcc",
        "another package called bcc",
        _COUNT,
        message=r"ImportError: cannot import name 'BPF' from 'bcc'",
        means="pip install bcc installs something else. The BPF Compiler Collection belongs to"
        " the distribution: python3-bpfcc (Debian, Ubuntu) or python3-bcc (Fedora). The"
        " path in the message says which package Python found. The fix: uninstall that"
        " one.",
        broken_setup=_OTHER_BCC,
    ),
    Failure(
        "unreadable-tracefs",
        "a tracefs that can't be read",
        _COUNT,
        message=r"warning: declaration of 'struct tracepoint__\w+' will not be visible",
        means="The message is that of a wrong name, and the name is right: bcc could not read"
        " the format file. Look whether it is there: ls /sys/kernel/tracing/events. The"
        " fix is to mount tracefs, and to let your group read it: python3 -m tracekit lab.",
        missing="tracefs",
    ),
    Failure(
        "no-capability",
        "no right to load programs",
        _COUNT,
        message=r"could not open bpf map: seen, error: Operation not permitted",
        means="The exception speaks of compiling; the line in front of it says what happened. A"
        " map is made with CAP_BPF, a program on a tracepoint needs CAP_PERFMON as well."
        " The fix: python3 -m tracekit lab gives both to the notebook, and nothing else.",
        missing="capabilities",
    ),
)
