"""Time and memory of difftensor beside NumPy, autograd, PyTorch and JAX, in one run on one machine.

    python -m asv_benchmarks.report              everything below, into results/, README.md and docs/performance.md
    python -m asv_benchmarks.compare             gradients of the workloads, as a table of ratios
    python -m asv_benchmarks.memory              their peak memory
    python -m asv_benchmarks.growth              time and memory over four decades of operations and elements
    python -m asv_benchmarks.overhead            what one operation costs
    python -m asv_benchmarks.tape                a tape of 10^6 operations: time and bytes
    python -m asv_benchmarks.importing           import times
    python -m asv_benchmarks.nn                  training steps of networks
    asv run --config asv_benchmarks/asv.conf.json    the same under airspeed velocity, over the history
"""
