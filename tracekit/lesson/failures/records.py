"""Programs that run and send something wrong: mostly there is no message at all."""

from __future__ import annotations

from tracekit.lesson.failure import GETPGID, Failure

__all__ = ("FAILURES",)

# A connection over loopback with one byte each way; tells the client's port.
_EXCHANGE = """\
import socket

def exchange():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with client, accepted:
            for sender, receiver in ((client, accepted), (accepted, client)):
                sender.sendall(b"x")
                receiver.recv(1)
            return client.getsockname()[1]

"""
_SEND = """\
struct event_t {{ {members} }}{attribute};
BPF_PERF_OUTPUT(events);
{probe} {{
    struct event_t e = {{ {values} }};
    events.perf_submit(args, &e, sizeof(e));
    return 0;
}}
"""
_RECEIVE = """\
b = BPF(text=text)
def receive(cpu, data, size):
    e = b["events"].event(data)
    print("right pid:", e.pid == me)
b["events"].open_perf_buffer(receive)
os.getpgid(me)
b.perf_buffer_poll(1000)
"""
_RIGHT = r"right pid: True"


def _send(members: str, values: str, attribute: str = "") -> str:
    return _SEND.format(members=members, values=values, attribute=attribute, probe=GETPGID)


FAILURES = (
    Failure(
        "first-8-bytes",
        "a struct without its first 8 bytes",
        """\
BPF_HASH(seen);
struct args_t { u64 nr; u64 pid; };
int f(struct args_t *args) {
    seen.increment(args->pid);
    return 0;
}
""",
        """\
b = BPF(text=text)
b.attach_tracepoint(tp="syscalls:sys_enter_getpgid", fn_name="f")
os.getpgid(me)
print("seen:", 1 if c_ulong(me) in b["seen"] else "another number")
""",
        message=r"seen: another number",
        means="No message. pid is read 8 bytes too early: from the number of the system call,"
        " and the hole behind it. bcc attaches any struct that stays within the record.",
        fix=(("{ u64 nr;", "{ u64 __unused__; u64 nr;"),),
    ),
    Failure(
        "stale-struct",
        "a struct of Linux 5.4",
        """\
BPF_HASH(marks, u16, u32);
struct args_t {
    u64 __unused__; u8 saddr[28], daddr[28];
    u16 sport, dport; u32 mark;
};
int f(struct args_t *args) {
    u16 port = args->sport;
    u32 mark = args->mark;
    marks.update(&port, &mark);
    return 0;
}
""",
        """\
b = BPF(text=text)
b.attach_tracepoint(tp="tcp:tcp_probe", fn_name="f")
port = exchange()
print("mark:", b["marks"][c_ushort(port)].value)
""",
        message=r"mark: [1-9]\d*",
        means="No message. The socket has no mark, so 0 is right. Linux 5.12 put the field"
        " family in front of mark, and mark reads the family and the hole behind it.",
        fix=(("u16 sport, dport;", "u16 sport, dport, family;"),),
        works=r"mark: 0\b",
        setup=_EXCHANGE,
    ),
    Failure(
        "packed",
        "a packed struct",
        _send("u8 first; u64 pid;", "1, args->pid", " __attribute__((packed))"),
        _RECEIVE,
        message=r"\A(right pid: False\n)+\Z",
        means="No message. packed removes the 7 bytes behind first, and bcc's Python half,"
        " which lays the struct out by itself, does not know it. Order the members so that"
        " there is no hole.",
        fix=(
            ("u8 first; u64 pid;", "u64 pid; u8 first;"),
            (" __attribute__((packed))", ""),
            ("1, args->pid", "args->pid, 1"),
        ),
        works=_RIGHT,
    ),
    Failure(
        "hole-bytes",
        "a struct with a hole that nobody filled",
        f"""\
struct event_t {{ u8 first; u64 pid; }};
BPF_PERF_OUTPUT(events);
{GETPGID} {{
    struct event_t e;
    e.first = 1; e.pid = args->pid;
    events.perf_submit(args, &e, sizeof(e));
    return 0;
}}
""",
        """\
b, holes = BPF(text=text), []
def receive(cpu, data, size):
    holes.append(string_at(data, 16)[1:8])
b["events"].open_perf_buffer(receive)
for _ in range(100):
    os.getpgid(me)
b.perf_buffer_poll(1000)
print(sum(map(any, holes)), "of", len(holes), "holes are not empty")
""",
        message=r"^[1-9]\d* of \d+ holes|invalid (indirect )?(read from|access to) stack",
        means="The 7 bytes of the hole hold what was on the kernel's stack before, such as"
        " addresses: nobody else shall see those. Older kernels refuse the program; newer"
        " ones let it pass where the process has CAP_PERFMON. Set the whole struct to zero"
        " first.",
        fix=(("struct event_t e;", "struct event_t e = {};"),),
        works=r"^0 of \d+ holes",
        setup="from ctypes import string_at\n",
    ),
    Failure(
        "user-helper",
        "the helper for the wrong memory",
        f"""\
BPF_HASH(seen);
{GETPGID} {{
    u64 pid = 7;
    bpf_probe_read_user(&pid, sizeof(pid), &args->pid);
    seen.increment(pid);
    return 0;
}}
""",
        """\
b = BPF(text=text)
os.getpgid(me)
print("seen:", int(c_ulong(me) in b["seen"]))
""",
        message=r"^seen: 0$",
        means="No message. The helper for user memory may not read the kernel's: it fills the"
        " variable with zeros and returns an error, which nobody looked at. (Where bcc can't read"
        " the addresses in /proc/kallsyms, it takes the older bpf_probe_read, which reads"
        " both, and nothing fails.) Use the helper of the memory that you read.",
        fix=(("bpf_probe_read_user", "bpf_probe_read_kernel"),),
    ),
    Failure(
        "bool-member",
        "a bool in the struct that is sent",
        _send("u64 pid; bool first;", "args->pid, true"),
        _RECEIVE,
        message=r"Type: '(_B|b)ool' not recognized",
        means="bcc knows u8 to u64, s8 to s64, char and the plain names of C. For another type"
        " it calls sys.exit within the callback; Python prints that and goes on, so the"
        " program stays and every event is lost. Send a u8.",
        fix=(("bool first", "u8 first"), ("args->pid, true", "args->pid, 1")),
        works=_RIGHT,
    ),
    Failure(
        "kernel-type-member",
        "a __u32 in the struct that is sent",
        _send("u64 pid; __u32 first;", "args->pid, 1"),
        _RECEIVE,
        message=r"Type: '__u32' not recognized",
        means="The types of the format file have two underscores; bcc's Python half knows them"
        " without.",
        fix=(("__u32", "u32"),),
        works=_RIGHT,
    ),
    Failure(
        "nested-struct",
        "a struct within the struct that is sent",
        _send("u64 pid; struct { u16 a, b; } two;", "args->pid"),
        _RECEIVE,
        message=r"Type: 'struct .*' not recognized",
        means="bcc's Python half can't describe a struct in a struct. Give each number a name.",
        fix=(("struct { u16 a, b; } two;", "u16 two_a, two_b;"),),
        works=_RIGHT,
    ),
    Failure(
        "ring-size",
        "a ring buffer of three pages",
        _send("u64 pid;", "args->pid")
        .replace("BPF_PERF_OUTPUT(events)", "BPF_RINGBUF_OUTPUT(events, 3)")
        .replace("perf_submit(args, &e, sizeof(e))", "ringbuf_output(&e, sizeof(e), 0)"),
        _RECEIVE.replace("cpu,", "ctx,")
        .replace("perf_buffer(receive)", "ring_buffer(receive)")
        .replace("perf_buffer_poll", "ring_buffer_poll"),
        message=r"could not open bpf map: events, error: Invalid argument",
        means="The exception speaks of compiling, but that went well: the kernel did not make"
        " the buffer. Its pages must be a power of two: 1, 2, 4, 8 and so on.",
        fix=(("(events, 3)", "(events, 4)"),),
        works=r"right pid: True",
    ),
)
