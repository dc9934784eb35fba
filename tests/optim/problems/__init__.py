"""Published collections of test problems, shared by tests and benchmarks."""
