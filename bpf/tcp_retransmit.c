// tcp_retransmit: send who sends a segment again, and when.
//
// tcp:tcp_retransmit_skb is reached when a segment has been sent once more. The addresses are those of
// IPv6, where an IPv4 address is written as ::ffff:192.0.2.1; so one kind of field serves both.
// -DDPORT=5201 keeps the segments to one remote port, -DSPORT=… those from one local port.
#include "counters.h"

struct data_t {
	u64 ts; // nanoseconds since boot, CLOCK_MONOTONIC
	u16 sport;
	u16 dport;
	u32 state; // of the connection: 1 is established, 2 is waiting for the first answer
	u8 saddr[16];
	u8 daddr[16];
};

BPF_RINGBUF_OUTPUT(events, 16);

TRACEPOINT_PROBE(tcp, tcp_retransmit_skb)
{
	struct data_t *data;

	count(SEEN);
#ifdef DPORT
	if (args->dport != DPORT)
		return 0;
#endif
#ifdef SPORT
	if (args->sport != SPORT)
		return 0;
#endif
	data = events.ringbuf_reserve(sizeof(*data));
	if (!data) {
		count(DROPPED);
		return 0;
	}
	data->ts = bpf_ktime_get_ns();
	data->sport = args->sport;
	data->dport = args->dport;
	data->state = args->state;
	bpf_probe_read_kernel(data->saddr, 16, args->saddr_v6);
	bpf_probe_read_kernel(data->daddr, 16, args->daddr_v6);
	events.ringbuf_submit(data, 0);
	count(SENT);
	return 0;
}
