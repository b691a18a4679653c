// Three counters that Python reads without a system call: how often the program ran, how many
// records it sent, and how many it could not send because the buffer was full.
//
// BPF_F_MMAPABLE makes the array's memory mappable (Linux 5.5, commit fc9702273e2e).
enum { SEEN, SENT, DROPPED };

BPF_F_TABLE("array", u32, u64, counters, 3, BPF_F_MMAPABLE);

static inline void count(u32 which)
{
	u64 *counter = counters.lookup(&which);

	if (counter)
		__sync_fetch_and_add(counter, 1);
}
