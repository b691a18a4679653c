"""Getting events out of the kernel: a probe, its child process, and the records it sends."""
