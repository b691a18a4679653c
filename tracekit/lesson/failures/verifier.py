"""What the kernel's verifier refuses before a program may run."""

from __future__ import annotations

from tracekit.lesson.failure import GETPGID, Failure

__all__ = ("FAILURES",)

_ATTACH = """\
b = BPF(text=text)
b.attach_tracepoint(tp="syscalls:sys_enter_getpgid", fn_name="f")
os.getpgid(me)
print("seen:", b["seen"][c_ulong(me)].value)
"""

FAILURES = (
    Failure(
        "offset-0",
        "the common fields, read from the context",
        """\
BPF_HASH(seen);
struct args_t { u16 type; u8 flags, count; int thread; };
int f(struct args_t *args) {
    u64 id = args->thread;
    seen.increment(id);
    return 0;
}
""",
        _ATTACH,
        message=r"invalid bpf_context access off=4 size=4",
        means="The first 8 bytes that a program is given are no common fields: the kernel keeps"
        " a pointer of its own there, and no program may read them. off=4 says where it"
        " tried. Ask a helper in place of the field.",
        fix=(("args->thread", "bpf_get_current_pid_tgid() >> 32"),),
    ),
    Failure(
        "variable-index",
        "an index that is known only when it runs",
        f"""\
BPF_HASH(seen);
TRACEPOINT_PROBE(tcp, tcp_probe) {{
    u32 i = args->data_len;
    if (i < 28)
        seen.increment(args->saddr[i]);
    return 0;
}}
{GETPGID} {{
    seen.increment(args->pid); return 0;
}}
""",
        message=r"variable ctx access|math between ctx pointer and register",
        means="The verifier must know every offset at which the context is read, and here it knows"
        " a range. Copy the array first. In a copy of your own, any index will do that is compared"
        " with its length.",
        fix=(
            (
                "    if (i",
                "    u8 copy[28] = {};\n"
                "    bpf_probe_read_kernel(copy, 28, args->saddr);\n    if (i",
            ),
            ("args->saddr[i]", "copy[i]"),
        ),
    ),
    Failure(
        "endless-loop",
        "a loop that waits",
        f"""\
BPF_HASH(seen);
{GETPGID} {{
    u64 end = bpf_ktime_get_ns() + 1000;
    while (bpf_ktime_get_ns() < end)
        ;
    seen.increment(args->pid);
    return 0;
}}
""",
        message=r"infinite loop detected|back-edge|jumps is too complex|program is too large",
        means="The verifier walks through the program and must reach its end. A program that"
        " might never end would stop a processor. Give the loop a bound that the compiler"
        " knows.",
        fix=(
            (
                "while (bpf_ktime_get_ns() < end)",
                "for (int i = 0; i < 100 && bpf_ktime_get_ns() < end; i++)",
            ),
        ),
    ),
    Failure(
        "kernel-pointer",
        "a pointer of the kernel, followed directly",
        f"""\
BPF_HASH(seen);
{GETPGID} {{
    u64 task = bpf_get_current_task();
    u64 flags = *(u64 *)task;
    if (flags != 1234567)
        seen.increment(args->pid);
    return 0;
}}
""",
        message=r"R\d invalid mem access '(scalar|inv)'",
        means="For the verifier the address is a number like any other (a scalar), and may lead"
        " anywhere. bpf_probe_read_kernel follows it safely: where there is no memory, it"
        " returns an error.",
        fix=(
            (
                "u64 flags = *(u64 *)task;",
                "u64 flags;\n    bpf_probe_read_kernel(&flags, sizeof(flags), (void *)task);",
            ),
        ),
    ),
    Failure(
        "unchecked-lookup",
        "an entry of a table that may not be there",
        f"""\
BPF_HASH(seen);
{GETPGID} {{
    u64 key = args->pid, zero = 0;
    u64 *value = seen.lookup(&key);
    *value += 1;
    return 0;
}}
""",
        message=r"R\d invalid mem access '\w+_or_null'",
        means="lookup gives 0 where the table has no such entry. Compare with 0 before you use it.",
        fix=(
            ("seen.lookup(&key)", "seen.lookup_or_try_init(&key, &zero)"),
            ("    *value", "    if (value)\n        *value"),
        ),
    ),
    Failure(
        "context-written",
        "a field of the event, written",
        f"""\
BPF_HASH(seen);
{GETPGID} {{
    args->pid += 1;
    seen.increment(args->pid - 1);
    return 0;
}}
""",
        message=r"invalid bpf_context access off=\d+ size=8",
        means="A tracepoint tells what happens; a program there can't change it. Change a copy.",
        fix=(("args->pid += 1", "u64 pid = args->pid + 1"), ("args->pid - 1", "pid - 1")),
    ),
)
