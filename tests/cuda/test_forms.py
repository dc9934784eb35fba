"""Every call of numpy_calls.py with operands in other forms: dtypes, memory layouts, no elements, no axes.

What works on the CPU works on the device, with the same values, shapes and dtypes.
"""

import warnings

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import DeviceError
from tests.cuda.agreement import assert_agree, send
from tests.cuda.test_namespace import APART, SORTED
from tests.numpy_calls import SAMPLES
from tests.test_namespace import PLAIN, SMOOTH, named, run

pytestmark = [pytest.mark.usefixtures("device"), pytest.mark.filterwarnings("ignore")]


def every_second(a):
    wide = np.zeros([2 * n for n in a.shape], a.dtype)
    view = wide[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


def floats(f):
    return lambda a: f(a) if a.dtype.kind == "f" else a


FORMS = {
    "float32": floats(lambda a: a.astype(np.float32)),
    "complex": floats(lambda a: a * (1 + 0.25j)),
    "int64": floats(lambda a: np.rint(3 * a).astype(np.int64)),
    "int32": floats(lambda a: np.rint(3 * a).astype(np.int32)),
    "uint8": floats(lambda a: np.abs(np.rint(3 * a)).astype(np.uint8)),
    "bool": floats(lambda a: a > 0.4),
    "strided": lambda a: every_second(a) if a.ndim else a,
    "backwards": lambda a: a[::-1].copy()[::-1] if a.ndim else a,
    "columns": lambda a: np.asfortranarray(a) if a.ndim else a,
    "empty": lambda a: a[:0] if a.ndim else a,
    "no axes": lambda a: np.asarray(a.reshape(-1)[0]),
    "stacked": floats(lambda a: np.stack([a, a]) if a.ndim else a),
}
# Differences that stay, and why.
KNOWN = {
    "arange(s, 4.0, r)": ("float32", "bool"),  # NumPy multiplies steps of the operands' precision
    "histogram": ("complex",),  # of complex numbers: a TypeError
    "lexsort": ("no axes",),
}
# Of CuPy itself, which the stand-in does not know: what NumPy refuses and CuPy does not, or the other way round, and
# what is not defined (the order beside the place that `partition` asks for).
CUPYS = {
    "partition": ("uint8", "bool", "empty"),
    "argpartition": ("uint8", "bool", "empty"),
    "positive": ("bool",),
    "sign": ("bool",),
    "around": ("bool",),
    "round": ("bool",),
    "compress": ("no axes", "stacked"),  # an index out of bounds
    "shares_memory": ("no axes",),
}


def outcome(f, xs):
    try:
        return f(*xs), None
    except Exception as error:  # noqa: BLE001 - compared
        return None, error


@pytest.mark.parametrize("form", FORMS)
def test_forms(form, device, request):
    wrong = []
    known = {**KNOWN, **CUPYS} if request.config.getoption("--device") == "cuda" else KNOWN
    for call in (c for c in [*SMOOTH, *PLAIN] if named(c) and c not in APART and not c.startswith(SORTED)):
        if any(call.startswith(name) and form in forms for name, forms in known.items()):
            continue
        names = named(call)
        xs = [FORMS[form](SAMPLES[n].copy()) for n in names]
        f = lambda *xs: run(call, dif, dict(zip(names, xs)))  # noqa: B023
        with warnings.catch_warnings(action="ignore"):
            here, refused = outcome(f, map(dif.tensor, xs))
            there, error = outcome(f, [send(x, device) for x in xs])
        if refused is not None:
            if error is None:
                wrong.append(f"{call}: only the CPU raises {refused!r}")
        elif isinstance(error, DeviceError) and "not available on a GPU" in str(error):
            continue
        elif error is not None:
            wrong.append(f"{call}: {error!r}")
        else:
            try:
                assert_agree(there, here, device, call)
            except AssertionError as difference:
                wrong.append(f"{call}: {str(difference)[:200]}")
    assert not wrong, "\n".join(wrong)


def test_norms_of_numbers_on_the_cpu_once_there_is_a_gpu(device):
    send(np.ones(2), device)
    assert float(np.linalg.norm(dif.tensor(-3.0))) == 3
