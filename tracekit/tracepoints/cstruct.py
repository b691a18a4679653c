"""A C struct whose members lie where a record's fields lie, for BPF programs that have no macro."""

from __future__ import annotations

from tracekit.tracepoints.field import Field
from tracekit.tracepoints.format import Format
from tracekit.tracepoints.layout import is_text

__all__ = ("c_struct",)


def c_struct(fmt: Format, name: str = "", *, asserts: bool = False) -> str:
    """A C struct whose members lie where the record's fields lie, for a BPF program.

    Its types are bcc's (u8 to u64, s8 to s64, char arrays), its padding is written out, and
    ``asserts`` adds one ``_Static_assert`` for each member's offset and size, so that a compiler
    proves it. The first 8 bytes are one member: a BPF program may not read them (the kernel
    keeps a pointer there: ``perf_trace_run_bpf_submit`` in kernel/events/core.c). A
    ``__data_loc`` field is called ``data_loc_<name>``, as bcc's ``TP_DATA_LOC_READ`` expects.

    >>> from tracekit.tracepoints.tracefs import read_format
    >>> print(read_format("random:urandom_read", kernel="ubuntu-20.04_5.4").c_struct())
    struct urandom_read_args {
        u64 __unused__;
        s32 got_bits;
        s32 pool_left;
        s32 input_left;
    };
    """
    name = name or f"{fmt.name}_args"
    members: list[str] = []
    checks: list[str] = []
    end = 0
    if min((field.offset for field in fmt.fields), default=8) >= 8:
        members.append("u64 __unused__;")
        end = 8
    for field in sorted(fmt.all_fields, key=lambda f: f.offset):
        if field.end <= end and field.offset < 8:
            continue
        if field.offset > end:
            members.append(f"u8 __pad_{end}[{field.offset - end}];")
        members.append(_member(field))
        end = field.end
        if asserts:
            checks += _assertions(name, field)
    body = "\n".join(f"    {member}" for member in members)
    return "\n".join((f"struct {name} {{\n{body}\n}};", *checks))


def _member_name(field: Field) -> str:
    return f"{field.location.strip('_')}_{field.name}" if field.location else field.name


def _member(field: Field) -> str:
    name = _member_name(field)
    if field.location:
        return f"u{field.size * 8} {name};"
    width, count = field.element_size, field.length
    if width not in (1, 2, 4, 8):
        width, count = 1, field.size
    base = "char" if is_text(field) else f"{'s' if field.signed else 'u'}{width * 8}"
    brackets = "" if count is None else f"[{count}]"
    # A 32-bit kernel aligns its u64 to 4 bytes, and a kernel can pack a struct of its own (6.1-rt:
    # ftrace:funcgraph_entry); a BPF program would move such a member.
    packed = " __attribute__((packed))" if field.offset % width else ""
    return f"{base} {name}{brackets}{packed};"


def _assertions(struct: str, field: Field) -> tuple[str, str]:
    name = _member_name(field)
    return (
        f"_Static_assert(__builtin_offsetof(struct {struct}, {name}) == {field.offset}, "
        f'"{name} at {field.offset}");',
        f"_Static_assert(sizeof(((struct {struct} *)0)->{name}) == {field.size}, "
        f'"{name} has {field.size}");',
    )
