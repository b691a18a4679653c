// tcp_probe_counted: count the TCP segments received, and send four numbers of those that we want.
//
// -DWANTED=… is a condition in C, such as args->dport==5201: what does not meet it ends here, in the
// kernel. counters.h counts: SEEN all of them, SENT those that went to user space.
#include <uapi/linux/in6.h>
#include "counters.h"

#ifndef WANTED
#define WANTED 1
#endif

struct segment_t {
	u64 ts; // nanoseconds since boot, CLOCK_MONOTONIC
	u64 sock_cookie;
	u32 data_len; // bytes
	u32 snd_cwnd; // segments
};

BPF_PERF_OUTPUT(events);

TRACEPOINT_PROBE(tcp, tcp_probe)
{
	struct segment_t segment = {};
	int error;

	count(SEEN);
	if (!(WANTED))
		return 0;
	segment.ts = bpf_ktime_get_ns();
	segment.sock_cookie = args->sock_cookie;
	segment.data_len = args->data_len;
	segment.snd_cwnd = args->snd_cwnd;
	error = events.perf_submit(args, &segment, sizeof(segment));
	count(error ? DROPPED : SENT);
	return 0;
}
