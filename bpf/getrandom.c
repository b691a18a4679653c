// getrandom: print how many random bytes were asked for.
//
// The lesson of urandomread.c on a tracepoint that every kernel has: the call of getrandom(2).
TRACEPOINT_PROBE(syscalls, sys_enter_getrandom)
{
	// args: see events/syscalls/sys_enter_getrandom/format in tracefs
	bpf_trace_printk("%lu", args->len);
	return 0;
}
