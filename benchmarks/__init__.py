"""How fast djwsbridge is, beside what somebody would use instead: `python -m benchmarks --help`."""
