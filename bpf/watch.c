// watch: copy the record of any tracepoint, whatever it is.
//
// -DRECORD_SIZE is the number of bytes to copy: the record's size by its format file. The first 8
// are left zero: in a BPF program's context they hold a pointer of the kernel's, and not the common
// fields. -DLOCATIONS lists the record's dynamic fields, each as {offset, base}: where the field is,
// and what the offset in it is counted from. -DDYNAMIC_SIZE bytes of each one's value are copied.
#include "counters.h"

struct watched_t {
	u64 common_ts; // nanoseconds since boot, CLOCK_MONOTONIC
	u32 common_pid; // the thread that was running
	char common_comm[16];
	u8 record[RECORD_SIZE];
#ifdef LOCATIONS
	u8 dynamic[DYNAMIC_COUNT * DYNAMIC_SIZE];
#endif
};

BPF_RINGBUF_OUTPUT(events, 1024);

int watch(void *context)
{
	struct watched_t *event;

	count(SEEN);
	event = events.ringbuf_reserve(sizeof(*event));
	if (!event) {
		count(DROPPED);
		return 0;
	}
	event->common_ts = bpf_ktime_get_ns();
	event->common_pid = bpf_get_current_pid_tgid();
	bpf_get_current_comm(event->common_comm, sizeof(event->common_comm));
	__builtin_memset(event->record, 0, 8);
	bpf_probe_read_kernel(event->record + 8, RECORD_SIZE - 8, (char *)context + 8);
#ifdef LOCATIONS
	u32 locations[][2] = {LOCATIONS};
#pragma unroll
	for (int i = 0; i < DYNAMIC_COUNT; i++) {
		// the low 16 bits: where the value is; the high 16, its length, are for the reader
		u32 place = *(u32 *)(event->record + locations[i][0]) & 0xffff;

		bpf_probe_read_kernel(event->dynamic + i * DYNAMIC_SIZE, DYNAMIC_SIZE,
				      (char *)context + locations[i][1] + place);
	}
#endif
	events.ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	count(SENT);
	return 0;
}
