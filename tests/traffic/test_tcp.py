"""Transfers over loopback: exact numbers, against what ss says of the same sockets."""

import os
import re
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tracekit.errors import TrafficError
from tracekit.traffic.connection import listen
from tracekit.traffic.tcp import Endpoint, Transfer, connected, exchange, transfer


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def nothing_left():
    threads, descriptors = threading.enumerate(), open_descriptors()
    yield
    assert threading.enumerate() == threads
    assert open_descriptors() == descriptors


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("size", [1, 1460, 100_003, 5_000_000])
def test_transfer_moves_exactly_its_size(family, size):
    moved = transfer(size=size, family=family)
    assert (moved.sent, moved.received, moved.messages) == (size, size, 1)
    assert (moved.client.received, moved.server.sent) == (0, 0)
    assert moved.family == family
    assert moved.client.family == moved.server.family == {4: 2, 6: 10}[family]
    assert moved.client.address == moved.server.address == {4: "127.0.0.1", 6: "::1"}[family]
    assert moved.client.port != moved.server.port
    assert moved.rate == size * 8 / moved.seconds


@pytest.mark.parametrize("family", [4, 6])
def test_exchange_makes_exactly_its_round_trips(family):
    moved = exchange(count=23, size=1009, family=family)
    assert moved.messages == 23
    assert moved.client.sent == moved.server.received == 23 * 1009
    assert moved.server.sent == moved.client.received == 23 * 1009


def test_exchange_of_messages_larger_than_the_socket_buffers():
    size = 20_000_000
    assert exchange(count=2, size=size).client.received == 2 * size


def test_dual_stack_server_sees_an_ipv4_client_as_family_10():
    moved = exchange(count=1, dual_stack=True)
    assert (moved.family, moved.client.family, moved.server.family) == (4, 2, 10)
    assert moved.client.address == "127.0.0.1"
    assert moved.server.address == "::ffff:127.0.0.1"


def test_dual_stack_server_takes_an_ipv6_client_too():
    moved = transfer(size=10, family=6, dual_stack=True)
    assert (moved.client.family, moved.server.family, moved.server.address) == (10, 10, "::1")


def test_the_port_asked_for_can_be_used_again_at_once():
    with listen(4) as free:
        port = free.getsockname()[1]
    for _ in range(3):
        assert transfer(size=10, port=port).server.port == port


def test_ss_shows_the_same_cookies_ports_and_congestion_control():
    with connected(congestion="reno") as connection:
        local, peer = connection.client.getsockname(), connection.server.getsockname()
        listing = subprocess.run(
            ["ss", "-tineH", f"( sport = {local[1]} and dport = {peer[1]} )"
             f" or ( sport = {peer[1]} and dport = {local[1]} )"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        cookies = {
            end.getsockname()[1]: struct.unpack("=Q", end.getsockopt(socket.SOL_SOCKET, 57, 8))[0]
            for end in (connection.client, connection.server)
        }
    assert listing.count(" reno ") == 2
    seen = {
        int(port): int(cookie, 16)
        for port, cookie in re.findall(r"127\.0\.0\.1:(\d+)\s+127.*?sk:([0-9a-f]+)", listing)
    }
    assert seen == cookies
    assert len(set(cookies.values())) == 2


def test_every_transfer_has_cookies_of_its_own():
    cookies = [cookie for _ in range(5) for cookie in transfer(size=10).cookies]
    assert len(set(cookies)) == 10


def test_the_system_s_congestion_control_unless_told_otherwise():
    default = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    assert transfer(size=10).congestion == default
    assert transfer(size=10, congestion="reno").congestion == "reno"


def test_repr_is_one_line():
    client = Endpoint("::1", 40112, 10, 7, 23, 46)
    server = Endpoint("::1", 5201, 10, 8, 46, 23)
    moved = Transfer(6, client, server, messages=23, seconds=0.5, congestion="reno")
    assert repr(moved) == (
        "Transfer: 23 messages, 23 bytes and 46 back in 0.500 s (0.000368 Mbit/s), "
        "[::1]:40112 → [::1]:5201, reno, cookies 7 → 8"
    )


def test_a_port_in_use_is_named():
    with listen(4) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TrafficError, match=f"port {port} of 127.0.0.1 is in use") as caught:
            transfer(port=port)
    assert "port=" in caught.value.next_step


def test_an_unknown_congestion_control_is_answered_with_the_ones_there_are():
    with pytest.raises(TrafficError, match="named 'nosuch'") as caught:
        transfer(congestion="nosuch")
    for name in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split():
        assert name in caught.value.next_step


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"size": 0}, "size is 0"),
        ({"family": 5}, "family is 5"),
        ({"port": 65536}, "port 65536"),
        ({"port": -1}, "port -1"),
    ],
)
def test_impossible_options_are_refused(options, fact):
    with pytest.raises(TrafficError, match=fact) as caught:
        transfer(**options)
    assert caught.value.next_step


def test_too_little_time_is_an_error_and_not_a_hang():
    with pytest.raises(TrafficError, match="in time"):
        transfer(size=10**12, timeout=0.05)


def test_a_machine_without_ipv6_loopback_says_so():
    # A network namespace whose loopback is down is such a machine.
    program = (
        "from tracekit.traffic.tcp import transfer\n"
        "from tracekit.errors import TrafficError\n"
        "try:\n    transfer(family=6)\n"
        "except TrafficError as error:\n    print(error)\n"
    )
    ended = subprocess.run(
        ["unshare", "-Urn", sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=60,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert "no IPv6 address (::1)" in ended.stdout
    assert "next: use family=4" in ended.stdout
