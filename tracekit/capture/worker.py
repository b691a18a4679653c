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
import fcntl
import inspect
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from typing import Any

PERF_EVENT_ARRAY, RINGBUF = 4, 27  # enum bpf_map_type, include/uapi/linux/bpf.h
DRAIN_EVERY = 0.02  # seconds: with so many wake-ups a second, events cost next to nothing
KEEP = 64 << 20  # bytes kept for the notebook between two reads; more is dropped and counted
# A program may send faster than anybody reads; then the buffers are never found empty.
DRAIN_AT_MOST = 0.5  # seconds until the notebook is given what there is
READ_AT_ONCE = 1 << 20  # bytes of trace_pipe
FILES_AT_ONCE = 32  # more descriptors than the notebook has room for would be lost

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
    of those that `tracekit lab` made for this user. Before Linux 5.9 (commit ac5a72ea5c89) the
    lines are written to the one buffer of the whole machine, and are read there.
    """

    def __init__(self) -> None:
        self.made = self.enable = ""
        self.pipe = self.lock = -1

    def open(self, tracefs: str) -> None:
        """Find an instance, and begin to read."""
        if not os.path.isdir(os.path.join(tracefs, "events/bpf_trace/bpf_trace_printk")):
            self._open_pipe(tracefs)
            return
        instances = os.path.join(tracefs, "instances")
        remove_abandoned_instances(instances)
        own = os.path.join(instances, f"tracekit-worker-{os.getpid()}")
        try:
            make_folder(own)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            self._open_prepared(instances)
        else:
            self.made = own
            self._open_instance(own)

    def _open_pipe(self, folder: str) -> None:
        self.pipe = os.open(os.path.join(folder, "trace_pipe"), os.O_RDONLY | os.O_NONBLOCK)

    def _open_instance(self, instance: str) -> None:
        self._open_pipe(instance)
        # what a former reader of the instance left unread is not ours
        with open(os.path.join(instance, "trace"), "w"):
            pass
        enable = os.path.join(instance, "events/bpf_trace/bpf_trace_printk/enable")
        with open(enable, "w") as file:
            file.write("1")
        self.enable = enable

    def _open_prepared(self, instances: str) -> None:
        prefix = f"tracekit-{os.getuid()}-"
        names = sorted(name for name in os.listdir(instances) if name.startswith(prefix))
        for name in names:
            instance = os.path.join(instances, name)
            try:
                # Before v6.6 two readers of a trace_pipe shared its lines out: so a lock.
                self.lock = os.open(instance, os.O_RDONLY)
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self._open_instance(instance)
            except OSError as error:
                self._let_go()
                if error.errno not in (errno.EBUSY, errno.EACCES, errno.EAGAIN, errno.ENOENT):
                    raise
        state = f"all {len(names)} prepared ones are in use" if names else "none was prepared"
        raise PermissionError(f"this process may not make a tracefs instance, and {state}")

    def read(self) -> bytes:
        """Read the lines that are there now, some READ_AT_ONCE bytes at most, without waiting."""
        chunks, got = [], 0
        while got < READ_AT_ONCE:
            try:
                chunk = os.read(self.pipe, 1 << 16)
            except BlockingIOError:
                break
            if not chunk:
                break
            chunks.append(chunk)
            got += len(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        """Stop reading, and remove the instance if it was made here."""
        self._let_go()
        if self.enable:
            with contextlib.suppress(OSError), open(self.enable, "w") as file:
                file.write("0")
        for _ in range(100):
            try:
                os.rmdir(self.made)
            except OSError as error:
                # the draining thread may be in the middle of a read
                if error.errno == errno.EBUSY:
                    time.sleep(0.005)
                    continue
            break

    def _let_go(self) -> None:
        for descriptor in (self.pipe, self.lock):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self.pipe = self.lock = -1


def make_folder(path: str) -> None:
    """Make a folder, in place of one that a killed worker with the same process id left."""
    try:
        os.mkdir(path)
    except FileExistsError:
        os.rmdir(path)
        os.mkdir(path)


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
        self.has_ring_callbacks = False
        # what the kernel says of each function that was loaded: files the notebook has, too
        self.files: dict[bytes, int] = {}
        # what came since the last read, guarded by the lock
        self.lock = threading.Lock()
        self.chunks: list[bytes] = []
        self.kept = 0  # their length in bytes
        self.lost = 0  # events the kernel says it lost
        self.dropped = 0  # events there was no room for here
        self.foreign = 0  # the length of a record that is not of the program's type
        # the draining thread's passes over the buffers, guarded by the condition
        self.passes = threading.Condition()
        self.begun = self.finished = 0
        self.wake = threading.Event()

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
        names, descriptors, polled = [], [], False
        for table in tables(self.program):
            name = table["name"]
            if name in request["maps"]:
                names.append(name)
                descriptors.append(table["descriptor"])
            elif name in request["records"]:
                polled = True
                if table["type"] == PERF_EVENT_ARRAY:
                    self._open_perf(name, request["records"][name], request["pages"])
                else:
                    self._open_ring(name, request["records"][name])
        if request["printk"]:
            self.printk = Printk()
            self.printk.open(request["tracefs"])
        if polled or self.printk is not None:
            threading.Thread(target=self._drain_forever, daemon=True).start()
        self.program.attach_tracepoint_probes()
        made = self.printk.made if self.printk is not None else ""
        return {"descriptors": names, "made": made}, descriptors, b""

    def attach(self, request: dict[str, Any]) -> Answer:
        """Load and attach a function whose argument the program declares itself."""
        self.program.attach_tracepoint(tp=request["tp"], fn_name=request["fn_name"])
        return {}, [], b""

    def programs(self, request: dict[str, Any]) -> Answer:
        """Pass a file of /proc for each function loaded since, FILES_AT_ONCE at most.

        The notebook may not open it itself where this process has other rights. The file says how
        often the kernel did not run the program, and keeps neither it nor this process alive.
        """
        names: list[str] = []
        descriptors: list[int] = []
        for name, function in self.program.funcs.items():
            if name not in self.files and len(names) < FILES_AT_ONCE:
                self.files[name] = os.open(f"/proc/self/fdinfo/{function.fd}", os.O_RDONLY)
                names.append(name.decode())
                descriptors.append(self.files[name])
        return {"descriptors": names}, descriptors, b""

    def read(self, request: dict[str, Any]) -> Answer:
        """Hand over what came since the last read."""
        with self.passes:
            # the pass that runs now may be past a buffer that has got something since
            wanted = self.begun + 1
            self.wake.set()
            self.passes.wait_for(lambda: self.finished >= wanted, DRAIN_AT_MOST)
        with self.lock:
            chunks, self.chunks, self.kept = self.chunks, [], 0
            values = {"lost": self.lost, "dropped": self.dropped, "foreign": self.foreign}
            self.lost = self.dropped = self.foreign = 0
        return values, [], b"".join(chunks)

    # the readers --------------------------------------------------------------------------

    def _drain_forever(self) -> None:
        # A thread of its own, because bcc goes on reading a buffer until it finds it empty.
        try:
            while True:
                self.wake.wait(DRAIN_EVERY)
                self.wake.clear()
                with self.passes:
                    self.begun += 1
                self._drain()
                with self.passes:
                    self.finished += 1
                    self.passes.notify_all()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            self.close()
            os._exit(1)

    def _drain(self) -> None:
        end = time.monotonic() + DRAIN_AT_MOST
        while self.printk is not None:
            data = self.printk.read()
            self._keep(data, data.count(b"\n"))
            if len(data) < READ_AT_ONCE or time.monotonic() > end:
                break
        if self.program.perf_buffers:
            if hasattr(self.program, "perf_buffer_consume"):
                self.program.perf_buffer_consume()
            else:
                self.program.perf_buffer_poll(timeout=0)
        if self.has_ring_callbacks:
            self.program.ring_buffer_consume()

    def _keep(self, data: bytes, events: int = 1) -> None:
        with self.lock:
            if self.kept + len(data) > KEEP:
                self.dropped += events
            elif data:
                self.kept += len(data)
                self.chunks.append(data)

    def _open_perf(self, name: str, size: int, pages: int) -> None:
        # A sample is as long as the record, rounded up: with the u32 of its length in front, and
        # behind the rest of the ring buffer's record, it takes a multiple of 8 bytes
        # (kernel/events/core.c, perf_prepare_sample).
        sample = (size + 4 + 7) // 8 * 8 - 4

        def receive(cpu: int, data: int, length: int) -> None:
            if length in (size, sample):
                self._keep(ctypes.string_at(data, size))
            else:
                self.foreign = length

        def lose(count: int) -> None:
            with self.lock:
                self.lost += count

        table = self.program[name.encode()]
        options = {"page_cnt": pages, "lost_cb": lose}
        if "wakeup_events" in inspect.signature(table.open_perf_buffer).parameters:
            # a wake-up for each event would cost more than all the rest (see DRAIN_EVERY)
            options["wakeup_events"] = 1 << 20
        table.open_perf_buffer(receive, **options)

    def _open_ring(self, name: str, size: int) -> None:
        def receive(context: int, data: int, length: int) -> int:
            if length == size:
                self._keep(ctypes.string_at(data, size))
            else:
                self.foreign = length
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
    """Answer requests until the socket is closed."""
    worker = Worker()
    threading.Thread(target=end_with_the_socket, args=(channel, worker), daemon=True).start()
    answer(channel, ({"ready": os.getpid()}, [], b""))
    for line in channel.makefile("rb"):
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
    worker.close()


if __name__ == "__main__":
    # the notebook's interrupt key sends SIGINT to the whole process group
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=0))
    # bcc's own clean-up at exit is not needed: the kernel frees all this process held
    os._exit(0)
