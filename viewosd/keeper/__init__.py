"""The keeper: the thin process that stands where PROG would stand, and outlives supervisors.

It imports neither trio nor the supervisor: `viewos-run true` must cost milliseconds. Nothing here
may import dataclasses, inspect or argparse, for the same reason.
"""
