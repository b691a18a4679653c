"""The traffic lab on the running kernel: what a link does, what probes see, what is left."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import pyroute2
import pytest

from tracekit.errors import TrafficError
from tracekit.host.packages import find_command
from tracekit.traffic.congestion import available_congestion_controls
from tracekit.traffic.link import slow_link
from tracekit.traffic.tcp import exchange, transfer

pytestmark = pytest.mark.live(level="L3")

CHECKOUT = Path(__file__).parents[2]
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
# The same user, so that this Python can be read, but with one right only: without it, root may
# not be root of a user namespace (user_namespaces(7), Linux 5.12).
UNPRIVILEGED = ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all"]


def wait_until(condition, what, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def networks_of(pid):
    """The network namespaces a process has open or is in."""
    names = set()
    for link in (Path(f"/proc/{pid}/ns/net"), *Path(f"/proc/{pid}/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            names.add(os.readlink(link))
    return {name for name in names if name.startswith("net:")}


def networks_in_use():
    names = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            names |= networks_of(process.name)
    return names


@pytest.fixture(autouse=True)
def nothing_left():
    threads = threading.enumerate()
    descriptors = len(os.listdir("/proc/self/fd"))
    yield
    assert threading.enumerate() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.fixture
def link():
    with slow_link("20mbit") as link:
        assert link.kind == "namespaces"
        yield link


class Trace:
    """tcp:tcp_probe and tcp:tcp_retransmit_skb of all sockets, in a tracefs instance of its own."""

    def __init__(self, root):
        self.root = root

    def events(self, *cookies):
        """(seconds, event, cookie, data_len) of the sockets asked for, in the order they came."""
        found = re.findall(
            r"(\d+\.\d+): (tcp_probe|tcp_retransmit_skb): (.*)", (self.root / "trace").read_text()
        )
        events = []
        for seconds, event, text in found:
            cookie = re.search(r"sock_cookie=([0-9a-f]+)", text)
            length = re.search(r"data_len=(\d+)", text)
            port = re.search(r"dport=(\d+)", text)
            events.append((
                float(seconds),
                event,
                int(cookie[1], 16) if cookie else None,
                int(length[1]) if length else 0,
                int(port[1]) if port else 0,
            ))  # fmt: skip
        if cookies:
            events = [event for event in events if event[2] in cookies]
        return events


@pytest.fixture
def trace(instance):
    (instance / "trace_clock").write_text("mono")
    (instance / "buffer_size_kb").write_text("8192")
    for event in ("tcp_probe", "tcp_retransmit_skb"):
        (instance / "events/tcp" / event / "enable").write_text("1")
    return Trace(instance)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("dual_stack", [False, True])
@pytest.mark.parametrize("size", [30_011, 1_000_003])
def test_the_events_of_a_loopback_transfer_name_its_two_cookies(trace, family, dual_stack, size):
    moved = transfer(size=size, family=family, dual_stack=dual_stack)
    events = trace.events(*moved.cookies)
    assert {cookie for _, _, cookie, _, _ in events} == set(moved.cookies)
    # No other socket had this server's port.
    assert [e for e in trace.events() if e[4] == moved.server.port and e not in events] == []
    # Every byte came in one segment, and each segment made one event where it was received. The
    # field has 16 bits: of a long segment, joined in the socket's backlog, it shows the rest.
    lengths = [length for _, _, cookie, length, _ in events if cookie == moved.server.cookie]
    missing = size - sum(lengths)
    assert missing >= 0
    assert missing % 2**16 == 0
    assert size > 2**16 or missing == 0


def test_the_events_of_an_exchange_carry_its_bytes_both_ways(trace):
    moved = exchange(count=23, size=1009)
    lengths = {cookie: [] for cookie in moved.cookies}
    for _, _, cookie, length, _ in trace.events(*moved.cookies):
        lengths[cookie].append(length)
    for cookie in moved.cookies:
        assert [length for length in lengths[cookie] if length] == [1009] * 23


@pytest.mark.parametrize("family", [4, 6])
def test_a_transfer_over_the_link_is_exact(link, family):
    moved = link.transfer(size=300_007, family=family, port=5201)
    assert moved.sent == moved.received == 300_007
    assert moved.server.port == 5201
    assert moved.family == family
    assert moved.client.address != moved.server.address


def test_probes_see_the_link_although_it_lives_in_namespaces(trace, link):
    # At this rate the router would let 64 KiB pass in one piece, which a veth pair can carry.
    link.set(rate="1gbit")
    moved = link.transfer(size=1_000_003, port=5201)
    events = trace.events(*moved.cookies)
    lengths = [length for _, _, cookie, length, _ in events if cookie == moved.server.cookie]
    resent = [event for event in trace.events() if event[1] == "tcp_retransmit_skb"]
    assert sum(lengths) >= 1_000_003
    assert sum(lengths) == 1_000_003 or resent
    # Segments are what fits into an Ethernet frame; now and then two are joined while the
    # receiver is busy.
    assert Counter(lengths).most_common(1)[0][0] == 1448


def test_the_rate_is_the_bottleneck(link):
    # Ratios of runs a moment apart, not absolute speeds: a busy machine slows both. tbf counts
    # 1514 bytes for the 1448 TCP carries, so at most 0.957 of the rate is data.
    slow = link.transfer(seconds=1)
    link.set_rate("5mbit")
    slower = link.transfer(seconds=1)
    assert 2.5 < slow.rate / slower.rate < 6
    assert 0.5 * 20e6 < slow.rate < 0.96 * 20e6 + 40_000 * 8
    assert slower.rate < 0.96 * 5e6 + 40_000 * 8


def passing(link, size):
    """Bits a second that the router lets pass, by the time that so many more bytes take."""
    before, begin = link.statistics().bytes, time.monotonic()
    wait_until(lambda: link.statistics().bytes >= before + size, f"{size} bytes passed", 30)
    return (link.statistics().bytes - before) * 8 / (time.monotonic() - begin)


def test_the_rate_can_be_changed_while_a_flow_runs(link):
    with link.start(60, congestion="reno") as flow:
        wait_until(lambda: link.statistics().dropped > 0, "the queue is full")
        fast = passing(link, 1_000_000)
        link.set_rate("5mbit")
        slow = passing(link, 250_000)
        link.set_rate("20mbit")
        passing(link, 100_000)  # until the window has opened
        again = passing(link, 1_000_000)
        assert flow.running
        moved = flow.stop()
    assert moved.sent == moved.received
    assert 2.5 < fast / slow < 6
    assert 2.5 < again / slow < 6


def test_the_queue_holds_what_it_is_given_while_a_flow_runs(link):
    def fullest(until, what):
        seen = 0

        def look():
            nonlocal seen
            seen = max(seen, link.statistics().waiting_bytes)
            return until(seen)

        wait_until(look, what, 30)
        return seen

    link.set(queue=60_000)
    with link.start(120, congestion="reno") as flow:
        dropped = link.statistics().dropped
        fullest(lambda seen: seen > 50_000, "a queue almost full")
        # A full queue drops, and so never holds more.
        wait_until(lambda: link.statistics().dropped > dropped, "a packet dropped")
        assert fullest(lambda seen: link.statistics().dropped > dropped + 10, "more") <= 60_000
        link.set(queue=180_000)
        assert 60_000 < fullest(lambda seen: seen > 150_000, "a longer queue") <= 180_000
        shown = link.run("ss", "-tin", f"sport = {flow.ports[0]}")
        waits = float(re.search(r"rtt:([\d.]+)/", shown)[1])
        flow.stop()
    # 180,000 bytes are 72 ms at 20 Mbit/s, 60,000 are 24 ms: srtt is the time spent waiting
    assert waits > 24


def test_tc_shows_the_shape(link):
    link.set(rate="8mbit", queue="60kb")
    shown = link.run("tc", "qdisc", "show", "dev", "to-server", host="router")
    assert "tbf" in shown
    assert "rate 8Mbit" in shown
    wide = link.run("tc", "-d", "-r", "qdisc", "show", "dev", "to-client", host="router")
    assert "rate 8Mbit" in wide
    assert "8 Mbit/s, queue 60 KiB" in repr(link)


def test_commands_that_only_root_has_on_its_path_are_found(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with slow_link("20mbit") as link:
        assert "tbf" in link.run("tc", "qdisc", host="router")


def test_reno_overflows_the_queue_and_what_was_lost_is_sent_again(trace, link):
    with link.start(30, congestion="reno") as flow:
        wait_until(lambda: link.statistics().dropped > 0, "a packet dropped by the queue")
        moved = flow.stop()
    assert moved.sent == moved.received
    resent = [event for event in trace.events() if event[1] == "tcp_retransmit_skb"]
    assert {port for *_, port in resent} >= {moved.server.port}


@pytest.mark.parametrize("name", available_congestion_controls())
def test_every_congestion_control_can_be_chosen_and_ss_shows_it(link, name):
    with link.start(30, congestion=name) as flow:
        client, server = flow.ports
        shown = link.run("ss", "-tineH", f"sport = {client} and dport = {server}")
        moved = flow.stop()
    assert re.search(rf"^\s+.*\b{name}\b.* cwnd:\d+", shown, re.MULTILINE)
    assert int(re.search(r"sk:([0-9a-f]+)", shown)[1], 16) == moved.client.cookie
    assert moved.congestion == name
    assert moved.cookies == flow.cookies


def test_an_unknown_congestion_control_is_answered_with_the_ones_there_are(link):
    with pytest.raises(TrafficError, match="named 'nosuch'") as caught:
        link.transfer(1, congestion="nosuch")
    assert "reno" in caught.value.next_step
    assert link.transfer(size=10).received == 10


@pytest.mark.parametrize("family", [4, 6])
def test_flows_race_for_one_link(link, family):
    began = time.monotonic()
    reno, cubic = link.transfers("reno", "cubic", seconds=1, port=5201, family=family)
    together = time.monotonic() - began
    assert (reno.congestion, cubic.congestion) == ("reno", "cubic")
    assert reno.sent == reno.received
    assert cubic.sent == cubic.received
    assert reno.server.port == cubic.server.port == 5201
    assert len({*reno.cookies, *cubic.cookies}) == 4
    assert reno.family == cubic.family == family
    assert reno.seconds + cubic.seconds > together  # at once, not one after the other
    assert (reno.received + cubic.received) * 8 / together < 20e6


def test_all_congestion_controls_there_are_run_at_once(link):
    names = available_congestion_controls()
    assert "reno" in names  # it is part of the kernel and no module
    moved = link.transfers(*names, *names, seconds=1)
    assert [one.congestion for one in moved] == [*names, *names]
    assert all(one.sent == one.received > 0 for one in moved)


@pytest.mark.parametrize("family", [4, 6])
def test_while_the_link_is_down_there_are_retransmissions_and_no_tcp_probe(trace, link, family):
    def resent_since(begin):
        found = [e[0] for e in trace.events() if e[1] == "tcp_retransmit_skb" and e[4] == server]
        return [seconds for seconds in found if seconds > begin]

    with link.start(60, congestion="reno", family=family) as flow:
        server = flow.ports[1]
        wait_until(lambda: len(trace.events(*flow.cookies)) > 100, "events before the blackout")
        link.down()
        cut = time.monotonic()
        assert "down" in repr(link)
        wait_until(lambda: len(resent_since(cut)) >= 3, "three retransmissions", 30)
        first, *_, last = resent_since(cut)
        with pytest.raises(TrafficError, match="link is down"):
            link.transfer(1)
        link.up()
        wait_until(
            lambda: trace.events(*flow.cookies)[-1][0] > last, "events after the blackout", 30
        )
        moved = flow.stop()
    dark = [e for e in trace.events(*flow.cookies) if first <= e[0] <= last]
    assert dark == []
    assert moved.sent == moved.received


def test_ipv6_works_again_after_the_link_was_down(link):
    link.down()
    link.up()
    assert link.transfer(size=1000, family=6).received == 1000


def test_delay_and_loss_do_what_they_say_or_say_what_is_missing(link):
    tc = find_command("tc")
    assert tc is not None, "install iproute2"
    probe = subprocess.run(
        ["unshare", "-Urn", tc, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if probe.returncode == 0:
        link.set(delay="20ms")
        with link.start(30) as flow:
            wait_until(lambda: "minrtt:" in link.run("ss", "-tin"), "a measured round trip")
            shown = link.run("ss", "-tin", f"sport = {flow.ports[0]}")
        assert float(re.search(r"minrtt:([\d.]+)", shown)[1]) >= 40
        link.set(delay=0, loss="20%")
        assert link.transfer(size=100_000).received == 100_000
    else:
        assert "unknown" in probe.stderr
        before = link.run("tc", "qdisc", "show", host="router")
        for option in ({"delay": "20ms"}, {"loss": "1%"}):
            with pytest.raises(TrafficError, match="no netem") as caught:
                link.set(**option)
            assert "sch_netem" in caught.value.next_step
            with pytest.raises(TrafficError, match="no netem"):
                slow_link("20mbit", **option)
        assert link.run("tc", "qdisc", "show", host="router") == before
    assert link.transfer(size=1000).received == 1000


def test_a_closed_link_says_so_and_closing_it_aborts_what_runs():
    link = slow_link("1mbit")
    flow = link.start(60)
    link.close()
    link.close()
    assert not flow.running
    with pytest.raises(TrafficError, match="aborted"):
        flow.wait()
    for use in (link.transfer, link.up, link.statistics, lambda: link.run("ip", "addr")):
        with pytest.raises(TrafficError, match="closed"):
            use()
    assert "closed" in repr(link)


def test_an_error_in_the_block_closes_the_link():
    link = slow_link()
    pid = link._hosts.pid
    with pytest.raises(ZeroDivisionError), link, link.start(60):
        raise ZeroDivisionError
    assert not Path(f"/proc/{pid}").exists()


def test_an_interrupt_ends_a_transfer_at_once(link):
    main = threading.main_thread().ident
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        link.transfer(seconds=200)
    timer.join()
    assert link.transfer(size=10).received == 10


def test_a_forgotten_link_ends_with_its_last_reference():
    link = slow_link()
    pid = link._hosts.pid
    del link
    assert not Path(f"/proc/{pid}").exists()


def test_a_link_whose_process_died_says_so(link):
    os.kill(link._hosts.pid, signal.SIGKILL)
    with pytest.raises(TrafficError, match="process that holds the link ended"):
        link.set_rate("1mbit")


def test_programs_run_in_a_host_and_their_failures_are_told(link):
    assert "198.51.100.1" in link.run("ip", "addr", host="server")
    with pytest.raises(TrafficError, match="no program named 'no-such-program'"):
        link.run("no-such-program")
    with pytest.raises(TrafficError, match="false ended with 1"):
        link.run("false")
    with pytest.raises(TrafficError, match="no host 'middle'"):
        link.run("ip", "addr", host="middle")


NOTEBOOK = """
import sys, time
from tracekit.traffic.link import slow_link
link = slow_link("1mbit")
flow = link.start(300)
if "down" in sys.argv:
    link.down()
