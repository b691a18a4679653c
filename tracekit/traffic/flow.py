"""One TCP connection that sends in the background, its ports and cookies known from the start."""

from __future__ import annotations

import socket
import struct
import threading
import time

from tracekit.traffic.congestion import congestion_of
from tracekit.traffic.connection import Connection, socket_cookie
from tracekit.traffic.stream import pump
from tracekit.traffic.tcp import Transfer, describe

__all__ = ("Flow",)


class Flow:
    """A transfer that runs in a thread of its own until its size or time is reached, or ``stop``.

    ``ports`` and ``cookies`` are the client's and the server's, as in
    :class:`~tracekit.traffic.tcp.Transfer`: they tell this flow's events from others' while it
    runs. As a context manager it is stopped at the end of the block.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        size: int | None,
        seconds: float | None,
        timeout: float,
    ) -> None:
        """Begin to send; the connection is closed when all has arrived."""
        self.ports: tuple[int, int] = (
            connection.client.getsockname()[1],
            connection.server.getsockname()[1],
        )
        self.cookies = (socket_cookie(connection.client), socket_cookie(connection.server))
        self.congestion = congestion_of(connection.client)
        self._connection = connection
        self._stopped = threading.Event()
        self._aborted = threading.Event()
        self._result: Transfer | None = None
        self._error: BaseException | None = None
        # A close that comes unannounced, with SIGKILL for one, frees the connection at once
        # (RST): a closing handshake would keep the link's namespace until the last byte is over.
        _reset_on_close(connection, True)
        # Not the thread's own end: a join that is interrupted makes Python 3.10 to 3.12 believe
        # that the thread has ended (python/cpython issue 90882).
        self._over = threading.Event()
        threading.Thread(
            target=self._run, args=(size, seconds, timeout), name="tracekit flow", daemon=True
        ).start()

    @property
    def running(self) -> bool:
        """Whether it is still sending, or waiting for what it has sent to arrive."""
        return not self._over.is_set()

    def wait(self) -> Transfer:
        """Wait until all that was sent has arrived, and give what was moved.

        Raises :class:`~tracekit.errors.TrafficError` where it did not arrive in time. An
        interrupt (Ctrl-C, or Jupyter's stop button) aborts the flow.
        """
        try:
            while not self._over.wait(0.2):
                pass  # without a timeout some Pythons wait deaf to an interrupt
        except BaseException:
            self.abort()
            raise
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def stop(self) -> Transfer:
        """Send nothing more, wait for what is on its way, and give what was moved."""
        self._stopped.set()
        return self.wait()

    def abort(self) -> None:
        """Close the connection at once, whatever is on its way."""
        self._stopped.set()
        self._aborted.set()
        self._over.wait()

    def __enter__(self) -> Flow:
        """Give the flow itself."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Stop the flow, or abort it when the block ends with an error."""
        if kind is None:
            self.stop()
        else:
            self.abort()

    def __repr__(self) -> str:
        """One line: its state, ports and cookies."""
        state = "running" if self.running else "over"
        client, server = self.ports
        return (
            f"Flow: {state}, port {client} → {server}, {self.congestion}, "
            f"cookies {self.cookies[0]} → {self.cookies[1]}"
        )

    def _run(self, size: int | None, seconds: float | None, timeout: float) -> None:
        connection = self._connection
        try:
            begin = time.perf_counter()
            moved = pump(
                connection.client,
                connection.server,
                size=size,
                seconds=seconds,
                stopped=self._stopped.is_set,
                aborted=self._aborted.is_set,
                timeout=timeout,
            )
            self._result = describe(
                connection,
                seconds=time.perf_counter() - begin,
                sent=moved.sent,
                received=moved.received,
            )
            _reset_on_close(connection, False)
        except BaseException as error:  # for wait() to raise, in the thread that asks
            self._error = error
        finally:
            connection.close()
            self._over.set()


def _reset_on_close(connection: Connection, reset: bool) -> None:
    for end in (connection.client, connection.server):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", reset, 0))
