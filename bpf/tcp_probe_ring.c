// tcp_probe_ring: tcp_probe.c with a ring buffer in place of the perf buffers.
//
// The record is the same, byte for byte. It is written where user space will read it, and not copied
// there: room is reserved, filled, and submitted. -DDPORT=5201 is the filter of tcp_probe.c.
#include <uapi/linux/in6.h>
#include "counters.h"

struct data_t {
	u64 ts; // nanoseconds since boot, CLOCK_MONOTONIC
	u8 saddr[28];
	u8 daddr[28];
	u16 sport;
	u16 dport;
	u32 mark;
	u16 data_len; // bytes
	u32 snd_nxt;
	u32 snd_una;
	u32 snd_cwnd; // segments
	u32 ssthresh; // segments
	u32 snd_wnd; // bytes
	u32 srtt; // microseconds
	u32 rcv_wnd; // bytes
	u64 sock_cookie;
	u32 pid;
	char comm[16];
};

#ifndef PAGES
#define PAGES 256 // of 4096 bytes, a power of two
#endif
#ifndef FLAGS
#define FLAGS 0
#endif
BPF_RINGBUF_OUTPUT(events, PAGES);

TRACEPOINT_PROBE(tcp, tcp_probe)
{
	struct data_t *data;

	count(SEEN);
#ifdef DPORT
	if (args->dport != DPORT)
		return 0;
#else
	if (args->daddr[0] != 2) // AF_INET
		return 0;
#endif
	data = events.ringbuf_reserve(sizeof(*data));
	if (!data) {
		count(DROPPED);
		return 0;
	}
	__builtin_memset(data, 0, sizeof(*data));
	data->ts = bpf_ktime_get_ns();
	bpf_probe_read_kernel(data->saddr, sizeof(data->saddr), args->saddr);
	bpf_probe_read_kernel(data->daddr, sizeof(data->daddr), args->daddr);
	data->sport = args->sport;
	data->dport = args->dport;
	data->mark = args->mark;
	data->data_len = args->data_len;
	data->snd_nxt = args->snd_nxt;
	data->snd_una = args->snd_una;
	data->snd_cwnd = args->snd_cwnd;
	data->ssthresh = args->ssthresh;
	data->snd_wnd = args->snd_wnd;
	data->srtt = args->srtt;
	data->rcv_wnd = args->rcv_wnd;
	data->sock_cookie = args->sock_cookie;
	data->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(data->comm, sizeof(data->comm));
	events.ringbuf_submit(data, FLAGS);
	count(SENT);
	return 0;
}
