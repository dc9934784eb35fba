"""An emulated GPU: CuPy itself on the host (see README.md)."""
