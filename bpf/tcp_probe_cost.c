// tcp_probe_cost: measure what an answer to one TCP segment costs in the kernel, in nanoseconds.
//
// Only segments of the port -DPORT=… are measured. A line has the port, the time it took to look at
// the ports, and the time the line before this one took to print: its own is not known yet.
#include <uapi/linux/in6.h>

BPF_ARRAY(printed, u64, 1);

TRACEPOINT_PROBE(tcp, tcp_probe)
{
	u64 begin = bpf_ktime_get_ns(), decided;
	u64 *before;
	int first = 0;

	if (args->sport != PORT && args->dport != PORT)
		return 0;
	decided = bpf_ktime_get_ns();
	before = printed.lookup(&first);
	if (!before)
		return 0;
	bpf_trace_printk("%d %lu %lu", PORT, decided - begin, *before);
	*before = bpf_ktime_get_ns() - decided;
	return 0;
}
