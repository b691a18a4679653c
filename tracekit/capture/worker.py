"""The child process of a probe: compiles, loads, attaches, passes descriptors, forwards records.

It is started as a script, with a Unix stream socket as its standard input, by the first Python that
has a real bcc; it imports the standard library and bcc and nothing else. Every request is one line
of JSON; every answer is one line of JSON, followed by as many raw bytes as its ``"bytes"`` says,
and carries the file descriptors its ``"descriptors"`` names as SCM_RIGHTS (unix(7)).

What bcc, clang and the verifier print goes to the file the parent gave as standard output and
error. The process ends when its socket is closed, and with it everything it holds in the kernel:
programs, maps, attachments. It ends by itself also when the notebook was killed with SIGKILL.
"""

import contextlib
import ctypes
import errno
import inspect
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import warnings
from typing import Any

PERF_EVENT_ARRAY, RINGBUF, ARRAY = 4, 27, 2  # enum bpf_map_type, include/uapi/linux/bpf.h
MMAPABLE = 1024  # BPF_F_MMAPABLE
DRAIN_EVERY = 0.02  # seconds: with so many wake-ups a second, events cost next to nothing
KEEP = 64 << 20  # bytes kept for the notebook between two reads; more is dropped and counted

with warnings.catch_warnings():
    # bcc 0.26 has an invalid escape sequence, which Python 3.12 and later complain about
    warnings.simplefilter("ignore")
    from bcc import BPF, lib

for _function in (lib.bpf_table_name, lib.bpf_table_leaf_desc_id):
    _function.restype = ctypes.c_char_p
    _function.argtypes = [ctypes.c_void_p, ctypes.c_ulonglong]
lib.bpf_table_fd_id.argtypes = [ctypes.c_void_p, ctypes.c_ulonglong]


# JSON values, descriptors that "descriptors" names, bytes
Answer = tuple[dict[str, Any], list[int], bytes]


class Program(BPF):  # type: ignore[misc]
    """bcc's BPF, with compiling and attaching taken apart: readers are opened in between."""

    def _trace_autoload(self) -> None:
        pass

    def attach_tracepoint_probes(self) -> None:
        """Load and attach what TRACEPOINT_PROBE defined."""
        BPF._trace_autoload(self)


class Printk:
    """The lines of bpf_trace_printk, read from a tracefs instance.

    A trace_pipe has one reader at a time (kernel/trace/trace.c, v6.6, open_pipe_on_cpu), so each
    probe that prints reads an instance of its own: one it makes, or, where it may not make any, one
    of those that `tracekit lab` made for this user.
    """

    def __init__(self, tracefs: str) -> None:
        self.made: str | None = None
        instances = os.path.join(tracefs, "instances")
        remove_abandoned_instances(instances)
        own = os.path.join(instances, f"tracekit-worker-{os.getpid()}")
        try:
            os.mkdir(own)
            self.made = own
            self._open(own)
        except PermissionError:
            self._open_prepared(instances)
        except BaseException:
            self.close()
            raise

    def _open(self, instance: str) -> None:
        self.pipe = os.open(os.path.join(instance, "trace_pipe"), os.O_RDONLY | os.O_NONBLOCK)
        try:
            # what a former reader of the instance left unread is not ours
            with open(os.path.join(instance, "trace"), "w"):
                pass
            self.enable = os.path.join(instance, "events/bpf_trace/bpf_trace_printk/enable")
            with open(self.enable, "w") as file:
                file.write("1")
        except BaseException:
            os.close(self.pipe)
            raise

    def _open_prepared(self, instances: str) -> None:
        prefix = f"tracekit-{os.getuid()}-"
        names = sorted(name for name in os.listdir(instances) if name.startswith(prefix))
        for name in names:
            try:
                return self._open(os.path.join(instances, name))
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.EACCES):
                    raise
        state = f"all {len(names)} prepared ones are in use" if names else "none was prepared"
        raise PermissionError(f"this process may not make a tracefs instance, and {state}")

    def read(self) -> bytes:
        """Read all lines that are there now, without waiting."""
        chunks = []
        while True:
            try:
                chunk = os.read(self.pipe, 1 << 16)
            except BlockingIOError:
                break
            if not chunk:
                break
            chunks.append(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        """Stop reading, and remove the instance if it was made here."""
        with contextlib.suppress(OSError, AttributeError):
            os.close(self.pipe)
        with contextlib.suppress(OSError, AttributeError), open(self.enable, "w") as file:
            file.write("0")
        if self.made:
            with contextlib.suppress(OSError):
                os.rmdir(self.made)


def remove_abandoned_instances(instances: str) -> None:
    """Remove the instances of workers that were killed with SIGKILL."""
    for name in os.listdir(instances):
        if name.startswith("tracekit-worker-"):
            pid = name.rpartition("-")[2]
            if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                # where it fails, somebody else removed it, or reads it
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(instances, name))


