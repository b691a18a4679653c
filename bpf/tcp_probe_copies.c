// tcp_probe_copies: copy the remote address of each TCP segment in four ways, to compare them.
//
// The document says that a loop would be stopped; unroll(disable) keeps the second one a loop.
#include <uapi/linux/in6.h>

struct copies_t {
	u8 helper[28];
	u8 loop[28];
	u8 kept_loop[28];
	u8 memcpy[28];
	u64 sock_cookie;
};

BPF_PERF_OUTPUT(events);

TRACEPOINT_PROBE(tcp, tcp_probe)
{
	struct copies_t data = {};
	int i;

	data.sock_cookie = args->sock_cookie;
	bpf_probe_read_kernel(data.helper, 28, args->daddr);
	for (i = 0; i < 28; i++)
		data.loop[i] = args->daddr[i];
#pragma clang loop unroll(disable)
	for (i = 0; i < 28; i++)
		data.kept_loop[i] = args->daddr[i];
	__builtin_memcpy(data.memcpy, args->daddr, 28);
	events.perf_submit(args, &data, sizeof(data));
	return 0;
}
