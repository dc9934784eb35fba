"""A table of what a module is made of."""

from __future__ import annotations

import difftensor as dif

from ._module import Module, own


def table(module: Module, args: tuple) -> str:
    """Rows of name, class, shape of the result for `args`, and number of parameters."""
    shapes: dict[int, str] = {}
    if args:
        note = lambda m, _, y: shapes.__setitem__(id(m), str(getattr(y, "shape", type(y).__name__)))  # noqa: E731
        handles = [m.register_forward_hook(note) for m in module.modules()]
        try:
            with dif.no_grad():
                module(*args)
        finally:
            for handle in handles:
                handle.remove()
    rows = [("module", "kind", "shape", "parameters")]
    for name, m in module.named_modules():
        count = sum(t.size for _, t in own(m, parameters=True))
        rows.append((name or "(all)", type(m).__name__, shapes.get(id(m), ""), f"{count:,}" if count else ""))
    rows.append(("total", "", "", f"{sum(p.size for p in module.parameters()):,}"))
    widths = [max(len(r[i]) for r in rows) for i in range(4)]
    wide = [2] if not args else []
    line = lambda r: "  ".join(c.ljust(w) for i, (c, w) in enumerate(zip(r, widths)) if i not in wide).rstrip()  # noqa: E731
    return "\n".join(map(line, rows))
