"""What a notebook shows: C files with their true lines, the machine it runs on."""
