"""A sender watched on a link whose bottleneck is known: window, losses, silence, and the controls.

What the events say is compared with what the kernel says elsewhere: ss (inet_diag), nstat
(/proc/net/snmp), tc, and with what arrived.
"""

import ipaddress
import re
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

import tracekit as tk
from tracekit.traffic.congestion import available_congestion_controls

pytestmark = pytest.mark.live(level="L3")

PORT = 5219
INFINITE = 2**31 - 1  # TCP_INFINITE_SSTHRESH, include/net/tcp.h
BETA = 717  # of 1024: what cubic leaves of a window, net/ipv4/tcp_cubic.c


def probes():
    return (
        tk.Probe.from_file("tcp_probe_ring.c", defines={"DPORT": PORT}),
        tk.Probe.from_file("tcp_retransmit.c", defines={"DPORT": PORT}),
    )


def missed(probe):
    """How often the kernel did not run the program: 0 where it does not count that."""
    return probe.counts.missed or 0


@contextmanager
def watched(link, *congestion, seconds=60.0, flows=None, family=4, misses=None):
    """An experiment for LivePlot; fills ``flows``, and at its end ``misses``, by probe."""
    probe, resent = probes()
    with probe, resent:
        running = [
            link.start(seconds, congestion=name, port=PORT, family=family) for name in congestion
        ]
        if flows is not None:
            flows += running
        yield probe, resent
        for flow in running:
            flow.stop()
        if misses is not None:
            misses.update({one.name: missed(one) for one in (probe, resent)})


def of(flow, events):
    return events[events["sport"] == flow.ports[0]]


def times_of(events):
    return events["ts"].astype(np.int64)


def falls(events):
    """Where the kernel has lowered ssthresh: indices of the last event before each."""
    return np.flatnonzero(np.diff(events["ssthresh"].astype(np.int64)) < 0)


def ask_ss(link, flow):
    """What ss shows of the flow's sender, and the nanoseconds before and after it was asked."""
    before = time.monotonic_ns()
    text = link.run("ss", "-tinH", f"sport = {flow.ports[0]} and dport = {PORT}")
    after = time.monotonic_ns()
    number = {name: re.search(rf"\b{name}:(\d+)", text) for name in ("cwnd", "unacked")}
    resent = re.search(r"\bretrans:\d+/(\d+)", text)
    return SimpleNamespace(
        before=before,
        after=after,
        cwnd=int(number["cwnd"][1]),
        resent=int(resent[1]) if resent else 0,
        srtt=float(re.search(r"\brtt:([\d.]+)/", text)[1]),
    )


def resent_segments(link):
    return int(re.search(r"TcpRetransSegs\s+(\d+)", link.run("nstat", "-asz", "TcpRetransSegs"))[1])


def wait_until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


@pytest.fixture
def link():
    with tk.slow_link("10mbit", queue="100kb") as link:
        assert link.kind == "namespaces", link.reason
        yield link


@pytest.fixture(scope="module")
def alone():
    """One reno flow for 10 s, drawn, and ss asked again and again while it ran."""
    flows, samples, names, misses = [], [], {}, {}

    @contextmanager
    def experiment():
        with watched(link, "reno", flows=flows, misses=misses) as both:
            names[flows[0].ports[0]] = "reno"
            yield both

    with tk.slow_link("10mbit", queue="100kb") as link:
        assert link.kind == "namespaces", link.reason
        plot = tk.LivePlot(
            experiment,
            [
                tk.Panel(
                    "window",
                    "snd_cwnd",
                    by="sport",
                    names=names,
                    marks=tk.Marks("sent again", "tcp_retransmit", by="sport"),
                )
            ],
            seconds=10,
        )
        plot.start()
        wait_until(lambda: flows and plot.status.elapsed > 0.5, "the flow runs")
        for moment in np.arange(0.6, 9.6, 0.3):
            wait_until(lambda moment=moment: plot.status.elapsed > moment, f"{moment} s are over")
            samples.append(ask_ss(link, flows[0]))
        picture = plot.wait()
        assert plot.status.lost == 0
        all_events = plot.events(), plot.events("tcp_retransmit")
        counter = resent_segments(link)
    events, resent = (of(flows[0], one) for one in all_events)
    return SimpleNamespace(
        events=events,
        resent=resent,
        samples=samples,
        counter=counter,
        picture=picture,
        misses=misses,
    )


def test_reno_s_window_drops_at_least_three_times_in_ten_seconds(alone):
    window = alone.events["snd_cwnd"].astype(int)
    at = falls(alone.events)
    assert len(at) >= 3
    # Each is a tooth of the curve: up to a peak, and down to about half of it.
    for begin, end in zip(at, [*at[1:], len(window) - 1], strict=True):
        assert window[begin : end + 1].min() <= window[begin] // 2 + 3