print(link.kind, link._hosts.pid, flow.ports, flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("state", ["up", "down"])
@pytest.mark.parametrize("prefix", [[], UNPRIVILEGED], ids=["as-is", "unprivileged"])
def test_nothing_is_left_after_the_notebook_was_killed(prefix, state):
    if os.geteuid() != 0:
        prefix = []
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", NOTEBOOK, state],
        stdout=subprocess.PIPE, text=True, cwd=CHECKOUT,
    ) as notebook:  # fmt: skip
        try:
            kind, pid, *_ = notebook.stdout.readline().split()
            assert kind == "namespaces"
            own = networks_of(pid) - networks_of("self")
            assert len(own) == 3
            assert own <= networks_in_use()
        finally:
            notebook.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the hosts' process ended")
    wait_until(lambda: not own & networks_in_use(), "the namespaces are gone")


def test_the_hosts_outlive_neither_their_parent_nor_a_child_that_inherited_the_socket():
    # A fork of the notebook (multiprocessing) holds the control socket open.
    program = NOTEBOOK.replace(
        "time.sleep(300)",
        "import os\nif os.fork():\n    time.sleep(300)\nelse:\n"
        "    print(os.getpid(), flush=True)\n    time.sleep(300)",
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, "up"], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
    ) as notebook:
        try:
            pid = notebook.stdout.readline().split()[1]
            fork = int(notebook.stdout.readline())
        finally:
            notebook.kill()
        notebook.wait()
        try:
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the hosts' process ended")
        finally:
            os.kill(fork, signal.SIGKILL)


