"""What all stepwise optimizers share: parameter groups and their state."""

from __future__ import annotations

import difftensor as dif


class Optimizer:
    """Base of the stepwise optimizers; a subclass needs `step` only.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameter groups ``{"params": [...], "lr": ...}`` may have settings of their own.
    defaults : dict
        Settings of the groups that do not have them.

    Attributes
    ----------
    param_groups : list of dict
        What schedulers change.
    state : dict
        What a subclass remembers per parameter.
    """

    def __init__(self, params, defaults):
        self.defaults = dict(defaults)
        self.param_groups = []
        self.state = {}
        if isinstance(params, dif.Tensor):
            raise TypeError("optim: params must be a list of Tensors; wrap the one Tensor in a list")
        params = list(params)
        if not params:
            raise ValueError("optim: the parameter list is empty; was it an iterator that is used up?")
        for group in params if isinstance(params[0], dict) else [{"params": params}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict) -> None:
        """Add parameters with settings of their own."""
        group = {**group}
        tensors = group["params"]
        group["params"] = tensors = [tensors] if isinstance(tensors, dif.Tensor) else list(tensors)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in tensors:
            if not isinstance(p, dif.Tensor):
                raise TypeError(f"optim: parameters must be Tensors, got {type(p).__name__}; use dif.tensor(a, "
                                "requires_grad=True), or optim.minimize for arrays")  # fmt: skip
            if not p.requires_grad or not p.is_leaf:
                raise ValueError("optim: a parameter must be a leaf with requires_grad=True, or it never gets a "
                                 "gradient; create it with dif.tensor(a, requires_grad=True)")  # fmt: skip
            if id(p) in known:
                raise ValueError("optim: a parameter appears twice; it would be stepped twice")
            known.add(id(p))
        unknown = set(group) - set(self.defaults) - {"params"}
        if unknown and self.defaults:
            raise TypeError(f"optim: unknown settings {sorted(unknown)}; known are {sorted(self.defaults)}")
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        if not group.get("lr", 1.0) >= 0:
            raise ValueError(f"optim: lr must not be negative, got {group['lr']}")
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad = dif.zeros_like(p.grad)

    def step(self, closure=None):
        """Take one step; ``closure`` evaluates the loss again and returns it."""
        raise NotImplementedError(f"{type(self).__name__} must define step(closure=None)")

    def _loss(self, closure):
        if closure is None:
            return None
        with dif.enable_grad():
            return closure()

    def state_dict(self) -> dict:
        """Settings and state as containers of arrays that can be pickled, parameters by their number."""
        number = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [
            {**{k: v for k, v in g.items() if k != "params"}, "params": [number[id(p)] for p in g["params"]]}
            for g in self.param_groups
        ]
        return {"state": {number.get(k, k): _copied(v) for k, v in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, saved: dict) -> None:
        """Continue from `state_dict` of an optimizer with the same groups."""
        tensors = [p for g in self.param_groups for p in g["params"]]
        sizes = [len(g["params"]) for g in saved["param_groups"]]
        if sizes != [len(g["params"]) for g in self.param_groups]:
            raise ValueError(f"optim: the saved groups have {sizes} parameters, these have "
                             f"{[len(g['params']) for g in self.param_groups]}")  # fmt: skip
        for group, old in zip(self.param_groups, saved["param_groups"], strict=True):
            group.update({k: v for k, v in old.items() if k != "params"})
        self.state = {
            id(tensors[k]) if isinstance(k, int) else k: _copied(value) for k, value in saved["state"].items()
        }

    def __repr__(self):
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            settings = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} parameters, {settings}")
        return "\n".join([*lines, ")"])


def _copied(value):
    return {k: [a.copy() for a in v] if isinstance(v, (list, tuple)) else v for k, v in value.items()}
