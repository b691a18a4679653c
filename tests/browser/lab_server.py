"""A JupyterLab server for the tests: of this very Python, with a copy of the notebooks."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tracekit.host.environment import CHECKOUT, write_settings
from tracekit.host.packages import find_command

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class LabServer:
    """A running server; ``root`` is its folder of notebooks, ``mark`` is in its environment."""

    url: str
    token: str
    root: Path
    mark: str
    pid: int
    settings: Path

    def forget_settings(self) -> None:
        """Take back what a reader set and left open: theme, windows."""
        shutil.rmtree(self.settings, ignore_errors=True)

    def ask(self, path: str, method: str = "GET") -> object:
        """Ask the server's REST interface; None where the answer is empty."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}api/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def processes(self) -> dict[int, str]:
        """What this server started and is still there, kernels and workers: pid to command."""
        return {pid: text for pid, text in processes_with(self.mark).items() if pid != self.pid}

    def workers(self) -> dict[int, str]:
        """The processes that may hold something in the kernel for one of its notebooks."""
        return {pid: text for pid, text in self.processes().items() if "/worker.py" in text}

    def holders(self) -> dict[int, str]:
        """Those that have a descriptor of a BPF program, a map, or something attached."""
        found = {}
        for pid, command in self.processes().items():
            for file in Path(f"/proc/{pid}/fd").glob("*"):
                with suppress(OSError):
                    target = str(file.readlink())
                    if "bpf" in target or "perf_event" in target:
                        found[pid] = f"{command}: {target}"
        return found

    def end_kernels(self) -> None:
        """End every notebook's kernel, and wait until their processes are gone."""
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")
        for kernel in self.ask("kernels"):
            self.ask(f"kernels/{kernel['id']}", "DELETE")
        deadline = time.monotonic() + STOP_SECONDS
        while left := self.processes():
            assert time.monotonic() < deadline, f"their kernels have ended, these have not: {left}"
            time.sleep(0.05)


@contextmanager
def serve(folder: Path) -> Iterator[LabServer]:
    """Run a server whose files are all in *folder*; nothing is written to the checkout."""
    root = folder / "notebooks"
    shutil.copytree(
        CHECKOUT / "notebooks", root, ignore=shutil.ignore_patterns(".ipynb_checkpoints")
    )
    places = {name: folder / name.lower() for name in _PLACES}
    for place in places.values():
        place.mkdir()
    _write_settings(places["JUPYTER_CONFIG_DIR"])
    mark, token = f"TRACEKIT_TEST_SERVER={uuid.uuid4()}", secrets.token_hex(24)
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            _words(root, token),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={
                **os.environ,
                **{name: str(place) for name, place in places.items()},
                **dict([mark.split("=")]),
                "JUPYTER_PREFER_ENV_PATH": "1",
            },
        )
    try:
        yield LabServer(
            url=_wait_for_url(process, places["JUPYTER_RUNTIME_DIR"], token, log),
            token=token,
            root=root,
            mark=mark,
            pid=process.pid,
            settings=places["JUPYTER_CONFIG_DIR"] / "lab",
        )
    finally:
        _end(process, mark)


_PLACES = (
    *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"),
    *("IPYTHONDIR", "TRACEKIT_STATE"),
)


def _words(root: Path, token: str) -> list[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # The server ends with the tests, also when they are killed.
    setpriv = find_command("setpriv")
    bound = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
    return [
        *(*bound, sys.executable, "-m", "jupyterlab", "--no-browser"),
        *(["--allow-root"] if os.geteuid() == 0 else []),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        f"--ServerApp.root_dir={root}",
        f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True",
        # The list of extensions would be asked for on the network.
        "--LabApp.extension_manager=readonly",
    ]


def _write_settings(folder: Path) -> None:
    # The kernel of this Python, whatever else is installed.
    settings = {"KernelSpecManager": {"kernel_dirs": []}}
    (folder / "jupyter_server_config.json").write_text(json.dumps(settings))
    # What `lab` has: no pop-up about news.
    write_settings(folder)
    made = folder / "etc/jupyter/labconfig"
    made.rename(folder / "labconfig")
    overrides = {
        # All cells are in the page, also those that are out of sight.
        "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
        # What is saved, is saved by a test.
        "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    }
    (folder / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(overrides))


def _wait_for_url(process: subprocess.Popen[bytes], runtime: Path, token: str, log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                url = json.loads(file.read_text())["url"]
                headers = {"Authorization": f"token {token}"}
                asked = urllib.request.Request(f"{url}api/status", headers=headers)
                urllib.request.urlopen(asked, timeout=5).close()
            except (OSError, ValueError, KeyError):
                break  # not yet
            return url
        time.sleep(0.05)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + STOP_SECONDS
    while left := processes_with(mark):
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"the server has ended, these have not: {left}")
        time.sleep(0.05)


def processes_with(mark: str) -> dict[int, str]:
    """Find the processes that have *mark*, ``NAME=value``, in their environment."""
    found = {}
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() not in environ.read_bytes().split(b"\0"):
                continue
            command = (environ.parent / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:  # ended meanwhile, or somebody else's
            continue
        found[int(environ.parent.name)] = command.decode(errors="replace").strip()
    return found
