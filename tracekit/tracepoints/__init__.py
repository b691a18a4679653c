"""What a tracepoint's record looks like: text and bytes in, values out, without a kernel."""
