// tcp_probe_simple: print the first three bytes of the remote address of each TCP segment received.
//
// The document's first program, re-written. Its two lines for the compiler have become one:
// where the format file says sizeof(struct sockaddr_in6), that struct must be known, and
// <uapi/linux/in6.h> is the smallest header that has it. <net/ipv6.h> has it too, and takes five
// times as long to compile.
#include <uapi/linux/in6.h>

TRACEPOINT_PROBE(tcp, tcp_probe)
{
	bpf_trace_printk("%d %d %d", args->daddr[0], args->daddr[1], args->daddr[2]);
	return 0;
}
