"""All that waits, and all that talks to the kernel."""
