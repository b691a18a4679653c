"""What goes wrong in Python, while the program in the kernel is right."""

from __future__ import annotations

from tracekit.lesson.failure import GETPGID, Failure

__all__ = ("FAILURES",)

_TIMES = f"""\
struct event_t {{ u64 when; }};
BPF_PERF_OUTPUT(events);
{GETPGID} {{
    struct event_t e = {{ bpf_ktime_get_ns() }};
    events.perf_submit(args, &e, sizeof(e));
    return 0;
}}
"""
_KEEP = """\
b, kept, right = BPF(text=text), [], []
def keep(cpu, data, size):
    e = b["events"].event(data)
    kept.append(e); right.append(e.when)
b["events"].open_perf_buffer(keep, page_cnt=1)
for n in range(1000):
    os.getpgid(me)
    if n % 50 == 49: b.perf_buffer_poll(100)
"""
_COMPARE = """\
changed = sum(e.when != when for e, when in zip(kept, right))
print("changed since:", changed > 0)
"""
_CLEAN_UP = """\
b.cleanup()
print("still right:", kept[0].when == right[0])
"""
_COPY = ("kept.append(e)", "kept.append(type(e).from_buffer_copy(e))")

FAILURES = (
    Failure(
        "callback-error",
        "a misspelt member, in the callback",
        _TIMES,
        """\
b = BPF(text=text)
def receive(cpu, data, size):
    print("when:", b["events"].event(data).wen > 0)
b["events"].open_perf_buffer(receive)
os.getpgid(me)
b.perf_buffer_poll(1000)
""",
        message=r"AttributeError: .*'wen'",
        means="C called the function, and C can't take an exception. Python prints it and goes"
        " on, so the program does not stop and the exit status is 0.",
        fix=((".wen", ".when"),),
        works=r"when: True",
    ),
    Failure(
        "kept-event",
        "events kept after the callback",
        _TIMES,
        _KEEP + _COMPARE,
        message=r"changed since: True",
        means="event(data) copies nothing: it is a view of the ring, and the kernel writes the"
        " next events over it. Take a copy within the callback.",
        fix=(_COPY,),
        works=r"changed since: False",
    ),
    Failure(
        "event-after-cleanup",
        "an event looked at after cleanup()",
        _TIMES,
        _KEEP + _CLEAN_UP,
        message=r"\A\Z",
        means="cleanup() gives the ring's memory back, and the view still leads there. Reading"
        " it ends the process; in a notebook that is the kernel with all your variables. A"
        " copy has no part in the ring.",
        fix=(_COPY,),
        works=r"still right: True",
    ),
    Failure(
        "two-threads",
        "two programs compiled at once",
        _TIMES,
        """\
from threading import Lock, Thread

lock, compiled = Lock(), []
def compile():
    compiled.append(BPF(text=text))
for _ in range(3):
    threads = [Thread(target=compile), Thread(target=compile)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print(len(compiled), "of 6 were compiled")
""",
        message=r"\A(?![\s\S]*^6 of 6)",
        means="The compiler within bcc keeps state that two threads write at once: the process"
        " crashes, or hangs until it is killed, or is lucky. Let one thread compile after the"
        " other; a lock sees to it. (Each probe of tracekit compiles in a process of its own.)",
        fix=(("    compiled.append", "    with lock:\n        compiled.append"),),
        works=r"6 of 6",
        timeout=15.0,  # six compiles take about two seconds; what is not done by then hangs
    ),
)
