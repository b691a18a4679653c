import ctypes
import ipaddress
import socket
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import RecordError
from tracekit.tracepoints.sockaddr import (
    AF_INET,
    AF_INET6,
    SocketAddress,
    decode_sockaddr,
    decode_sockaddr_column,
)

PORTS = st.integers(0, 2**16 - 1)
WORDS = st.integers(0, 2**32 - 1)


def ipv4_bytes(address, port):
    return struct.pack("=H", AF_INET) + struct.pack("!H", port) + address + bytes(20)


def ipv6_bytes(address, port, flowinfo=0, scope_id=0):
    head = struct.pack("=H", AF_INET6) + struct.pack("!HI", port, flowinfo)
    return head + address + struct.pack("=I", scope_id)


@given(st.ip_addresses(v=4), PORTS)
def test_ipv4_comes_back(address, port):
    decoded = decode_sockaddr(ipv4_bytes(address.packed, port))
    assert decoded == SocketAddress(AF_INET, str(address), port)
    assert str(decoded) == f"{address}:{port}"


@given(st.ip_addresses(v=6), PORTS, WORDS, WORDS)
def test_ipv6_comes_back(address, port, flowinfo, scope_id):
    decoded = decode_sockaddr(ipv6_bytes(address.packed, port, flowinfo, scope_id))
    # Texts of one address can differ between libraries, so its bytes are compared.
    assert ipaddress.ip_address(decoded.address) == address
    assert decoded.address == socket.inet_ntop(socket.AF_INET6, address.packed)
    assert (decoded.port, decoded.flowinfo, decoded.scope_id) == (port, flowinfo, scope_id)


def kernels_bytes(sock):
    # What the kernel itself calls this socket's address, as bytes.
    libc = ctypes.CDLL(None, use_errno=True)
    buffer, length = ctypes.create_string_buffer(28), ctypes.c_uint(28)
    assert libc.getsockname(sock.fileno(), buffer, ctypes.byref(length)) == 0
    return buffer.raw


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' structs differ")
@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_sockets_own_address(family, address):
    with socket.socket(family) as sock:
        sock.bind((address, 0))
        decoded = decode_sockaddr(kernels_bytes(sock))
        assert (decoded.address, decoded.port) == sock.getsockname()[:2]
        assert decoded.family == int(family)


def test_an_ipv4_client_of_an_ipv6_socket_keeps_the_ipv6_family():
    mapped = ipaddress.ip_address("::ffff:127.0.0.1").packed
    decoded = decode_sockaddr(ipv6_bytes(mapped, 80))
    assert (decoded.family, decoded.address) == (AF_INET6, "::ffff:127.0.0.1")
    assert str(decoded) == "[::ffff:127.0.0.1]:80"


def test_a_scope_is_shown():
    link_local = ipaddress.ip_address("fe80::1").packed
    assert str(decode_sockaddr(ipv6_bytes(link_local, 7, 0, 3))) == "[fe80::1%3]:7"


def test_the_documents_bytes():
    # "daddr[2], daddr[3] = (204, 165)" is the port 204 * 256 + 165.
    assert decode_sockaddr(bytes([2, 0, 204, 165, 10, 0, 0, 1]) + bytes(20)).port == 52389


def test_another_family_has_no_address():
    decoded = decode_sockaddr(bytes(28))
    assert (decoded, str(decoded)) == (SocketAddress(0, "", 0), "family 0")


def test_16_bytes_are_enough_for_ipv4_only():
    assert decode_sockaddr(ipv4_bytes(bytes([10, 0, 0, 1]), 5)[:16]).address == "10.0.0.1"
    with pytest.raises(RecordError):
        decode_sockaddr(ipv6_bytes(bytes(16), 5)[:16])


@pytest.mark.parametrize("length", [0, 1, 15, 29])
def test_other_lengths_are_refused(length):
    with pytest.raises(RecordError, match=f"{length} bytes are not a socket address"):
        decode_sockaddr(ipv4_bytes(bytes(4), 5).ljust(29, b"\0")[:length])


ROWS = st.one_of(
    st.builds(lambda a, p: ipv4_bytes(a.packed, p), st.ip_addresses(v=4), PORTS),
    st.builds(
        lambda a, p, f, s: ipv6_bytes(a.packed, p, f, s),
        st.ip_addresses(v=6),
        PORTS,
        WORDS,
        WORDS,
    ),
    st.binary(min_size=28, max_size=28),
)


@given(st.lists(ROWS, max_size=12), st.lists(st.integers(0, 11), max_size=30))
def test_a_column_is_its_records(different, order):
    rows = [different[i % len(different)] for i in order] if different else []
    column = np.frombuffer(b"".join(rows), dtype="u1").reshape(-1, 28)
    decoded = decode_sockaddr_column(column)
    assert decoded.shape == (len(rows),)
    names = ["family", "address", "port", "flowinfo", "scope_id"]
    assert [SocketAddress(*values) for values in decoded[names].tolist()] == [
        decode_sockaddr(row) for row in rows
    ]


def test_a_column_of_a_structured_array_and_no_copy_of_the_rest():
    records = np.zeros(23, dtype=[("x", "u4"), ("saddr", "u1", (28,)), ("y", "u8")])
    records["saddr"] = np.frombuffer(ipv4_bytes(bytes([192, 0, 2, 7]), 443), dtype="u1")
    decoded = decode_sockaddr_column(records["saddr"])
    assert set(decoded["address"]) == {"192.0.2.7"}
    assert decoded["port"].sum() == 23 * 443


@pytest.mark.parametrize(
    "column",
    [np.zeros(28, "u1"), np.zeros((3, 16), "u1"), np.zeros((3, 28), "i4"), np.zeros((1, 1, 28))],
)
def test_what_is_no_column_is_refused(column):
    with pytest.raises(RecordError, match="no column of addresses"):
        decode_sockaddr_column(column)
