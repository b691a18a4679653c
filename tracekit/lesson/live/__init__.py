"""Live plots: events read on a thread of our own, drawn at a pace that a browser can follow."""
