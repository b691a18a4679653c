// tcp_probe_filter: print the remote port and the thread of each TCP segment received over IPv4.
//
// The document's second program, re-written: what is not wanted ends at the top, in the kernel, and
// costs user space nothing. -DPORT=5201 keeps only connections with that port at either end,
// -DCOOKIE=42 only the socket of that cookie (SO_COOKIE, socket(7)).
#include <uapi/linux/in6.h>

TRACEPOINT_PROBE(tcp, tcp_probe)
{
	u64 pid_tgid;

	if (args->daddr[0] != 2) // AF_INET
		return 0;
#ifdef PORT
	if (args->sport != PORT && args->dport != PORT)
		return 0;
#endif
#ifdef COOKIE
	if (args->sock_cookie != COOKIE)
		return 0;
#endif
	pid_tgid = bpf_get_current_pid_tgid();
	bpf_trace_printk("dport=%d, (tgid << 32 | pid)=%lu, pid=%d", args->dport, pid_tgid,
			 (u32)pid_tgid);
	return 0;
}
