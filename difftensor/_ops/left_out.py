"""NumPy's names that are left out on purpose, each with what to use instead; ``dif.NAME`` raises with that sentence."""

from __future__ import annotations

_MATRIX = "its * and ** differ from an array's: use Tensors with @ and dif.linalg.matrix_power"
_TEXT = "Tensors hold numbers: use NumPy for text"
_TIME = "Tensors hold numbers: use np.datetime64 for the calendar and pass numbers of seconds or days"
_BUSINESS = "Tensors hold numbers: use NumPy for calendars"
_RECORD = "Tensors hold numbers: keep one Tensor for each field, in a dict or a dataclass (dif.grad takes them)"
_ITERATOR = (
    "it hands out NumPy's own memory, past the tape: iterate over the Tensor, x.flat, dif.ndindex or dif.ndenumerate"
)
_INTERNAL = "it is NumPy's own, not about arrays: use numpy itself"

LEFT_OUT = {
    "asmatrix": _MATRIX,
    "bmat": f"{_MATRIX}; dif.block joins blocks",
    "matrix": _MATRIX,
    "ma": "masked arrays have semantics of their own: keep a mask beside the Tensor and use where=, or dif.where",
    "char": _TEXT,
    "strings": _TEXT,
    "str_": _TEXT,
    "bytes_": _TEXT,
    "object_": "Tensors hold numbers: keep objects in lists",
    "void": _RECORD,
    "rec": _RECORD,
    "recarray": _RECORD,
    "record": _RECORD,
    "datetime64": _TIME,
    "timedelta64": _TIME,
    "datetime_as_string": _TIME,
    "datetime_data": _TIME,
    "isnat": _TIME,
    "busday_count": _BUSINESS,
    "busday_offset": _BUSINESS,
    "busdaycalendar": _BUSINESS,
    "is_busday": _BUSINESS,
    "memmap": "a file under a tape would change saved values: np.memmap with dif.asarray(...) of the part that is used",
    "poly1d": "its methods convert to ndarrays: use dif.polyval, dif.polyfit and their like on coefficients",
    "polynomial": "its classes convert to ndarrays: use dif.polyval, dif.polyfit and their like on coefficients",
    "frompyfunc": "its results are objects: use dif.vectorize, or an ordinary function of Tensors",
    "nditer": _ITERATOR,
    "nested_iters": _ITERATOR,
    "flatiter": _ITERATOR,
    "broadcast": "use dif.broadcast_arrays, dif.broadcast_shapes or dif.broadcast_to",
    "fromregex": "its results are records: use np.fromregex and dif.asarray of the fields",
    "core": _INTERNAL,
    "f2py": _INTERNAL,
    "ctypeslib": _INTERNAL,
    "test": _INTERNAL,
}


def reason(name: str) -> str | None:
    """The sentence for `name`, or None if it is not on the list."""
    why = LEFT_OUT.get(name)
    return None if why is None else f"np.{name} is left out of difftensor on purpose: {why}"
