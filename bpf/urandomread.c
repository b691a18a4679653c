// urandomread: print how many random bits were taken from /dev/urandom.
//
// The document's first example, re-written. The tracepoint was removed in Linux 5.18 (commit
// 14c174633f34) and from the later updates of older kernels: getrandom.c is its successor here.
TRACEPOINT_PROBE(random, urandom_read)
{
	// args is laid out by /sys/kernel/tracing/events/random/urandom_read/format
	bpf_trace_printk("%d", args->got_bits);
	return 0;
}