class Worker:
    """One program and its readers, from the first request to the last."""

    def __init__(self) -> None:
        self.program: Any = None
        self.printk: Printk | None = None
        self.chunks: list[bytes] = []  # what came since the last read
        self.kept = 0
        self.lost = 0
        self.polled = False  # bcc's buffers, read here every DRAIN_EVERY seconds
        self.has_ring_callbacks = False

    # the requests -------------------------------------------------------------------------

    def compile(self, request: dict[str, Any]) -> Answer:
        """Compile a program; nothing is loaded yet."""
        # a first compile clears what an earlier one of this worker made
        if self.program is not None:
            self.program.cleanup()
        use_headers(request)
        self.program = Program(
            text=request["text"].encode(), cflags=request["cflags"], debug=request.get("debug", 0)
        )
        return {"tables": tables(self.program), "functions": functions(self.program)}, [], b""

    def describe(self, request: dict[str, Any]) -> Answer:
        """Compile another text and tell how clang laid out the leaf of one of its tables."""
        use_headers(request)
        other = Program(text=request["text"].encode(), cflags=request["cflags"])
        try:
            for table in tables(other):
                if table["name"] == request["table"]:
                    return {"leaf": table["leaf"]}, [], b""
            return {"leaf": None}, [], b""
        finally:
            other.cleanup()

    def start(self, request: dict[str, Any]) -> Answer:
        """Open all readers, then load and attach: no event falls between."""
        names, descriptors = [], []
        for table in tables(self.program):
            name = table["name"]
            if table["type"] == PERF_EVENT_ARRAY and name in request["records"]:
                self._open_perf(name, request["records"][name], request["pages"])
            elif table["type"] == RINGBUF and name in request["records"]:
                if request["map_rings"]:
                    names.append(name)
                    descriptors.append(table["descriptor"])
                else:
                    self._open_ring(name, request["records"][name])
            elif table["type"] == ARRAY and table["flags"] & MMAPABLE:
                names.append(name)
                descriptors.append(table["descriptor"])
        if request["printk"]:
            self.printk = Printk(request["tracefs"])
        self.program.attach_tracepoint_probes()
        return {"descriptors": names}, descriptors, b""

    def attach(self, request: dict[str, Any]) -> Answer:
        """Load and attach a function whose argument the program declares itself."""
        self.program.attach_tracepoint(tp=request["tp"], fn_name=request["fn_name"])
        return {}, [], b""

    def read(self, request: dict[str, Any]) -> Answer:
        """Hand over what came since the last read."""
        self.drain()
        chunks, self.chunks = self.chunks, []
        lost, self.lost = self.lost, 0
        self.kept = 0
        return {"lost": lost}, [], b"".join(chunks)

    # the readers --------------------------------------------------------------------------

    def drain(self) -> None:
        """Take what bcc's buffers and the trace_pipe hold."""
        if self.printk is not None:
            self._keep(self.printk.read())
        if self.program.perf_buffers:
            if hasattr(self.program, "perf_buffer_consume"):
                self.program.perf_buffer_consume()
            else:
                self.program.perf_buffer_poll(timeout=0)
        if self.has_ring_callbacks:
            self.program.ring_buffer_consume()

    def readers(self) -> list[int]:
        """Descriptors worth waiting for beside the socket."""
        return [self.printk.pipe] if self.printk is not None else []

    def _keep(self, data: bytes) -> None:
        if self.kept + len(data) > KEEP:
            self.lost += data.count(b"\n") if self.printk is not None else 1
        elif data:
            self.kept += len(data)
            self.chunks.append(data)

    def _open_perf(self, name: str, size: int, pages: int) -> None:
        self.polled = True

        def receive(cpu: int, data: int, length: int) -> None:
            # a sample is at least as long as the record: perf rounds it up
            self._keep(ctypes.string_at(data, min(length, size)))

        def lose(count: int) -> None:
            self.lost += count

        table = self.program[name.encode()]
        options = {"page_cnt": pages, "lost_cb": lose}
        if "wakeup_events" in inspect.signature(table.open_perf_buffer).parameters:
            # a wake-up for each event would cost more than all the rest (see DRAIN_EVERY)
            options["wakeup_events"] = 1 << 20
        table.open_perf_buffer(receive, **options)

    def _open_ring(self, name: str, size: int) -> None:
        self.polled = True

        def receive(context: int, data: int, length: int) -> int:
            self._keep(ctypes.string_at(data, min(length, size)))
            return 0

        self.program[name.encode()].open_ring_buffer(receive)
        self.has_ring_callbacks = True

    def close(self) -> None:
        """Give back what outlives a process: a tracefs instance does."""
        if self.printk is not None:
            self.printk.close()


