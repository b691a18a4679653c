// tcp_probe_fields: send what tcp:tcp_probe offers, each field under its own name.
//
// TRACEPOINT_PROBE finds the fields here, so this is what other ways of reading are held against.
// -DFAMILY=1 where the format file has the field family; -DWANTED=… is a condition, such as
// cookie==42. The two kernel addresses, skbaddr and skaddr, stay where they are.
#include <uapi/linux/in6.h>
#include "counters.h"

#ifndef WANTED
#define WANTED 1
#endif

struct fields_t {
	u64 ts; // nanoseconds since boot, CLOCK_MONOTONIC
	u8 saddr[28];
	u8 daddr[28];
	u16 sport;
	u16 dport;
#ifdef FAMILY
	u16 family;
#endif
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
};

BPF_RINGBUF_OUTPUT(events, 1024);

TRACEPOINT_PROBE(tcp, tcp_probe)
{
	u64 cookie = args->sock_cookie;
	struct fields_t *event;

	if (!(WANTED))
		return 0;
	event = events.ringbuf_reserve(sizeof(*event));
	if (!event) {
		count(DROPPED);
		return 0;
	}
	event->ts = bpf_ktime_get_ns();
	bpf_probe_read_kernel(event->saddr, sizeof(event->saddr), args->saddr);
	bpf_probe_read_kernel(event->daddr, sizeof(event->daddr), args->daddr);
	event->sport = args->sport;
	event->dport = args->dport;
#ifdef FAMILY
	event->family = args->family;
#endif
	event->mark = args->mark;
	event->data_len = args->data_len;
	event->snd_nxt = args->snd_nxt;
	event->snd_una = args->snd_una;
	event->snd_cwnd = args->snd_cwnd;
	event->ssthresh = args->ssthresh;
	event->snd_wnd = args->snd_wnd;
	event->srtt = args->srtt;
	event->rcv_wnd = args->rcv_wnd;
	event->sock_cookie = cookie;
	events.ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	count(SENT);
	return 0;
}
