"""The notebook's side of a link's hosts: started, asked, ended. The other side is hosts.py."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from tracekit.errors import TrafficError

__all__ = ("HostsProcess", "NamespacesUnavailableError")

_MESSAGE = 2**18
_PATIENCE = 20.0


class NamespacesUnavailableError(Exception):
    """This machine lets nobody make network namespaces; the argument says why."""


class HostsProcess:
    """The child process that holds a link's network namespaces; ``close`` or garbage ends it.

    Raises :class:`NamespacesUnavailableError` where there can be none, and
    :class:`~tracekit.errors.TrafficError` when the process can't do its work.
    """

    def __init__(self) -> None:
        """Start it and wait until the link is up."""
        # One message is one request or one answer: no framing of our own.
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_PATIENCE)
        self._lock = threading.Lock()
        packages = str(Path(__file__).resolve().parents[2])
        with theirs:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tracekit.traffic.hosts",
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": _prepend(packages, "PYTHONPATH")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # Ctrl-C and Jupyter's interrupt go to the whole process group: not to this child.
                start_new_session=True,
            )
        self.pid = process.pid
        self._process = process
        self._end = weakref.finalize(self, _end, process, self._control)
        try:
            hello, _ = self._receive()
            if "unavailable" in hello:
                raise NamespacesUnavailableError(hello["unavailable"])
            _raise_refusal(hello)
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and give its answer; a refusal is raised."""
        answer, descriptors = self._exchange(do, request)
        for descriptor in descriptors:
            os.close(descriptor)
        return answer

    def sockets(
        self, family: int, port: int | None, congestion: str | None
    ) -> tuple[socket.socket, socket.socket]:
        """Give a client's socket and a listening one, each made inside its own host."""
        _, descriptors = self._exchange(
            "sockets", {"family": family, "port": port, "congestion": congestion}
        )
        client, listener = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        for sock in (client, listener):
            sock.setblocking(False)
        return client, listener

    def close(self) -> None:
        """End the process and with it the namespaces; closing twice does nothing more."""
        self._end()

    def _exchange(self, do: str, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        with self._lock:
            if not self._end.alive:
                raise TrafficError("the link is closed", "make a new one with slow_link()")
            try:
                self._control.send(json.dumps({"do": do, **request}).encode())
            except OSError:
                raise self._died() from None
            answer, descriptors = self._receive()
        _raise_refusal(answer)
        return answer, descriptors

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE, 2)
        except TimeoutError:
            raise TrafficError(
                f"the link's process did not answer for {_PATIENCE:g} s", "close the link"
            ) from None
        except OSError:
            raise self._died() from None
        if not message:
            raise self._died()
        return json.loads(message), descriptors

    def _died(self) -> TrafficError:
        # Its last line says why, where it had the time to write one.
        errors = self._process.stderr
        said = b""
        if errors is not None and select.select([errors], [], [], 1.0)[0]:
            said = os.read(errors.fileno(), _MESSAGE)
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        return TrafficError(
            f"the process that holds the link ended{': ' + last if last else ''}",
            "make a new link with slow_link()",
        )


def _end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _raise_refusal(answer: dict[str, Any]) -> None:
    if "error" in answer:
        raise TrafficError(answer["error"], answer["next_step"])


def _prepend(folder: str, variable: str) -> str:
    return os.pathsep.join(filter(None, (folder, os.environ.get(variable))))