def test_reno_halves(alone):
    at = falls(alone.events)
    before = alone.events["snd_cwnd"][at].astype(int)
    after = alone.events["ssthresh"][at + 1].astype(int)
    # tcp_reno_ssthresh, net/ipv4/tcp_cong.c. A loss that a timer finds (RACK, RFC 8985) finds the
    # window after the last event's segment was taken in, which may have opened it by one.
    assert len(at) >= 3
    assert ((after == before // 2) | (after == (before + 1) // 2)).all(), (before, after)


def test_reno_climbs_one_segment_in_a_round_trip(alone):
    window = alone.events["snd_cwnd"].astype(int)
    times = times_of(alone.events)
    at = falls(alone.events)
    climbs = 0
    for begin, end in pairwise(at[1:]):
        # from where recovery is over, the window at its threshold, to the next loss
        first = begin + int(np.argmin(window[begin:end]))
        climb = window[first : end + 1]
        trips = ((times[first + 1 : end + 1] - times[first:end]) / 1e3) / alone.events["srtt"][
            first + 1 : end + 1
        ]
        assert climb[-1] - climb[0] == pytest.approx(trips.sum(), rel=0.25, abs=3)
        climbs += 1
    assert climbs >= 2


def test_outside_of_recovery_the_threshold_shown_is_three_quarters_of_the_window(alone):
    # tcp_current_ssthresh, include/net/tcp.h: the larger of ssthresh and 3/4 of the window
    window = alone.events["snd_cwnd"].astype(int)
    shown = alone.events["ssthresh"].astype(np.int64)
    rises = np.flatnonzero(np.diff(shown) > 0) + 1
    assert len(rises) > 10
    assert (shown[rises] == window[rises] // 2 + window[rises] // 4).all()


def test_the_window_in_the_plot_is_the_one_ss_shows(alone):
    times = times_of(alone.events)
    (line,) = alone.picture.drawings[0].lines
    begin = times[0] - int(line.x[0] * 1e9)
    exact = wrong = 0
    for sample in alone.samples:
        # An event shows the window before its segment is taken in: that is the window since the
        # event before. So the first event after the question may still show the answer.
        first = np.searchsorted(times, sample.before) - 1
        last = np.searchsorted(times, sample.after)
        shown = set(alone.events["snd_cwnd"][first : last + 1].tolist())
        wrong += sample.cwnd not in shown
        exact += len(shown) == 1
        # Of what is drawn, one point in each 1/500 of the run is the largest and one the smallest.
        if sample.cwnd not in shown:
            continue
        near = (line.x >= (times[first] - begin) / 1e9 - 0.03) & (
            line.x <= (times[last] - begin) / 1e9 + 0.03
        )
        assert line.y[near].min() <= sample.cwnd <= line.y[near].max()
    assert len(alone.samples) == 30
    assert wrong <= alone.misses["tcp_probe_ring"]
    assert exact >= 10  # no choice between values was left


def test_the_round_trip_time_is_the_one_ss_shows(alone):
    times = times_of(alone.events)
    for sample in alone.samples:
        first = np.searchsorted(times, sample.before) - 1
        last = np.searchsorted(times, sample.after)
        near = alone.events["srtt"][first : last + 1] / 1e3
        assert near.min() - 0.01 <= sample.srtt <= near.max() + 0.01


def test_each_retransmission_is_an_event_and_a_mark(alone):
    assert len(alone.resent) <= alone.counter
    assert set(alone.resent["state"]) == {1}  # TCP_ESTABLISHED
    times = times_of(alone.resent)
    for sample in alone.samples:
        first, last = np.searchsorted(times, [sample.before, sample.after])
        assert first <= sample.resent <= last + alone.misses["tcp_retransmit"]
    (line,) = alone.picture.drawings[0].lines
    assert line.marked == "sent again"
    assert len(line.mark_x) == len(alone.resent)


def test_what_is_sent_and_acknowledged_is_what_arrived(link):
    probe, again = probes()
    with probe, again:
        moved = link.transfer(size=1_000_003, congestion="reno", port=PORT)
        # Before the events are read: closing, too, may send something again.
        counted = resent_segments(link)
        events, resent = probe.read(), again.read()
        skipped = {one.name: missed(one) for one in (probe, again)}
    events = events[events["sport"] == moved.client.port]
    first = events["snd_una"][0]
    sent, acknowledged = events["snd_nxt"] - first, events["snd_una"] - first
    assert (np.diff(acknowledged.astype(np.int64)) >= 0).all()
    # The last event stands before the last acknowledgment is taken in, when all had been sent.
    assert acknowledged[-1] < 1_000_003
    assert sent[-1] == 1_000_003 or skipped["tcp_probe_ring"]
    resent = resent[resent["sport"] == moved.client.port]
    assert counted - skipped["tcp_retransmit"] <= len(resent) <= resent_segments(link)


@pytest.mark.parametrize("name", ["reno", "cubic"])
def test_the_rules_differ_in_what_they_leave_of_a_window(link, name):
    if name not in available_congestion_controls():
        with pytest.raises(tk.errors.TrafficError, match="no congestion control"):
            link.transfer(1, congestion=name)
        return
    link.set(rate="20mbit", queue="40kb")
    flows, batches = [], []
    with watched(link, name, flows=flows) as (probe, _):

        def lowered():
            batches.append(of(flows[0], probe.read()).records)
            return len(falls(np.concatenate(batches)))

        wait_until(lambda: lowered() >= 8, "eight losses")
    events = np.concatenate(batches)
    at = falls(events)
    # The first threshold may come from cubic's HyStart, which needs no loss.
    at = at[events["ssthresh"][at] < INFINITE]
    before, after = events["snd_cwnd"][at].astype(int), events["ssthresh"][at + 1].astype(int)
    kept = 512 if name == "reno" else BETA
    assert len(at) >= 5
    assert ((after == before * kept // 1024) | (after == (before + 1) * kept // 1024)).mean() > 0.7
    assert np.median(after / before) == pytest.approx({"reno": 0.5, "cubic": 0.7}[name], abs=0.05)


@pytest.mark.parametrize("family", [4, 6])
def test_in_a_blackout_the_sender_is_silent_and_doubles_its_patience(link, family):
    link.set(queue="30kb")  # a short wait, so that the first time-out comes soon
    flows = []
    with watched(link, "reno", flows=flows, family=family) as (probe, resent):
        (flow,) = flows
        events, again = [], []

        def read():
            events.append(of(flow, probe.read()).records)
            again.append(of(flow, resent.read()).records)
            return np.concatenate([times_of(batch) for batch in again])

        wait_until(lambda: (read(), sum(map(len, events)) > 300)[1], "events")
        link.down()
        cut = time.monotonic_ns()
        wait_until(lambda: (read() > cut).sum() >= 4, "four retransmissions in the dark")
        mended = time.monotonic_ns()
        link.up()
        wait_until(
            lambda: (read(), times_of(events[-1]).max(initial=0) > mended)[1], "events again"
        )
    times = np.concatenate([times_of(batch) for batch in events])
    dark = np.concatenate([times_of(batch) for batch in again])
    dark = dark[(dark > cut) & (dark < mended)]
    # What had passed the router when the link was cut still comes in, within milliseconds.
    silent = (times > cut + 50_000_000) & (times < mended)
    assert not silent.any()
    gaps = np.diff(dark) / 1e6
    # Each is twice the one before; the timer wheel may be late by an eighth (kernel/time/timer.c).
    assert gaps[1:] / gaps[:-1] == pytest.approx(2, rel=0.2)
    assert gaps[0] > 2 * 200  # the second wait; TCP_RTO_MIN is 200 ms
    # After a time-out it begins with one segment.
    after = np.concatenate(events)
    assert after[times > mended]["snd_cwnd"][0] == 1


def test_the_rate_slider_changes_what_arrives_while_the_plot_runs(link):
    flows, rates = [], []
    slider = tk.Slider("rate", 1, 50, 10, set=lambda value: link.set_rate(f"{value}mbit"))

    @contextmanager
    def experiment():
        # the receiver's socket: its events carry data
        defines = {"PORT": PORT}
        with (
            tk.Probe.from_text(RECEIVER, defines=defines, name="receiver") as probe,
            link.start(60, congestion="cubic", port=PORT) as flow,
        ):
            flows.append(flow)
            yield probe

    plot = tk.LivePlot(experiment, [tk.Panel("bytes", "data_len")], seconds=60, controls=[slider])

    def received():
        events = plot.events("receiver")
        mine = events[events["sock_cookie"] == flows[0].cookies[1]]
        return times_of(mine), mine["data_len"].astype(np.int64)

    def arrives(size):
        begin, found = time.monotonic_ns(), None

        def enough():
            nonlocal found
            times, lengths = received()
            found = times[times > begin], lengths[times > begin]
            return found[1].sum() > size

        wait_until(enough, f"{size} bytes arrived")
        return found[1].sum() * 8 / (np.ptp(found[0]) / 1e9)

    with plot:
        plot.start()
        wait_until(lambda: flows and plot.status.events > 500, "traffic")
        for value in (10, 5, 10):
            slider.set(value)
            arrives(60_000)  # what was in the queue
            rates.append(arrives(600_000))
            assert plot.running
    assert plot.status.error is None
    fast, slow, again = rates
    # 1448 of each 1514 bytes that pass are data
    assert fast / slow == pytest.approx(2, rel=0.25)
    assert again / slow == pytest.approx(2, rel=0.25)
    assert slow < 0.96 * 5e6 * 1.1


RECEIVER = """#include <uapi/linux/in6.h>
struct data_t { u64 ts; u64 sock_cookie; u32 data_len; };
BPF_RINGBUF_OUTPUT(events, 64);
TRACEPOINT_PROBE(tcp, tcp_probe)
{
	struct data_t data = {};

	if (args->sport != PORT)
		return 0;
	data.ts = bpf_ktime_get_ns();
	data.sock_cookie = args->sock_cookie;
	data.data_len = args->data_len;
	events.ringbuf_output(&data, sizeof(data), 0);
	return 0;
}
"""


@pytest.mark.parametrize("queue", [50_000, 100_000])
def test_srtt_is_the_time_the_queue_takes_to_empty(link, queue):
    link.set(queue=queue)
    flows = []
    with watched(link, "reno", flows=flows) as (probe, _):
        wait_until(lambda: link.statistics().dropped > 0, "a full queue")
        wait_until(lambda: link.statistics().bytes > 2_000_000, "some trips")
        flows[0].stop()
        events = of(flows[0], probe.read())
    full = queue * 8 / link.shape.rate
    assert events["srtt"].max() / 1e6 == pytest.approx(full, rel=0.2)
    assert events["srtt"].min() / 1e6 < full / 10  # the first, with no queue in the way


@pytest.mark.parametrize("family", [4, 6])
def test_a_retransmission_s_addresses_are_those_of_its_connection(link, family):
    flows = []
    with watched(link, "reno", flows=flows, family=family) as (_, resent):
        wait_until(lambda: link.statistics().dropped > 0, "a packet dropped")
        moved = flows[0].stop()
        records = of(flows[0], resent.read())
    assert len(records)
    for field, end in (("saddr", moved.client), ("daddr", moved.server)):
        (address,) = {ipaddress.IPv6Address(bytes(row)) for row in records[field]}
        assert str(address.ipv4_mapped or address) == end.address


def test_filters_keep_other_connections_out(link):
    file = "tcp_retransmit.c"
    with (
        tk.Probe.from_file(file, defines={"DPORT": PORT}, name="wanted") as wanted,
        tk.Probe.from_file(file, defines={"SPORT": 1}, name="nobody's") as nobody,
    ):
        with (
            link.start(60, congestion="reno", port=PORT) as one,
            link.start(60, congestion="reno", port=PORT + 1) as other,
        ):
            wait_until(lambda: resent_segments(link) > 50, "many retransmissions")
            both = (one.ports[0], other.ports[0])
        ports, counts = np.unique(wanted.read()["sport"], return_counts=True)
        assert not len(nobody.read())
        assert nobody.counts.seen >= resent_segments(link)
    found = dict(zip(ports.tolist(), counts.tolist(), strict=True))
    assert 0 < found[both[0]] < resent_segments(link)
    assert both[1] not in found


def test_a_race_s_flows_are_told_apart_and_share_the_link(link):
    flows = []
    names = {}

    @contextmanager
    def race():
        with watched(link, "reno", "cubic", flows=flows) as both:
            names.update({flow.ports[0]: flow.congestion for flow in flows})
            yield both

    panel = tk.Panel("window", "snd_cwnd", by="sport", names=names)
    plot = tk.LivePlot(race, [panel], seconds=4)
    plot.start()
    picture = plot.wait()
    assert {line.label for line in picture.drawings[0].lines} == {"reno", "cubic"}
    moved = [flow.wait() for flow in flows]
    for flow, one in zip(flows, moved, strict=True):
        acknowledged = of(flow, plot.events())["snd_una"].astype(np.uint32)
        seconds = np.ptp(times_of(of(flow, plot.events()))) / 1e9
        goodput = int(acknowledged[-1] - acknowledged[0]) * 8 / seconds
        assert goodput == pytest.approx(one.rate, rel=0.15)
    total = sum(one.received for one in moved) * 8 / max(one.seconds for one in moved)
    assert total < 0.96 * 10e6 * 1.02
    assert threading.active_count() < 20