FORBIDDEN = """
import warnings
from tracekit.errors import TrafficError
from tracekit.traffic.link import slow_link
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    with slow_link("20mbit") as link:
        print(link.kind)
        print(link)
        print(link.transfer(size=1000).received, link.transfer(seconds=0.05, family=6).sent > 0)
        for use in (lambda: link.set_rate("1mbit"), link.down, link.up, link.statistics):
            try:
                use()
            except TrafficError as error:
                print(str(error).splitlines()[0])
print(len(told), told[0].message)
try:
    slow_link("20mbit", delay="10ms")
except TrafficError as error:
    print(error.fact)
"""


def test_where_user_namespaces_are_forbidden_it_uses_loopback_and_says_so():
    # In a user namespace of its own, a machine's limits can be set to forbid more of them.
    program = (
        "for kind in user net; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done;"
        'exec "$0" -c "$1"'
    )
    ended = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", program, sys.executable, FORBIDDEN],
        capture_output=True, text=True, check=True, timeout=60, cwd=CHECKOUT,
    )  # fmt: skip
    reason = "network namespaces are forbidden here (No space left on device)"
    kind, repr_, moved, *refused, told, delay = ended.stdout.splitlines()
    assert kind == "loopback"
    assert repr_ == f"Link: loopback, at no set rate, because {reason}"
    assert moved == "1000 True"
    assert len(refused) == 4
    assert all(line.startswith("loopback can't be") for line in refused)
    assert told == f"1 traffic runs over loopback, at no set rate: {reason}"
    assert delay == f"no link with delay or loss: {reason}"


def test_an_ordinary_user_gets_the_same_link():
    program = (
        "import os\nfrom tracekit.traffic.link import slow_link\n"
        "with slow_link() as link:\n"
        "    print(os.getuid(), link.kind, link.transfer(size=1000, congestion='cubic').received)\n"
    )
    user = os.geteuid()
    python = [sys.executable]
    # Another user may be unable to read this checkout and to run this Python.
    with tempfile.TemporaryDirectory() as copies:
        folder = CHECKOUT
        if user == 0:
            user, folder = 65534, Path(copies)
            python = [*AS_NOBODY, "/usr/bin/python3"]
            folder.chmod(0o755)
            shutil.copytree(CHECKOUT / "tracekit", folder / "tracekit")
            shutil.copytree(Path(pyroute2.__file__).parent, folder / "pyroute2")
        ended = subprocess.run(
            [*python, "-c", program],
            capture_output=True, text=True, check=True, timeout=60, cwd=folder,
        )  # fmt: skip
    assert ended.stdout.split() == [str(user), "namespaces", "1000"]
    assert ended.stderr == ""


def test_no_warning_is_given_where_the_link_is_real():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slow_link().close()
