// tcp_probe_attach_tracepoint: tcp_probe_simple with a struct of our own, for attach_tracepoint().
//
// The struct is the document's: right on its kernel, Linux 5.4. Since 5.12 a field called family lies
// behind dport, so that on today's kernels everything from mark on reads something else, without any
// error. This program only prints bytes that lie where they did.
#include <uapi/linux/in6.h>

struct tcp_probe_args {
	u64 __unused__; // the common fields: 8 bytes on the document's kernel
	u8 saddr[sizeof(struct sockaddr_in6)];
	u8 daddr[sizeof(struct sockaddr_in6)];
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
};

int print_tcp(struct tcp_probe_args *args)
{
	bpf_trace_printk("%d %d %d", args->daddr[0], args->daddr[1], args->daddr[2]);
	return 0;
}
