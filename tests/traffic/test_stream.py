"""Moving bytes between two sockets: exact counts, and an end whatever the sockets do."""

import socket
import threading

import pytest

from tracekit.errors import TrafficError
from tracekit.traffic.connection import join, listen, open_client
from tracekit.traffic.stream import pump
from tracekit.traffic.tcp import connected


def test_what_was_sent_when_the_time_is_over_arrives():
    with connected() as connection:
        moved = pump(connection.client, connection.server, seconds=0.05)
        assert moved.sent == moved.received > 0
        with pytest.raises(BlockingIOError):
            connection.server.recv(1)


def test_stopping_ends_it_before_its_time():
    looks = iter([False, False, True])
    with connected() as connection:
        moved = pump(
            connection.client, connection.server, seconds=200, stopped=lambda: next(looks, True)
        )
    assert moved.sent == moved.received


def test_aborting_does_not_wait_for_what_is_missing():
    abort = threading.Event()
    deaf, silent = socket.socketpair()
    with connected() as connection, deaf, silent:
        timer = threading.Timer(0.05, abort.set)
        timer.start()
        with pytest.raises(TrafficError, match="aborted after 0 of"):
            pump(connection.client, deaf, seconds=200, aborted=abort.is_set)
        timer.join()


def test_a_connection_closed_at_the_other_end_is_an_error():
    with connected() as connection:
        connection.client.shutdown(socket.SHUT_WR)
        with pytest.raises(TrafficError, match="broke after 0 of"):
            pump(connection.client, connection.server, size=10)


def test_a_stranger_s_connection_is_not_taken_for_the_client_s():
    with (
        listen(4) as listener,
        open_client(4) as client,
        socket.create_connection(listener.getsockname()) as stranger,
    ):
        connection = join(client, listener, "127.0.0.1", timeout=10)
        assert connection.server.getpeername() == client.getsockname()
        assert connection.server.getpeername() != stranger.getsockname()
        connection.close()


def test_nobody_listening_is_an_error_with_a_next_step():
    # The listener has its port on 127.0.0.1; on 127.0.0.2 nobody has it.
    with listen(4) as listener, open_client(4) as client:
        port = listener.getsockname()[1]
        with pytest.raises(TrafficError, match=f"port {port} of 127.0.0.2.*refused") as caught:
            join(client, listener, "127.0.0.2", timeout=10)
    assert caught.value.next_step
