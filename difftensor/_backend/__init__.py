"""The only place that tells NumPy from CuPy: devices, array namespaces, buffers."""

from difftensor._backend.arrays import (
    is_array,
    is_element,
    is_view,
    library,
    namespace,
    on_gpu,
    science,
    several_devices,
    unwrap_scalar,
)
from difftensor._backend.device import (
    Device,
    as_device,
    beside,
    device_of,
    devices,
    duplicate,
    from_device,
    made_on,
    move,
)

__all__ = [
    "Device",
    "as_device",
    "beside",
    "device_of",
    "devices",
    "duplicate",
    "from_device",
    "is_array",
    "is_element",
    "is_view",
    "library",
    "made_on",
    "move",
    "namespace",
    "on_gpu",
    "science",
    "several_devices",
    "unwrap_scalar",
]
