"""What the compiler refuses, and what the compiler itself can't bear."""

from __future__ import annotations

from tracekit.lesson.failure import GETPGID, Failure

__all__ = ("FAILURES",)

_COUNT = f"""\
BPF_HASH(seen);
{GETPGID} {{
    seen.increment(args->pid);
    return 0;
}}
"""

FAILURES = (
    Failure(
        "missing-header",
        "a header of the C library",
        f"#include <netinet/in.h>\n{_COUNT}",
        message=r"fatal error: 'netinet/in\.h' file not found",
        means="The program is compiled against the kernel's headers. /usr/include belongs to"
        " the C library, which is not in the kernel. The kernel's own headers for programs"
        " are in uapi/.",
        fix=(("<netinet/in.h>", "<uapi/linux/in6.h>"),),
    ),
    Failure(
        "incomplete-type",
        "a struct that nobody has declared",
        f"""\
BPF_HASH(seen);
{GETPGID} {{
    struct sockaddr_in6 address = {{}};
    seen.increment(args->pid);
    return 0;
}}
""",
        message=r"error: variable has incomplete type 'struct sockaddr_in6'",
        means="The compiler knows that there is a struct of this name, and nothing about its"
        " members: no header that it read has them. On kernels before 6.1.12 the same is"
        " said of tcp_probe's own fields.",
        fix=(("BPF_HASH(seen);", "#include <uapi/linux/in6.h>\nBPF_HASH(seen);"),),
    ),
    Failure(
        "wrong-name",
        "an event that does not exist",
        _COUNT.replace("sys_enter_getpgid", "sys_enter_getpgidd"),
        message=r"warning: declaration of 'struct tracepoint__\w+getpgidd' will not be visible",
        means="bcc found no format file of this name, so it wrote no struct for args. The"
        " compiler does not know why; it only sees a struct that has no members.",
        fix=(("sys_enter_getpgidd", "sys_enter_getpgid"),),
    ),
    Failure(
        "swapped-names",
        "category and event in the wrong order",
        _COUNT.replace("syscalls, sys_enter_getpgid", "sys_enter_getpgid, syscalls"),
        message=r"warning: declaration of 'struct tracepoint__sys_enter_getpgid__syscalls'",
        means="The same message as for a wrong name. The struct's name has both parts in your"
        " order: tracepoint__, the category, __, the event.",
        fix=(("sys_enter_getpgid, syscalls", "syscalls, sys_enter_getpgid"),),
    ),
    Failure(
        "common-field",
        "a common field of args",
        _COUNT.replace("args->pid", "args->common_pid"),
        message=r"error: no member named 'common_pid'",
        means="The format file lists the common fields, but a BPF program does not get them. A"
        " helper tells the process.",
        fix=(("args->common_pid", "bpf_get_current_pid_tgid() >> 32"),),
    ),
    Failure(
        "fourth-value",
        "four values to print",
        f"""\
BPF_HASH(seen);
{GETPGID} {{
    bpf_trace_printk("%d %d %d %d", 1, 2, 3, 4);
    seen.increment(args->pid);
    return 0;
}}
""",
        message=r"in function tracepoint__syscalls__sys_enter_getpgid .*: too many args to",
        means="A BPF call has at most five arguments, and bcc adds one, the length of the text."
        " So three values are left. The second stage of the compiler, LLVM, says so and"
        " ends the whole process: there is no Python exception.",
        fix=(('"%d %d %d %d", 1, 2, 3, 4', '"%d %d %d", 1, 2, 3'),),
    ),
    Failure(
        "compiler-abort",
        "an array without & and without a struct",
        f"""\
BPF_RINGBUF_OUTPUT(events, 4);
{GETPGID} {{
    char name[16] = {{}};
    events.ringbuf_output(name, sizeof(name), 0);
    return 0;
}}
""",
        """\
b = BPF(text=text)
b["events"].open_ring_buffer(lambda ctx, data, size: print("size:", size))
os.getpgid(me)
b.ring_buffer_poll(1000)
""",
        message=r"[Aa]ssert|SIGABRT|Abort|Segmentation",
        means="bcc looks up which type & points to, to learn the members of what is sent. Of an"
        " array it finds none, and does not expect that. clang stops the process.",
        fix=(
            ("BPF_RINGBUF", "struct event_t { char name[16]; };\nBPF_RINGBUF"),
            ("char name[16] = {};", "struct event_t e = {};"),
            ("name, sizeof(name), 0", "&e, sizeof(e), 0"),
        ),
        works=r"size: 16",
    ),
    Failure(
        "macro-name",
        "a function with a macro's name",
        f"""\
BPF_HASH(seen);
static void nop(void) {{ }}
{GETPGID} {{
    nop();
    seen.increment(args->pid);
    return 0;
}}
""",
        message=r"error: too many arguments provided to function-like macro invocation",
        means="bcc puts the kernel's headers in front of every program, and they are full of"
        " macros. Here one of them is nop. The note names the header that has it.",
        fix=(("static void nop", "static void do_nothing"), ("    nop()", "    do_nothing()")),
    ),
    Failure(
        "same-event-twice",
        "two functions for one event",
        f"{_COUNT}{GETPGID} {{ return 0; }}\n",
        message=r"error: redefinition of 'tracepoint__syscalls__sys_enter_getpgid'",
        means="TRACEPOINT_PROBE makes the function's name of the two names, so two of them have"
        " one name. Put what both do into one.",
        fix=((f"{GETPGID} {{ return 0; }}\n", ""),),
    ),
    Failure(
        "macro-redefined",
        "KBUILD_MODNAME, as the document has it",
        f'#define KBUILD_MODNAME "mine"\n{_COUNT}',
        message=r"warning: 'KBUILD_MODNAME' macro redefined",
        means="Nothing fails: it is a warning. Since version 0.15 bcc defines this macro"
        " itself; in 2020 a program had to. With #ifndef it compiles in silence with both.",
        fix=(
            (
                '#define KBUILD_MODNAME "mine"\n',
                '#ifndef KBUILD_MODNAME\n#define KBUILD_MODNAME "mine"\n#endif\n',
            ),
        ),
        works=r"\Aseen: 1\b",
    ),
    Failure(
        "no-return",
        "a function that returns nothing",
        _COUNT.replace("    return 0;\n", ""),
        message=r"warning: non-void function does not return a value",
        means="What the function returns is then whatever was left in a register.",
        fix=(("args->pid);\n", "args->pid);\n    return 0;\n"),),
        works=r"\Aseen: 1\b",
    ),
    Failure(
        "stack-limit",
        "a large variable",
        f"""\
BPF_HASH(seen);
{GETPGID} {{
    char name[600];
    bpf_get_current_comm(name, sizeof(name));
    seen.increment(args->pid);
    return 0;
}}
""",
        message=r"BPF stack limit",
        means="All variables of a BPF program together must fit in 512 bytes. What is larger is"
        " kept in a table: here an array of one entry, one for each processor.",
        fix=(
            (
                "BPF_HASH",
                "struct name_t { char c[600]; };\n"
                "BPF_PERCPU_ARRAY(room, struct name_t, 1);\nBPF_HASH",
            ),
            ("char name[600];", "int first = 0;\n    struct name_t *name = room.lookup(&first);"),
            (
                "    bpf_get_current_comm(name, sizeof(name))",
                "    if (name)\n        bpf_get_current_comm(name->c, sizeof(name->c))",
            ),
        ),
    ),
)
