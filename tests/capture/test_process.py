"""The socket to a child process, with a child that needs no bcc and no privilege."""

import gc
import itertools
import os
import signal
import sys
import threading
import time
import weakref

import pytest

from tracekit.capture.process import RequestFailed, WorkerProcess
from tracekit.errors import ProbeClosed, WorkerDied

# Speaks the protocol of worker.py. What it counts tells whether an answer was lost.
CHILD = """
import json, os, select, socket, sys, threading, time
channel = socket.socket(fileno=0)
def answer(values, descriptors=(), payload=b""):
    line = json.dumps({**values, "bytes": len(payload)}).encode() + b"\\n"
    sent = socket.send_fds(channel, [line], list(descriptors))
    channel.sendall(line[sent:] + payload)
answer({"ready": os.getpid()})
def leave():
    poll = select.poll()
    poll.register(channel, 0)
    poll.poll()
    os._exit(0)
threading.Thread(target=leave, daemon=True).start()
number = 0
for line in channel.makefile("rb"):
    request = json.loads(line)
    name = request["request"]
    if name == "read":
        time.sleep(request.get("wait", 0))
        number += 1
        answer({"lost": 1, "text": "x"}, payload=b"%d," % number)
    elif name == "big":
        answer({}, payload=os.urandom(1) * request["size"])
    elif name == "open":
        files = [os.memfd_create(n) for n in request["names"]]
        for n, file in zip(request["names"], files):
            os.write(file, n.encode())
        answer({"descriptors": request["names"]}, files, b"and bytes")
    elif name == "print":
        print(request["text"], flush=True)
        print("and to stderr", file=sys.stderr, flush=True)
        answer({})
    elif name == "fail":
        print("why", flush=True)
        answer({"error": "it can't", "type": "Exception", "errno": 7})
    elif name == "exit":
        print("last words", flush=True)
        os._exit(3)
    elif name == "kill":
        os.kill(os.getpid(), request["number"])
    elif name == "half":
        channel.sendall(b'{"bytes": 100}\\nonly a part')
        os._exit(0)
    elif name == "never":
        time.sleep(600)
"""


@pytest.fixture
def command(tmp_path):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    return [sys.executable, str(script)]


@pytest.fixture
def worker(command):
    made = WorkerProcess(command)
    yield made
    made.close()


def is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def test_answers_carry_values_bytes_and_descriptors(worker):
    reply = worker.request("open", names=["one", "two"])
    assert reply.payload == b"and bytes"
    assert list(reply.descriptors) == ["one", "two"]
    for name, file in reply.descriptors.items():
        with file:
            assert os.pread(file.fileno(), 100, 0) == name.encode()
            assert not os.get_inheritable(file.fileno())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_descriptors_nobody_takes_are_closed(worker):
    def open_ones():
        numbers = os.listdir("/proc/self/fd")
        paths = [f"/proc/self/fd/{number}" for number in numbers]
        return [p for p in paths if os.path.lexists(p) and "memfd:one" in os.readlink(p)]

    reply = worker.request("open", names=["one", "two"])
    assert len(open_ones()) == 1
    del reply
    gc.collect()
    assert not open_ones()


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 20) + 1, 50_000_000])
def test_an_answer_of_any_size_is_whole(worker, size):
    payload = worker.request("big", size=size).payload
    assert len(payload) == size
    assert len(set(payload)) <= 1
    assert worker.request("read").payload == b"1,"


def test_what_it_printed_is_given_once(worker):
    worker.request("print", text="é")
    assert worker.new_output() == "é\nand to stderr\n"
    assert worker.new_output() == ""
    worker.request("print", text="again")
    assert worker.new_output().startswith("again")


def test_a_request_that_fails_has_what_was_printed_and_the_worker_lives(worker):
    with pytest.raises(RequestFailed, match="it can't") as caught:
        worker.request("fail")
    assert (caught.value.errno, caught.value.output) == (7, "why\n")
    assert worker.request("read").payload == b"1,"


def test_closing_ends_the_child_and_may_be_repeated(worker):
    pid = worker.pid
    assert not is_gone(pid)
    worker.close()
    worker.close()
    assert is_gone(pid)
    assert worker.closed
    assert worker.ended
    with pytest.raises(ProbeClosed):
        worker.request("read")
    with pytest.raises(ProbeClosed):
        worker.check()


def test_a_worker_nobody_refers_to_ends(command):
    worker = WorkerProcess(command)
    pid, reference = worker.pid, weakref.ref(worker)
    del worker
    gc.collect()
    assert reference() is None
    assert is_gone(pid)


