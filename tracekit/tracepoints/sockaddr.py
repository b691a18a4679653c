"""The socket addresses inside records: 28 bytes that hold an IPv4 or an IPv6 address.

The kernel declares them as ``__u8 saddr[28]``, room for a ``struct sockaddr_in6``, and writes a
``struct sockaddr_in`` into it for IPv4 (``TP_STORE_ADDR_PORTS`` in
include/trace/events/net_probe_common.h, Linux 6.1; the structs are in include/uapi/linux/in.h
and in6.h).

============  ==============================  ==============================
bytes         IPv4 (family 2)                 IPv6 (family 10)
============  ==============================  ==============================
0-1           family, the machine's order     family, the machine's order
2-3           port, network order             port, network order
4-7           address                         flow information, network order
8-23          zeros                           address
24-27         zeros                           scope id, the machine's order
============  ==============================  ==============================
"""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracekit.errors import RecordError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ("AF_INET", "AF_INET6", "SocketAddress", "decode_sockaddr", "decode_sockaddr_column")

# Linux's numbers; Python's socket module has those of the system it runs on.
AF_INET = 2
AF_INET6 = 10

_SIZE = 28


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """A family, an address as text, and a port; flow information and scope id are IPv6's.

    The address of a family that is neither IPv4 nor IPv6 is ``""``.

    >>> str(SocketAddress(10, "::1", 5201)), str(SocketAddress(2, "127.0.0.1", 5201))
    ('[::1]:5201', '127.0.0.1:5201')
    """

    family: int
    address: str
    port: int
    flowinfo: int = 0
    scope_id: int = 0

    def __str__(self) -> str:
        if self.family == AF_INET:
            return f"{self.address}:{self.port}"
        if self.family == AF_INET6:
            scope = f"%{self.scope_id}" if self.scope_id else ""
            return f"[{self.address}{scope}]:{self.port}"
        return f"family {self.family}"


def decode_sockaddr(data: bytes | bytearray | memoryview | npt.NDArray[np.uint8]) -> SocketAddress:
    """The socket address in the 28 bytes of one record's field.

    ``data`` is anything that holds bytes: bytes, a row of an array. An IPv4 address may come in
    the 16 bytes of its own ``struct sockaddr_in``. Fewer bytes than the family needs, or more
    than 28, raise :class:`~tracekit.errors.RecordError`.

    >>> decode_sockaddr(bytes([2, 0, 20, 81, 127, 0, 0, 1]) + bytes(20))
    SocketAddress(family=2, address='127.0.0.1', port=5201, flowinfo=0, scope_id=0)
    >>> str(decode_sockaddr(bytes([10, 0, 20, 81, 0, 0, 0, 0]) + bytes(15) + b"\\x01" + bytes(4)))
    '[::1]:5201'
    """
    raw = bytes(data)
    family = int.from_bytes(raw[:2], sys.byteorder)
    needed = {AF_INET: 16, AF_INET6: _SIZE}.get(family, 2)
    if not needed <= len(raw) <= _SIZE:
        raise RecordError(
            f"{len(raw)} bytes are not a socket address of family {family}",
            f"pass the {_SIZE} bytes of one saddr or daddr field",
        )
    if family == AF_INET:
        port = int.from_bytes(raw[2:4], "big")
        return SocketAddress(family, socket.inet_ntop(socket.AF_INET, raw[4:8]), port)
    if family == AF_INET6:
        return SocketAddress(
            family,
            socket.inet_ntop(socket.AF_INET6, raw[8:24]),
            int.from_bytes(raw[2:4], "big"),
            int.from_bytes(raw[4:8], "big"),
            int.from_bytes(raw[24:28], sys.byteorder),
        )
    return SocketAddress(family, "", 0)


def decode_sockaddr_column(column: npt.ArrayLike) -> npt.NDArray[np.void]:
    """The socket addresses of all records at once.

    ``column`` is an array of shape (n, 28) and type uint8, such as ``events["saddr"]``. The result
    has shape (n,) and the fields ``family`` (uint16), ``port`` (uint16), ``flowinfo`` (uint32),
    ``scope_id`` (uint32) and ``address`` (text, as wide as the longest); each different address
    is turned into text once. Another shape raises :class:`~tracekit.errors.RecordError`.

    >>> import numpy as np
    >>> row = np.frombuffer(bytes([2, 0, 20, 81, 127, 0, 0, 1]) + bytes(20), dtype="u1")
    >>> decoded = decode_sockaddr_column(np.stack([row, row]))
    >>> decoded["address"], decoded["port"]
    (array(['127.0.0.1', '127.0.0.1'], dtype='<U9'), array([5201, 5201], dtype=uint16))
    """
    import numpy as np

    array = np.asarray(column)
    if array.ndim != 2 or array.shape[1] != _SIZE or array.dtype != np.uint8:
        raise RecordError(
            f"an array of shape {array.shape} and type {array.dtype} is no column of addresses",
            f'pass one of shape (n, {_SIZE}) and type uint8, such as events["saddr"]',
        )
    rows = np.ascontiguousarray(array)
    family = rows[:, 0:2].copy().view("u2")[:, 0]
    is_v4, is_v6 = family == AF_INET, family == AF_INET6
    texts = [""]
    codes = np.zeros(len(rows), dtype=np.intp)
    for rows_of_family, place, kind in (
        (is_v4, slice(4, 8), socket.AF_INET),
        (is_v6, slice(8, 24), socket.AF_INET6),
    ):
        if rows_of_family.any():
            different, inverse = _unique_rows(rows[rows_of_family, place])
            codes[rows_of_family] = inverse + len(texts)
            texts += [socket.inet_ntop(kind, bytes(address)) for address in different]
    addresses = np.array(texts)[codes]
    result = np.zeros(
        len(rows),
        dtype=[
            ("family", "u2"),
            ("port", "u2"),
            ("flowinfo", "u4"),
            ("scope_id", "u4"),
            ("address", addresses.dtype),
        ],
    )
    result["family"] = family
    result["port"] = np.where(is_v4 | is_v6, rows[:, 2:4].copy().view(">u2")[:, 0], 0)
    result["flowinfo"] = np.where(is_v6, rows[:, 4:8].copy().view(">u4")[:, 0], 0)
    result["scope_id"] = np.where(is_v6, rows[:, 24:28].copy().view("u4")[:, 0], 0)
    result["address"] = addresses
    return result


def _unique_rows(rows: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    # Sorting integers is many times faster than sorting rows of bytes: number the different values
    # of each word that is not the same in all rows, and combine the numbers.
    import numpy as np

    words = np.ascontiguousarray(rows).view("u4" if rows.shape[1] == 4 else "u8")
    first = np.zeros(1, dtype=np.intp)
    inverse = np.zeros(len(rows), dtype=np.intp)
    for index in range(words.shape[1]):
        word = words[:, index]
        if (word != word[0]).any():
            if len(first) > 1:
                values, numbers = np.unique(word, return_inverse=True)
                word = inverse * len(values) + numbers
            _, first, inverse = np.unique(word, return_index=True, return_inverse=True)
    return rows[first], inverse
