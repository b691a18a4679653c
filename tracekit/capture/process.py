"""The notebook's end of the socket to a worker: start the child, ask it, notice that it died."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracekit.errors import ProbeClosed, TracekitError, WorkerDied

__all__ = ("Reply", "RequestFailed", "WorkerProcess")

_SCRIPT = Path(__file__).with_name("worker.py")
_MOST_DESCRIPTORS = 64
_START = 60.0  # seconds until a worker that does not say that it is ready is given up
_ROOM_FOR_DESCRIPTORS = socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS) if os.name == "posix" else 0


class RequestFailed(TracekitError):
    """The worker lives and answered that it could not do it; ``output`` is what it printed."""

    def __init__(self, message: str, errno: int, output: str) -> None:
        self.errno = errno
        self.output = output
        super().__init__(message)


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


class WorkerProcess:
    """A child process running ``worker.py`` under ``command`` (a Python that has bcc).

    ``command`` may begin with ``sudo -n``: the socket is the child's standard input, which sudo
    passes on. Closing, and also garbage collection or the end of this process in whatever way, ends
    the child, and the kernel frees what the child held.
    """

    def __init__(self, command: Sequence[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        # What the child prints. In append mode, because its stdout and stderr share the file; read
        # with pread, because the position in it is the child's as well.
        output = io.FileIO(os.memfd_create("tracekit-worker-output"), "r+")
        try:
            fcntl.fcntl(output, fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
            self._process = subprocess.Popen(
                [*command, "-I", "-B", str(_SCRIPT)],
                stdin=theirs.fileno(),
                stdout=output.fileno(),
                stderr=output.fileno(),
                start_new_session=True,
            )
            self._folders: list[str] = []
            # Not a method: a finalizer that holds the object would keep it alive.
            self._finalizer = weakref.finalize(
                self, _end, ours, self._process, output, self._folders
            )
        except BaseException:
            ours.close()
            output.close()
            raise
        finally:
            theirs.close()
        self._socket = ours
        self._output = output
        self._seen_output = 0
        self._buffer = bytearray()
        self._descriptors: list[io.FileIO] = []
        self._answer_owed = False
        self._torn = False  # an interrupt may have torn a hole into what was received
        self._lock = threading.Lock()
        _workers.add(self)
        try:
            self._receive(_START)
        except (TimeoutError, OSError):
            raise self._died() from None
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The child's process id (sudo's, where the child runs under sudo)."""
        pid: int = self._process.pid
        return pid

    @property
    def closed(self) -> bool:
        """True when the child has been ended by :meth:`close`."""
        return not self._finalizer.alive

    @property
    def ended(self) -> bool:
        """True when there is no child any more, for whatever reason."""
        return self.closed or self._process.poll() is not None

    def close(self) -> None:
        """End the child and wait until it is gone; may be called again, and from any thread."""
        self._finalizer()

    def check(self) -> None:
        """Make sure that the child lives.

        :raises ProbeClosed: it was ended by :meth:`close`.
        :raises WorkerDied: it ended otherwise.
        """
        if self.ended:
            raise self._died()

    def removes(self, folder: str) -> None:
        """Remember a folder that the child made and removes, unless it is killed."""
        self._folders.append(folder)

    def request(self, name: str, *, timeout: float = 120.0, **values: Any) -> Reply:
        """Send one request and return its answer.

        An interrupt while it waits loses nothing: the numbers and bytes of the answer that was
        not waited for are added to the next one.

        :raises RequestFailed: the worker could not do it; its output is in the error.
        :raises ProbeClosed: another thread closed it.
        :raises WorkerDied: it ended, or did not answer within ``timeout`` seconds.
        """
        with self._lock:
            try:
                self._socket.settimeout(timeout)
                late = self._receive(timeout) if self._answer_owed else None
                self._send(json.dumps({"request": name, **values}).encode() + b"\n")
                reply = self._receive(timeout)
            except TimeoutError:
                with contextlib.suppress(PermissionError):
                    self._process.kill()
                raise self._died(f"did not answer {name!r} within {timeout:g} s") from None
            except OSError:
                # the connection broke, or another thread closed it
                raise self._died() from None
        if late is not None:
            reply.payload = late.payload + reply.payload
            for key in reply.keys() & late.keys() - {"bytes"}:
                if isinstance(reply[key], int):
                    reply[key] += late[key]
        if "error" in reply:
            raise RequestFailed(reply["error"], reply["errno"], self.new_output())
        return reply

    def new_output(self) -> str:
        """What bcc, clang and the verifier printed since this was last asked for."""
        chunks = []
        with contextlib.suppress(ValueError, OSError):  # closed
            while chunk := os.pread(self._output.fileno(), 1 << 20, self._seen_output):
                chunks.append(chunk)
                self._seen_output += len(chunk)
        return b"".join(chunks).decode(errors="replace")

    def _send(self, line: bytes) -> None:
        try:
            self._socket.sendall(line)
            self._answer_owed = True
        except BaseException:
            # Nobody knows how much of it was sent: what is answered can't be told apart.
            self.close()
            raise

    def _receive(self, timeout: float) -> Reply:
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
        self._descriptors, self._answer_owed = [], False
        return reply

    def _fill(self, deadline: float) -> None:
        if self._torn or self._socket.fileno() < 0:
            raise ConnectionError
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise TimeoutError
        self._torn = True
        data, ancillary, _, _ = self._socket.recvmsg(
            1 << 20, _ROOM_FOR_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        for _, _, numbers in ancillary:
            self._descriptors += [io.FileIO(number) for number in array("i", numbers)]
        self._buffer += data
        self._torn = False
        if not data:
            raise ConnectionError

    def _died(self, how: str = "") -> TracekitError:
        if self.closed:
            return ProbeClosed(
                "the probe was closed while it was read, so nothing is attached",
                "run the cell that makes it again",
            )
        try:
            returncode = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            returncode = self._process.wait()
        output = self.new_output()
        self.close()
        if not how:
            how = (
                f"was ended by {_signal_name(-returncode)}"
                if returncode < 0
                else f"exited with status {returncode}"
            )
        last = "\n  ".join(output.strip().splitlines()[-12:])
        return WorkerDied(
            f"the probe's child process {how}" + (f"; it printed last:\n  {last}" if last else ""),
            "nothing is attached any more and the notebook goes on: change the program, or run"
            " the cell again",
            returncode=returncode,
            output=output,
        )


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _end(
    channel: socket.socket,
    process: subprocess.Popen[bytes],
    output: io.FileIO,
    folders: list[str],
) -> None:
    # The child ends when its socket closes. A child under sudo can't be signalled by us, and
    # waiting for it is what makes "closed" mean "detached".
    with contextlib.suppress(OSError):
        # closing alone would leave the socket open while another thread waits for an answer
        channel.shutdown(socket.SHUT_RDWR)
    channel.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(PermissionError):
            process.kill()
            process.wait(5)
    output.close()
    for folder in folders:
        # The child was killed, if it is still there. Where we may not remove it, the next worker
        # that makes one will.
        with contextlib.suppress(OSError):
            os.rmdir(folder)


# A process that is forked without exec (multiprocessing) would keep the workers' sockets open, and
# with them the programs attached, after the notebook's kernel has ended.
_workers: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _forget_workers() -> None:
    for worker in list(_workers):
        worker._finalizer.detach()
        worker._socket.close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_workers)
