"""Time and memory of difftensor beside NumPy, autograd, PyTorch and JAX, in one run on one machine.

    python -m asv_benchmarks.compare             gradients of the workloads, as a table of ratios
    python -m asv_benchmarks.overhead            what one operation costs
    python -m asv_benchmarks.tape                a tape of 10^6 operations: time and bytes
    python -m asv_benchmarks.importing           import times
    asv run --config asv_benchmarks/asv.conf.json    the same under airspeed velocity, over the history
"""
