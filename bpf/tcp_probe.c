// tcp_probe: send what tcp:tcp_probe offers, and the process that was running, to user space.
//
// The document's program for real use, re-written: a struct of our own, sent with perf_submit().
// -DDPORT=5201 keeps the events of one connection's side only, whose remote port is 5201.
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

BPF_PERF_OUTPUT(events);

TRACEPOINT_PROBE(tcp, tcp_probe)
{
	struct data_t data = {};

	count(SEEN);
#ifdef DPORT
	if (args->dport != DPORT)
		return 0;
#else
	if (args->daddr[0] != 2) // AF_INET
		return 0;
#endif
	data.ts = bpf_ktime_get_ns();
	bpf_probe_read_kernel(data.saddr, sizeof(data.saddr), args->saddr);
	bpf_probe_read_kernel(data.daddr, sizeof(data.daddr), args->daddr);
	data.sport = args->sport;
	data.dport = args->dport;
	data.mark = args->mark;
	data.data_len = args->data_len;
	data.snd_nxt = args->snd_nxt;
	data.snd_una = args->snd_una;
	data.snd_cwnd = args->snd_cwnd;
	data.ssthresh = args->ssthresh;
	data.snd_wnd = args->snd_wnd;
	data.srtt = args->srtt;
	data.rcv_wnd = args->rcv_wnd;
	data.sock_cookie = args->sock_cookie;
	data.pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(data.comm, sizeof(data.comm));
	count(events.perf_submit(args, &data, sizeof(data)) ? DROPPED : SENT);
	return 0;
}
