"""The socket between a notebook and a worker: JSON lines, bytes, and file descriptors."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import socket
import time
from array import array
from typing import Any

__all__ = ("Channel", "Reply")

_ROOM_FOR_DESCRIPTORS = socket.CMSG_SPACE(4 * 64) if os.name == "posix" else 0


class Reply(dict[str, Any]):
    """One answer: the JSON values as a dict, ``descriptors`` by name, and ``payload`` in bytes.

    The descriptors are file objects, so that none stays open when nobody takes them.
    """

    def __init__(
        self, values: dict[str, Any], descriptors: dict[str, io.FileIO], payload: bytes
    ) -> None:
        super().__init__(values)
        self.descriptors = descriptors
        self.payload = payload


class Channel:
    """The notebook's end. An interrupt may come at any time: no part of an answer is lost by it.

    ``answer_owed`` says that a request was sent whose answer was not taken, because an interrupt
    came while it was waited for; ``torn`` that an interrupt came at a moment after which nobody
    knows what was sent or received.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = bytearray()
        self._descriptors: list[io.FileIO] = []
        self.answer_owed = False
        self.torn = False

    def close(self) -> None:
        """Close the connection, also while another thread waits for an answer."""
        with contextlib.suppress(OSError):
            # closing alone would leave the socket open as long as the other thread waits
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def forget(self) -> None:
        """Close this process's descriptor and leave the connection as it is, after a fork."""
        self._socket.close()

    def send(self, line: bytes, timeout: float) -> None:
        """Send a request; TimeoutError or OSError where that fails."""
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(line)
            self.answer_owed = True
        except BaseException:
            self.torn = True
            raise

    def receive(self, timeout: float) -> Reply:
        """The next answer.

        :raises TimeoutError: it did not come within ``timeout`` seconds; more may come.
        :raises OSError: the connection broke or was closed.
        """
        # Everything that was received is kept in self until the answer is complete: an interrupt
        # may come at any time.
        deadline = time.monotonic() + timeout
        while (end := self._buffer.find(b"\n") + 1) == 0:
            self._fill(deadline)
        values = json.loads(self._buffer[:end])
        end_of_payload = end + values["bytes"]
        while len(self._buffer) < end_of_payload:
            self._fill(deadline)
        with memoryview(self._buffer) as view:
            payload = bytes(view[end:end_of_payload])
        names = values.get("descriptors", ())
        reply = Reply(values, dict(zip(names, self._descriptors, strict=True)), payload)
        del self._buffer[:end_of_payload]
        self._descriptors, self.answer_owed = [], False
        return reply

    def _fill(self, deadline: float) -> None:
        if self.torn or self._socket.fileno() < 0:
            raise ConnectionError
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise TimeoutError
        self.torn = True
        data, ancillary, _, _ = self._socket.recvmsg(
            1 << 20, _ROOM_FOR_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        for _, _, numbers in ancillary:
            self._descriptors += [io.FileIO(number) for number in array("i", numbers)]
        self._buffer += data
        self.torn = False
        if not data:
            raise ConnectionError
