// tcp_probe_addresses: send both socket addresses of each TCP segment received, byte for byte.
//
// The ports and the family come beside them as numbers, to compare the bytes with. -DFAMILY says
// that this kernel's event has the field family, which came with Linux 5.12.
#include <uapi/linux/in6.h>

struct addresses_t {
	u8 saddr[28];
	u8 daddr[28];
	u16 sport;
	u16 dport;
	u16 family;
	u64 sock_cookie;
};

BPF_PERF_OUTPUT(events);

TRACEPOINT_PROBE(tcp, tcp_probe)
{
	struct addresses_t data = {};

	bpf_probe_read_kernel(data.saddr, sizeof(data.saddr), args->saddr);
	bpf_probe_read_kernel(data.daddr, sizeof(data.daddr), args->daddr);
	data.sport = args->sport;
	data.dport = args->dport;
#ifdef FAMILY
	data.family = args->family;
#endif
	data.sock_cookie = args->sock_cookie;
	events.perf_submit(args, &data, sizeof(data));
	return 0;
}
