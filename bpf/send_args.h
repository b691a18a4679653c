// Send what a struct tcp_probe_args reads from the record of tcp:tcp_probe, whatever it reads.
//
// The struct stands in front of this file: the document's, or another. Three numbers are read without
// it, at offsets that the format file gives, so that each event can be found again among those of
// tcp_probe_fields.c: SOCK_COOKIE_AT, SND_NXT_AT and SND_UNA_AT. RECORD_SIZE is the record's size: the
// record is sent as well, without its first 8 bytes. -DWANTED=… is a condition, such as cookie==42.
#ifndef WANTED
#define WANTED 1
#endif

struct sent_t {
	u64 ts; // nanoseconds since boot, CLOCK_MONOTONIC
	u64 key_sock_cookie;
	u32 key_snd_nxt;
	u32 key_snd_una;
	u8 saddr[28];
	u8 daddr[28];
	u16 sport;
	u16 dport;
	u32 mark;
	u16 data_len;
	u32 snd_nxt;
	u32 snd_una;
	u32 snd_cwnd;
	u32 ssthresh;
	u32 snd_wnd;
	u32 srtt;
	u32 rcv_wnd;
	u64 sock_cookie;
	u8 record[RECORD_SIZE];
};

BPF_RINGBUF_OUTPUT(events, 1024);

int send_args(struct tcp_probe_args *args)
{
	char *record = (char *)args;
	struct sent_t *event;
	u64 cookie;

	bpf_probe_read_kernel(&cookie, 8, record + SOCK_COOKIE_AT);
	if (!(WANTED))
		return 0;
	event = events.ringbuf_reserve(sizeof(*event));
	if (!event) {
		count(DROPPED);
		return 0;
	}
	event->ts = bpf_ktime_get_ns();
	event->key_sock_cookie = cookie;
	bpf_probe_read_kernel(&event->key_snd_nxt, 4, record + SND_NXT_AT);
	bpf_probe_read_kernel(&event->key_snd_una, 4, record + SND_UNA_AT);
	bpf_probe_read_kernel(event->saddr, 28, args->saddr);
	bpf_probe_read_kernel(event->daddr, 28, args->daddr);
	event->sport = args->sport;
	event->dport = args->dport;
	event->mark = args->mark;
	event->data_len = args->data_len;
	event->snd_nxt = args->snd_nxt;
	event->snd_una = args->snd_una;
	event->snd_cwnd = args->snd_cwnd;
	event->ssthresh = args->ssthresh;
	event->snd_wnd = args->snd_wnd;
	event->srtt = args->srtt;
	event->rcv_wnd = args->rcv_wnd;
	event->sock_cookie = args->sock_cookie;
	__builtin_memset(event->record, 0, 8);
	bpf_probe_read_kernel(event->record + 8, RECORD_SIZE - 8, record + 8);
	events.ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	count(SENT);
	return 0;
}