def use_headers(request: dict[str, Any]) -> None:
    """Tell libbcc, which reads the environment, where the kernel headers are."""
    if request["kernel_source"]:
        os.environ["BCC_KERNEL_SOURCE"] = request["kernel_source"]


def tables(program: Program) -> list[dict[str, Any]]:
    """The tables of a compiled program: name, type, size and how clang described them."""
    result = []
    for index in range(lib.bpf_num_tables(program.module)):
        name = lib.bpf_table_name(program.module, index)
        result.append(
            {
                "name": name.decode(),
                "type": lib.bpf_table_type_id(program.module, index),
                "descriptor": lib.bpf_table_fd_id(program.module, index),
                "entries": lib.bpf_table_max_entries_id(program.module, index),
                "flags": lib.bpf_table_flags_id(program.module, index),
                "leaf": json.loads(lib.bpf_table_leaf_desc_id(program.module, index) or b"null"),
                # bcc writes "name#type"
                "record": [
                    lib.bpf_perf_event_field(program.module, name, field).decode().split("#", 1)
                    for field in range(lib.bpf_perf_event_fields(program.module, name))
                ],
            }
        )
    return result


def functions(program: Program) -> list[str]:
    """Name the functions of a compiled program."""
    count = lib.bpf_num_functions(program.module)
    return [lib.bpf_function_name(program.module, index).decode() for index in range(count)]


def end_with_the_socket(channel: socket.socket, worker: Worker) -> None:
    """End this process when the notebook's side of the socket is gone.

    A thread, because a compile can take seconds and the main thread would not see it before.
    """
    poll = select.poll()
    poll.register(channel, 0)  # POLLHUP and POLLERR are always reported
    while not poll.poll():
        pass
    worker.close()
    os._exit(0)


def answer(channel: socket.socket, reply: Answer) -> None:
    """Send one answer: a line, its descriptors with it, then the bytes."""
    values, descriptors, payload = reply
    line = json.dumps({**values, "bytes": len(payload)}).encode() + b"\n"
    sent = socket.send_fds(channel, [line], descriptors)
    channel.sendall(line[sent:])
    channel.sendall(payload)


def serve(channel: socket.socket) -> None:
    """Answer requests until the socket is closed, reading buffers in between."""
    worker = Worker()
    threading.Thread(target=end_with_the_socket, args=(channel, worker), daemon=True).start()
    answer(channel, ({"ready": os.getpid()}, [], b""))
    requests = channel.makefile("rb")
    while True:
        waiting: list[Any] = [channel, *worker.readers()]
        timeout = DRAIN_EVERY if worker.polled else None
        readable, _, _ = select.select(waiting, [], [], timeout)
        if channel not in readable:
            worker.drain()
            if worker.printk is not None:
                # let lines gather: a wake-up for each would slow what is traced
                time.sleep(DRAIN_EVERY)
            continue
        line = requests.readline()
        if not line:
            worker.close()
            return
        request = json.loads(line)
        try:
            reply = getattr(worker, request["request"])(request)
        except Exception as error:
            failure = {
                "error": str(error),
                "type": type(error).__name__,
                "errno": getattr(error, "errno", None) or ctypes.get_errno(),
            }
            reply = (failure, [], b"")
        sys.stdout.flush()
        sys.stderr.flush()
        answer(channel, reply)


if __name__ == "__main__":
    # the notebook's interrupt key sends SIGINT to the whole process group
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=0))
    # bcc's own clean-up at exit is not needed: the kernel frees all this process held
    os._exit(0)
