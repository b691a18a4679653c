import json
import os
import socket

import pytest

from tracekit.capture.channel import Channel


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    yield Channel(ours), theirs
    ours.close()
    theirs.close()


def answer(payload: bytes = b"", **values) -> bytes:
    return json.dumps({**values, "bytes": len(payload)}).encode() + b"\n" + payload


def test_answers_that_come_in_one_piece_are_told_apart(ends):
    channel, theirs = ends
    theirs.sendall(answer(b"\n{", number=1) + answer(number=2) + answer(b"x" * 9, number=3))
    replies = [channel.receive(10) for _ in range(3)]
    assert [reply["number"] for reply in replies] == [1, 2, 3]
    assert [reply.payload for reply in replies] == [b"\n{", b"", b"x" * 9]


def test_an_answer_that_comes_byte_by_byte_is_whole(ends):
    channel, theirs = ends
    *most, last = answer(b"abc", number=1)
    for byte in most:
        theirs.sendall(bytes([byte]))
        with pytest.raises(TimeoutError):
            channel.receive(0)
    theirs.sendall(bytes([last]))
    reply = channel.receive(10)
    assert (reply["number"], reply.payload) == (1, b"abc")


def test_descriptors_come_with_their_names(ends):
    channel, theirs = ends
    reading, writing = os.pipe()
    socket.send_fds(theirs, [answer(descriptors=["r", "w"])], [reading, writing])
    reply = channel.receive(10)
    with reply.descriptors["r"] as r, reply.descriptors["w"] as w:
        os.write(w.fileno(), b"through")
        assert os.read(r.fileno(), 100) == b"through"
        assert not os.get_inheritable(r.fileno())
    os.close(reading)
    os.close(writing)


def test_an_answer_is_owed_from_the_request_on(ends):
    channel, theirs = ends
    assert not channel.answer_owed
    channel.send(b"request\n", 10)
    assert channel.answer_owed
    assert theirs.recv(100) == b"request\n"
    theirs.sendall(answer())
    channel.receive(10)
    assert not channel.answer_owed


def test_a_connection_that_ended_or_was_closed_is_an_error(ends):
    channel, theirs = ends
    theirs.sendall(b'{"bytes": 5}\nabc')
    theirs.close()
    with pytest.raises(ConnectionError):
        channel.receive(10)
    channel.close()
    channel.close()
    with pytest.raises(ConnectionError):
        channel.receive(10)
    with pytest.raises(OSError, match="Bad file descriptor"):
        channel.send(b"x", 10)


def test_forgetting_leaves_the_connection_to_the_other_process(ends):
    channel, theirs = ends
    other = socket.socket(fileno=os.dup(channel._socket.fileno()))
    channel.forget()
    theirs.sendall(b"still open")
    assert other.recv(100) == b"still open"
    other.close()