def test_a_child_that_exits_is_told_with_its_last_words(worker):
    with pytest.raises(WorkerDied, match="exited with status 3") as caught:
        worker.request("exit")
    assert caught.value.returncode == 3
    assert "last words" in str(caught.value)
    assert caught.value.output == "last words\n"
    with pytest.raises(ProbeClosed):
        worker.request("read")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_child_that_a_signal_ends_is_told_by_its_name(worker, number):
    with pytest.raises(WorkerDied, match=number.name) as caught:
        worker.request("kill", number=int(number))
    assert caught.value.returncode == -number


def test_a_child_that_dies_in_the_middle_of_an_answer(worker):
    with pytest.raises(WorkerDied):
        worker.request("half")
    assert worker.closed


def test_a_child_that_dies_between_requests_is_noticed(worker):
    worker.check()
    os.kill(worker.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not worker.ended:
        assert time.monotonic() < deadline
    assert not worker.closed
    with pytest.raises(WorkerDied, match="SIGKILL"):
        worker.check()


def test_a_child_that_never_answers_is_ended(worker):
    pid = worker.pid
    with pytest.raises(WorkerDied, match=r"did not answer 'never' within 0\.2 s"):
        worker.request("never", timeout=0.2)
    assert is_gone(pid)


def test_a_child_that_does_not_start():
    with pytest.raises(WorkerDied, match="status 1"):
        WorkerProcess(["false"])
    with pytest.raises(FileNotFoundError):
        WorkerProcess(["/nonexistent/python3"])


def test_a_folder_the_child_made_is_removed_when_it_was_killed(worker, tmp_path):
    (tmp_path / "instance").mkdir()
    worker.removes(str(tmp_path / "instance"))
    os.kill(worker.pid, signal.SIGKILL)
    worker.close()
    assert not (tmp_path / "instance").exists()


def test_closing_in_another_thread_ends_the_wait(worker):
    closing = threading.Timer(0.1, worker.close)
    closing.start()
    with pytest.raises(ProbeClosed):
        worker.request("never")
    closing.join()
    assert worker.closed


class Interrupt(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


@pytest.fixture
def interrupts():
    """interrupts(seconds): raise Interrupt in this thread after so long, once."""

    def raise_it(*_):
        raise Interrupt

    former = signal.signal(signal.SIGALRM, raise_it)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    stop_interrupts()
    signal.signal(signal.SIGALRM, former)


def stop_interrupts():
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return
        except Interrupt:
            continue


def test_the_answer_that_was_not_waited_for_comes_with_the_next(worker, interrupts):
    assert worker.request("read").payload == b"1,"
    interrupts(0.1)
    with pytest.raises(Interrupt):
        worker.request("read", wait=0.5)
    reply = worker.request("read")
    assert reply.payload == b"2,3,"
    assert (reply["lost"], reply["text"]) == (2, "x")
    assert worker.request("read")["lost"] == 1


def test_interrupts_at_any_time_lose_nothing_or_close(command, interrupts):
    """What was received once is never given twice or left out, wherever the interrupt comes."""
    delays = itertools.cycle(step * 2e-5 for step in range(1, 30))
    interrupted = rounds = 0
    while interrupted < 50:
        rounds += 1
        assert rounds < 100
        worker, got = WorkerProcess(command), []
        try:
            while len(got) < 400:
                try:
                    # one at a time, each a little later: none can come while one is handled
                    interrupts(next(delays))
                    payload = worker.request("read").payload
                    got += payload.split(b",")[:-1]
                except Interrupt:
                    interrupted += 1
                except ProbeClosed:
                    break
        except Interrupt:
            interrupted += 1
        stop_interrupts()
        worker.close()
        # an interrupt between the answer and its use is the caller's own
        numbers = [int(number) for number in got]
        assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("when", ["recvmsg", "sendall"])
def test_an_interrupt_after_which_nobody_knows_closes_at_once(worker, monkeypatch, when):
    real = worker._channel._socket

    class Interrupted:
        def __getattr__(self, name):
            return getattr(real, name)

        def recvmsg(self, *arguments):
            real.recvmsg(*arguments)
            raise Interrupt

        def sendall(self, line):
            real.send(line[:3])
            raise Interrupt

    socket = Interrupted()
    if when == "recvmsg":
        socket.sendall = real.sendall
    worker._channel._socket = socket
    with pytest.raises(Interrupt):
        worker.request("read")
    worker._channel._socket = real
    pid = worker.pid
    with pytest.raises(ProbeClosed, match="interrupt"):
        worker.request("read")
    assert is_gone(pid)


def test_a_forked_child_has_no_worker(worker):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"closed" if worker.closed else b"open")
        os._exit(0)
    assert os.read(reading, 100) == b"closed"
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    assert not worker.closed
    assert worker.request("read").payload == b"1,"


def test_a_forked_child_that_ends_in_the_usual_way_ends_nothing_of_its_parents(worker):
    child = os.fork()
    if child == 0:
        worker.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert worker.request("read").payload == b"1,"
