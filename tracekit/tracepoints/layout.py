"""Where the fields of a record lie, and what its bytes are then: holes, a numpy dtype, values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracekit.errors import RecordError
from tracekit.tracepoints.declaration import type_is_signed, type_width
from tracekit.tracepoints.field import Field, unique_names
from tracekit.tracepoints.format import Format

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = (
    "Hole",
    "cut_text",
    "decode",
    "dynamic_value",
    "find_holes",
    "is_text",
    "layout_of",
    "record_dtype",
)


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes of a record that no field claims: ``size`` of them at ``offset``, behind ``after``.

    The compiler leaves them so that the next field is aligned. The kernel does not clear them.
    """

    offset: int
    size: int
    after: str

    @property
    def end(self) -> int:
        """The offset of the first byte behind the hole."""
        return self.offset + self.size


def find_holes(fields: Iterable[Field]) -> tuple[Hole, ...]:
    """The bytes before the end of the last field that belong to no field, in order of offset.

    >>> from tracekit.tracepoints.tracefs import read_format
    >>> find_holes(read_format("tcp:tcp_probe", kernel="ubuntu-20.04_5.4"))
    (Hole(offset=74, size=2, after='data_len'),)
    """
    holes = []
    end, last = 0, ""
    for field in sorted(fields, key=lambda f: f.offset):
        if field.offset > end:
            holes.append(Hole(end, field.offset - end, last))
        if field.end >= end:
            end, last = field.end, field.name
    return tuple(holes)


def record_dtype(fields: Iterable[Field]) -> np.dtype[np.void]:
    """The fields as a structured numpy dtype with explicit offsets, in the machine's byte order.

    A number becomes an integer of the line's size and sign, a pointer an unsigned one, an array
    of char a byte string (numpy drops the NULs at its end), another array a subarray, a
    ``__data_loc`` or ``__rel_loc`` field the unsigned number that locates the value (see
    :func:`dynamic_value`), a field of any other size its bytes. The item size is the end of the
    last field: what follows it in a buffer, padding or dynamic values, is the buffer's matter.

    >>> from tracekit.tracepoints.tracefs import read_format
    >>> dtype = read_format("tcp:tcp_probe", kernel="debian-12_6.12").dtype
    >>> dtype.fields["snd_cwnd"], dtype["saddr"].shape, dtype.itemsize
    ((dtype('uint32'), 88), (28,), 136)
    """
    import numpy as np

    listed = tuple(fields)
    return np.dtype(
        {
            "names": list(unique_names(listed)),
            "formats": [_numpy_type(f) for f in listed],
            "offsets": [f.offset for f in listed],
            "itemsize": max((f.end for f in listed), default=0),
        }
    )


def _numpy_type(field: Field) -> str | tuple[str, tuple[int, ...]]:
    if field.length is not None:
        if is_text(field):
            return f"S{field.size}"
        if field.element_size in (1, 2, 4, 8):
            return f"{'i' if field.signed else 'u'}{field.element_size}", (field.length,)
        return "u1", (field.size,)
    if field.size in (1, 2, 4, 8):
        return f"{'i' if field.signed and not field.location else 'u'}{field.size}"
    return "u1", (field.size,)


def is_text(field: Field) -> bool:
    """Whether the field is an array of char: text, which ends at a NUL or at the array's end."""
    return field.type in ("char", "const char") and field.size > 0


def decode(fmt: Format, data: bytes | memoryview, *, stride: int = 0) -> npt.NDArray[np.void]:
    """The records in ``data``, one behind the other, as a structured array that shares its memory.

    ``stride`` is the distance in bytes from one record's beginning to the next, where it is more
    than the record's size. Bytes behind the last whole record are refused with
    :class:`~tracekit.errors.RecordError`, unless they are its padding.

    >>> from tracekit.tracepoints.tracefs import read_format
    >>> fmt = read_format("random:urandom_read", kernel="ubuntu-20.04_5.4")
    >>> data = bytes.fromhex("9d040000d2040000 00200000 00000000 f00f0000")
    >>> decode(fmt, data)[0]["got_bits"]
    np.int32(8192)
    """
    import numpy as np

    size = fmt.dtype.itemsize
    step = stride or size
    if step < size:
        raise RecordError(
            f"a stride of {step} bytes is less than the record of {fmt.full_name}, {size} bytes"
        )
    length = len(memoryview(data).cast("B"))
    count, rest = divmod(length, step)
    if rest >= size:  # the last record, without its padding
        count, rest = count + 1, 0
    if rest:
        raise RecordError(
            f"{length} bytes are not whole records of {fmt.full_name}: {count} of {step} bytes "
            f"and {rest} over",
            "read the format file of the kernel that wrote the bytes",
        )
    return np.ndarray((count,), dtype=fmt.dtype, buffer=data, strides=(step,))


