"""The notebook's end of the socket to a worker: start the child, ask it, notice that it died."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tracekit.errors import TracekitError, WorkerDied

__all__ = ("Reply", "RequestFailed", "WorkerProcess")

_SCRIPT = Path(__file__).with_name("worker.py")
_MOST_DESCRIPTORS = 64


class RequestFailed(TracekitError):
    """The worker lives and answered that it could not do it; ``output`` is what it printed."""

    def __init__(self, message: str, errno: int, output: str) -> None:
        self.errno = errno
        self.output = output
        super().__init__(message)


class Reply(dict[str, Any]):
    """One answer: the JSON values as a dict, ``descriptors`` by name, and ``payload`` in bytes."""

    def __init__(self, values: dict[str, Any], descriptors: dict[str, int], payload: bytes) -> None:
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
        output = tempfile.TemporaryFile("w+b", prefix="tracekit-")  # noqa: SIM115
        try:
            # append mode, because stdout and stderr share the file
            with open(f"/proc/self/fd/{output.fileno()}", "ab", buffering=0) as appended:
                self._process = subprocess.Popen(
                    [*command, "-I", "-B", str(_SCRIPT)],
                    stdin=theirs.fileno(),
                    stdout=appended,
                    stderr=appended,
                    start_new_session=True,
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
        self._buffer = b""
        self._descriptors: list[int] = []
        self._lock = threading.Lock()
        # Not a method: a finalizer that holds the object would keep it alive.
        self._finalizer = weakref.finalize(self, _end, ours, self._process, output)
        _sockets.add(ours)
        try:
            self._receive()
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

    def close(self) -> None:
        """End the child and wait until it is gone; may be called again."""
        self._finalizer()

    def request(self, name: str, *, timeout: float = 120.0, **values: Any) -> Reply:
        """Send one request and return its answer.

        :raises RequestFailed: the worker could not do it; its output is in the error.
        :raises WorkerDied: it ended, or did not answer within ``timeout`` seconds.
        """
        with self._lock:
            try:
                self._socket.settimeout(timeout)
                self._socket.sendall(json.dumps({"request": name, **values}).encode() + b"\n")
                reply = self._receive()
            except TimeoutError:
                self._process.kill()
                raise self._died(f"did not answer {name!r} within {timeout:g} s") from None
            except ConnectionError:
                raise self._died() from None
            except BaseException:
                # An interrupt in the middle of an answer: what follows can't be told apart.
                self.close()
                raise
        if "error" in reply:
            raise RequestFailed(reply["error"], reply["errno"], self.new_output())
        return reply

    def new_output(self) -> str:
        """What bcc, clang and the verifier printed since this was last asked for."""
        if self._output.closed:
            return ""
        self._output.seek(self._seen_output)
        text = self._output.read()
        self._seen_output += len(text)
        return text.decode(errors="replace")

    def _receive(self) -> Reply:
        while b"\n" not in self._buffer:
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        values = json.loads(line)
        count = values["bytes"]
        parts, got = [self._buffer], len(self._buffer)
        while got < count:
            chunk = self._socket.recv(min(count - got, 1 << 20))
            if not chunk:
                raise self._died()
            parts.append(chunk)
            got += len(chunk)
        data = b"".join(parts)
        payload, self._buffer = data[:count], data[count:]
        descriptors = dict(zip(values.get("descriptors", ()), self._descriptors, strict=True))
        self._descriptors = []
        return Reply(values, descriptors, payload)

    def _fill(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, _MOST_DESCRIPTORS)
        self._descriptors += descriptors
        if not data:
            raise self._died()
        self._buffer += data

    def _died(self, how: str = "") -> WorkerDied:
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
    import signal

    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _end(channel: socket.socket, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    # The child ends when its socket closes. A child under sudo can't be signalled by us, and
    # waiting for it is what makes "closed" mean "detached".
    channel.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(PermissionError):
            process.kill()
            process.wait(5)
    output.close()


# A process that is forked without exec (multiprocessing) would keep the workers' sockets open, and
# with them the programs attached, after the notebook's kernel has ended.
_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _close_sockets() -> None:
    for channel in list(_sockets):
        channel.close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_sockets)
