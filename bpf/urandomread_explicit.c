// urandomread_explicit: urandomread with a struct of our own, for attach_tracepoint().
//
// The document's example, re-written; the format file declares three int, which are s32 here.
struct urandom_read_args {
	u64 __unused__; // the common fields: 8 bytes on the document's kernel
	s32 got_bits;
	s32 pool_left;
	s32 input_left;
};

int print_arg(struct urandom_read_args *args)
{
	bpf_trace_printk("%d", args->got_bits);
	return 0;
}
