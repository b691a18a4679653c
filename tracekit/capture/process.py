"""A worker as the notebook sees it: start the child, ask it, notice that it died, end it."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracekit.capture.channel import Channel, Reply
from tracekit.errors import ProbeClosed, TracekitError, WorkerDied

__all__ = ("RequestFailed", "WorkerProcess")

_SCRIPT = Path(__file__).with_name("worker.py")
_START = 60.0  # seconds until a worker that does not say that it is ready is given up


class RequestFailed(TracekitError):
    """The worker lives and answered that it could not do it; ``output`` is what it printed."""

    def __init__(self, message: str, errno: int, output: str) -> None:
        self.errno = errno
        self.output = output
        super().__init__(message)


class WorkerProcess:
    """A child process running ``worker.py`` under ``command`` (a Python that has bcc).

    ``command`` may begin with ``sudo -n``: the socket is the child's standard input, which sudo
    passes on. Closing, and also garbage collection or the end of this process in whatever way, ends
    the child, and the kernel frees what the child held.
    """

    def __init__(self, command: Sequence[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        channel = Channel(ours)
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
                self, _end, channel, self._process, output, self._folders
            )
        except BaseException:
            channel.close()
            output.close()
            raise
        finally:
            theirs.close()
        self._channel = channel
        self._output = output
        self._seen_output = 0
        self._lock = threading.Lock()
        _workers.add(self)
        try:
            channel.receive(_START)
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
                late = self._channel.receive(timeout) if self._channel.answer_owed else None
                line = json.dumps({"request": name, **values}).encode() + b"\n"
                self._channel.send(line, timeout)
                reply = self._channel.receive(timeout)
            except TimeoutError:
                with contextlib.suppress(PermissionError):
                    self._process.kill()
                raise self._died(f"did not answer {name!r} within {timeout:g} s") from None
            except OSError:
                # the connection broke, or another thread closed it
                if self._channel.torn:
                    self.close()
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

    def _died(self, how: str = "") -> TracekitError:
        if self.closed:
            return ProbeClosed(
                "the probe was closed while it was read, or by an interrupt: nothing is attached",
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
    channel: Channel,
    process: subprocess.Popen[bytes],
    output: io.FileIO,
    folders: list[str],
) -> None:
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
        worker._channel.forget()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_workers)
