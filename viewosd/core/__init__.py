"""Decisions without I/O: what to trap, who answers, what is in flight."""
