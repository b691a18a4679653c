// getrandom_record: send the record of sys_enter_getrandom as it lies in memory, byte for byte.
//
// -DSIZE is the record's size by its format file, -DTHREAD the number of the thread whose calls
// count. The first 8 bytes are left zero: in a BPF program's context they hold a pointer of the
// kernel's, and not the common fields.
struct record_t {
	u8 bytes[SIZE];
};

BPF_PERF_OUTPUT(events);

TRACEPOINT_PROBE(syscalls, sys_enter_getrandom)
{
	struct record_t record = {};

	if ((u32)bpf_get_current_pid_tgid() != THREAD)
		return 0;
	bpf_probe_read_kernel(record.bytes + 8, SIZE - 8, (char *)args + 8);
	events.perf_submit(args, &record, sizeof(record));
	return 0;
}
