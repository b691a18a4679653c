"""Traffic worth watching, made here and counted: over loopback, or over a slow link."""
