"""The C program that sends what :func:`tracekit.capture.watch.watch` copies without one.

It is what a learner would write by hand: a struct of its own with every field under its name, a
ring buffer, and a function with ``TRACEPOINT_PROBE``, whose struct bcc generates from the format
file. Where bcc can't, it brings that struct along and is attached by ``attach_tracepoint``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from tracekit.capture.generated import why_not_generated
from tracekit.capture.listing import Column, Listing
from tracekit.capture.probe import PROGRAMS, Probe
from tracekit.capture.program import Program
from tracekit.capture.script import stand_alone_script
from tracekit.capture.watch import DYNAMIC_SIZE, element_of
from tracekit.tracepoints.field import Field, unique_names
from tracekit.tracepoints.format import Format
from tracekit.tracepoints.layout import is_text
from tracekit.tracepoints.tracefs import read_format

__all__ = ("EquivalentProgram", "equivalent_program")

_FUNCTION = "send_event"

_TEXT = """\
{comment}
#include "counters.h"

{arguments}struct event_t {{
	u64 common_ts; // nanoseconds since boot, CLOCK_MONOTONIC
	u32 common_pid; // the thread that was running
	char common_comm[16];
{members}
}};

BPF_RINGBUF_OUTPUT(events, 256); // pages of 4096 bytes
{helper}
{function}
{{
	struct event_t *event;

	count(SEEN);
	event = events.ringbuf_reserve(sizeof(*event));
	if (!event) {{
		count(DROPPED);
		return 0;
	}}
	__builtin_memset(event, 0, sizeof(*event));
	event->common_ts = bpf_ktime_get_ns();
	event->common_pid = bpf_get_current_pid_tgid();
	bpf_get_current_comm(event->common_comm, sizeof(event->common_comm));
{copies}
	events.ringbuf_submit(event, 0);
	count(SENT);
	return 0;
}}
"""

_HELPER = """
// Copy the value of a dynamic field. The low 16 bits of its location are the offset in the record,
// the high 16 the length.
static inline void copy_dynamic(void *to, u32 size, void *record, u32 location)
{
	u32 length = location >> 16;

	if (length > size)
		length = size;
	bpf_probe_read_kernel(to, length, record + (location & 0xffff));
}
"""


@dataclass(frozen=True, slots=True, repr=False)
class EquivalentProgram:
    """A C program that sends every field of one tracepoint.

    ``text`` is the C text. ``by_hand`` says why it can't use ``TRACEPOINT_PROBE`` and is attached
    with ``attach_tracepoint``; it is empty where it can.
    """

    format: Format
    text: str
    by_hand: str = ""

    @property
    def program(self) -> Program:
        """The text as a program, which ``show_source`` shows with its line numbers."""
        return Program(self.text, f"{self.format.name}.c", PROGRAMS)

    @property
    def attach(self) -> tuple[str, str] | None:
        """The tracepoint and the function to attach by hand; None with ``TRACEPOINT_PROBE``."""
        return (self.format.full_name, _FUNCTION) if self.by_hand else None

    def open(self) -> Probe:
        """A probe that runs it; raises what :meth:`tracekit.capture.probe.Probe.from_text` does."""
        probe = Probe.from_text(self.text, name=self.format.name)
        if self.attach is None:
            return probe
        try:
            return probe.attach_tracepoint(*self.attach)
        except BaseException:
            probe.close()
            raise

    def script(self) -> str:
        """The program as a stand-alone bcc script, which prints all fields of each event."""
        listing = Listing(tuple(_columns(self.format)), self.attach)
        return stand_alone_script(self.program, listing, flood=True)

    def __repr__(self) -> str:
        return self.text


def equivalent_program(tracepoint: str | Format) -> EquivalentProgram:
    """The C program that sends the same columns as :func:`tracekit.capture.watch.watch`.

    Numbers and pointers have the format file's size and sign, whatever their C type; of a dynamic
    value the first 64 bytes are sent.

    :param tracepoint: ``category:event``, or a format.
    :raises UnknownTracepoint: this kernel has no such tracepoint.
    :raises TracefsUnavailable: tracefs is not mounted or not readable.

    >>> fmt = read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
    >>> program = equivalent_program(fmt)
    >>> [line.strip() for line in program.text.splitlines() if "got_bits" in line]
    ['s32 got_bits;', 'event->got_bits = args->got_bits;']
    >>> program.program.tracepoints
    ('random:urandom_read',)
    """
    fmt = read_format(tracepoint) if isinstance(tracepoint, str) else tracepoint
    by_hand = why_not_generated(fmt)
    named = list(_named(fmt))
    struct = f"{fmt.name}_args"
    return EquivalentProgram(
        fmt,
        _TEXT.format(
            comment=_comment(fmt, by_hand),
            arguments=f"{_own_struct(fmt, struct)}\n\n" if by_hand else "",
            members="\n".join(f"\t{_member(name, field)}" for name, field in named),
            helper=_HELPER if any(field.location for field in fmt.fields) else "",
            function=f"int {_FUNCTION}(struct {struct} *args)"
            if by_hand
            else f"TRACEPOINT_PROBE({fmt.category}, {fmt.name})",
            copies="\n".join(f"\t{_copy(name, field)}" for name, field in named),
        ),
        by_hand,
    )


def _comment(fmt: Format, by_hand: str) -> str:
    paragraphs = [f"{fmt.name}: send every field of {fmt.full_name} to user space."]
    if by_hand:
        paragraphs.append(
            f"TRACEPOINT_PROBE can't be used: {by_hand}. So the struct is written here, from the"
            f" format file of {fmt.kernel or 'this kernel'}, and the function is attached with"
            f' attach_tracepoint("{fmt.full_name}", "{_FUNCTION}").'
        )
    else:
        paragraphs.append("args is laid out by the event's format file; bcc reads it.")
    if any(field.location for field in fmt.fields):
        paragraphs.append(f"Of each dynamic value the first {DYNAMIC_SIZE} bytes are sent.")
    blocks = ["\n".join(f"// {line}" for line in wrap(text, 96)) for text in paragraphs]
    return "\n//\n".join(["\n".join(blocks[:1]), "\n".join(blocks[1:])])


def _named(fmt: Format) -> Iterator[tuple[str, Field]]:
    # Two fields may share a name, one of them a location: see unique_names.
    names = unique_names(fmt.all_fields)[len(fmt.common_fields) :]
    return zip(names, fmt.fields, strict=True)


def _own_struct(fmt: Format, name: str) -> str:
    return fmt.c_struct(name).replace("    ", "\t")


def _member(name: str, field: Field) -> str:
    if field.location:
        element = element_of(field)
        kept = DYNAMIC_SIZE // element.itemsize
        return f"{_c_type(element.kind, element.itemsize)} {name}[{kept}];"
    width, count = field.element_size, field.length
    if width not in (1, 2, 4, 8):
        width, count = 1, field.size
    kind = "S" if is_text(field) else "i" if field.signed else "u"
    return f"{_c_type(kind, width)} {name}{'' if count is None else f'[{count}]'};"


def _c_type(kind: str, width: int) -> str:
    return "char" if kind == "S" else f"{'s' if kind == 'i' else 'u'}{width * 8}"


def _copy(name: str, field: Field) -> str:
    target = f"event->{name}"
    if field.location:
        location = f"args->{field.location.strip('_')}_{field.name}"
        if field.location == "__rel_loc":
            # it counts from the field's own end
            location += f" + {field.end}"
        return f"copy_dynamic({target}, sizeof({target}), args, {location});"
    if field.length is not None or field.size not in (1, 2, 4, 8):
        source = f"args->{name}" if field.length is not None else f"&args->{name}"
        return f"bpf_probe_read_kernel({target}, sizeof({target}), {source});"
    if "*" in field.type:
        return f"{target} = (u{field.size * 8})args->{name};"
    return f"{target} = args->{name};"


def _columns(fmt: Format) -> Iterator[Column]:
    yield Column("common_ts", "common_ts", "<16")
    yield Column("common_pid", "common_pid", "<10")
    yield Column("common_comm", "common_comm", "<16", "text")
    for name, field in _named(fmt):
        if is_text(field):
            yield Column(name, name, f"<{max(len(name), 16)}", "text")
        elif field.location or field.length is not None or field.size not in (1, 2, 4, 8):
            width = element_of(field).itemsize if field.location else field.element_size
            yield Column(name, name, kind="numbers" if width in (2, 4, 8) else "bytes")
        else:
            digits = {1: 4, 2: 6, 4: 11, 8: 20}[field.size]
            yield Column(name, name, f"<{max(len(name), digits)}")
