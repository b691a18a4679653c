"""What is refused when a program that was loaded shall be attached."""

from __future__ import annotations

from tracekit.lesson.failure import Failure

__all__ = ("FAILURES",)

_COUNT = """\
BPF_HASH(seen);
struct args_t { u64 __unused__; u64 nr; u64 pid; };
int f(struct args_t *args) {
    seen.increment(args->pid);
    return 0;
}
"""
_ATTACH = """\
b = BPF(text=text)
b.attach_tracepoint(tp="syscalls:sys_enter_getpgid", fn_name="f")
os.getpgid(me)
print("seen:", b["seen"][c_ulong(me)].value)
"""
_NAMES = '(tp="syscalls:sys_enter_getpgid", fn_name="f")'

FAILURES = (
    Failure(
        "past-the-record",
        "a struct that is longer than the record",
        _COUNT.replace("u64 pid;", "u64 more, pid;"),
        _ATTACH,
        message=r"ioctl\(PERF_EVENT_IOC_SET_BPF\): Permission denied",
        means="Not a question of rights. The program loads, because the verifier does not know"
        " yet which event it is for. When it is attached, the kernel compares: it reads"
        " beyond the last field. Compare the struct with the format file.",
        fix=(("u64 more, pid;", "u64 pid;"),),
    ),
    Failure(
        "slash",
        "a slash between category and event",
        _COUNT,
        _ATTACH.replace("syscalls:sys", "syscalls/sys"),
        message=r"ValueError: not enough values to unpack",
        means="The folders in tracefs have a slash between the two names, bcc wants a colon.",
        fix=(("syscalls/sys", "syscalls:sys"),),
    ),
    Failure(
        "by-position",
        "arguments without their names",
        _COUNT,
        _ATTACH.replace("tp=", "").replace("fn_name=", ""),
        message=r"Unknown program b?''",
        means="bcc's second parameter is not the function's name: it is tp_re, a pattern for"
        " the names of many tracepoints. bcc attached a function without a name to every"
        ' tracepoint that matches "f". Name the arguments.',
        fix=(('("syscalls:sys_enter_getpgid", "f")', _NAMES),),
    ),
    Failure(
        "no-such-event",
        "an event that does not exist, attached by hand",
        _COUNT,
        _ATTACH.replace("getpgid", "getpgidd", 1),
        message=r"open\(.*sys_enter_getpgidd/id\): No such file or directory",
        means="Here, too, the reason is not in the exception: libbcc prints it by itself.",
        fix=(("getpgidd", "getpgid"),),
    ),
    Failure(
        "written-by-ftrace",
        "an event that ftrace writes itself",
        _COUNT,
        _ATTACH.replace("syscalls:sys_enter_getpgid", "ftrace:print"),
        message=r"ioctl\(PERF_EVENT_IOC_SET_BPF\): Invalid argument|ftrace/print/id\)",
        means="The category ftrace holds formats of ftrace's own records. No place in the"
        " kernel's code belongs to them, so nothing can be attached there.",
        fix=(("ftrace:print", "syscalls:sys_enter_getpgid"),),
    ),
    Failure(
        "attached-twice",
        "the same function attached twice",
        _COUNT,
        _ATTACH.replace("os.getpgid", f"b.attach_tracepoint{_NAMES}\nos.getpgid"),
        message=r"ioctl\(PERF_EVENT_IOC_SET_BPF\): File exists",
        means="One program can be attached to one tracepoint once.",
        fix=((f"b.attach_tracepoint{_NAMES}\nos", "os"),),
    ),
    Failure(
        "65th-program",
        "one program more on one tracepoint",
        "",
        """\
define = "int f%d(void *args) { return 0; }\\n"
b = BPF(text="".join(define % n for n in range(65)))
event = "syscalls:sys_enter_swapoff"
for n in range(65):
    b.attach_tracepoint(tp=event, fn_name=f"f{n}")
    print("attached:", n + 1, flush=True)
""",
        message=r"ioctl\(PERF_EVENT_IOC_SET_BPF\): Argument list too long",
        means="A tracepoint takes 64 programs. Who runs a cell with BPF(…) again and again gets"
        " there: bcc keeps every BPF object until Python ends, with all that is attached."
        " Detach what is no longer needed, or let a probe of tracekit do it.",
        fix=(("flush=True)\n", "flush=True)\n    b.detach_tracepoint(tp=event)\n"),),
        works=r"attached: 65",
    ),
)