def cut_text(column: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bytes_]:
    """Texts without what lies behind their first NUL; the column's shape and dtype stay.

    The kernel copies a text into its array and leaves the bytes behind it as they were, so that
    they hold pieces of earlier events. numpy drops only NULs at the end.

    >>> import numpy as np
    >>> cut_text(np.array([b"true", b"sh\\0-Worker"], "S16")).tolist()
    [b'true', b'sh']
    """
    import numpy as np

    texts = np.ascontiguousarray(column)
    letters = texts.view(np.uint8).reshape(*texts.shape, texts.dtype.itemsize)
    inside = np.logical_and.accumulate(letters != 0, axis=-1)
    return np.where(inside, letters, 0).astype(np.uint8).view(texts.dtype).reshape(texts.shape)


def dynamic_value(field: Field, record: bytes) -> bytes:
    """The bytes a ``__data_loc`` or ``__rel_loc`` field points to, in the whole record.

    The field's low 16 bits are an offset, its high 16 bits a length in bytes. The offset counts
    from the record's beginning for ``__data_loc``, from the field's end for ``__rel_loc``
    (include/trace/stages/stage3_trace_output.h, Linux 6.1). A string's ends with its NUL.

    >>> from tracekit.tracepoints.format import Field
    >>> field = Field("__data_loc char[] name", "char", "name", 8, 4, False, None, "__data_loc")
    >>> dynamic_value(field, bytes(8) + bytes([12, 0, 3, 0]) + b"lo\\0")
    b'lo\\x00'
    """
    import sys

    if not field.location:
        raise RecordError(
            f"{field.name} holds its value itself", "only __data_loc and __rel_loc fields point"
        )
    if field.size != 4 or field.end > len(record):
        raise RecordError(
            f"the 4 bytes that locate {field.name} are not in the record of {len(record)} bytes",
            "pass the whole record, and the field from its own kernel's format file",
        )
    number = int.from_bytes(record[field.offset : field.end], sys.byteorder)
    start, length = number & 0xFFFF, number >> 16
    if field.location == "__rel_loc":
        start += field.end
    if start + length > len(record):
        raise RecordError(
            f"{field.name} points to bytes {start} to {start + length}, of {len(record)}",
            "pass the whole record, with what lies behind its last field",
        )
    return bytes(record[start : start + length])


def layout_of(members: Iterable[tuple[str, str] | tuple[str, str, int]]) -> tuple[Field, ...]:
    """Fields for C struct members ``(type, name)`` or ``(type, name, count)``, aligned as C does.

    Each begins at the next multiple of its own type's size, as a compiler for 64-bit Linux lays
    out a struct that is not packed. A type whose size is not known raises
    :class:`~tracekit.errors.RecordError`.

    >>> [(f.name, f.offset) for f in layout_of([("u64", "x"), ("u16", "y"), ("u32", "z")])]
    [('x', 0), ('y', 8), ('z', 12)]
    """
    fields = []
    end = 0
    for member in members:
        type_name, name = member[0], member[1]
        count = member[2] if len(member) > 2 else None
        width = type_width(type_name)
        if width is None:
            raise RecordError(
                f"the size of the C type {type_name!r} is not known here",
                "write it as u8, u16, u32, u64 or an array of one of them",
            )
        offset = -(-end // width) * width
        size = width * (1 if count is None else count)
        declaration = f"{type_name} {name}" + ("" if count is None else f"[{count}]")
        fields.append(
            Field(declaration, type_name, name, offset, size, type_is_signed(type_name), count)
        )
        end = offset + size
    return tuple(fields)
