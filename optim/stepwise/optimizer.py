"""What all stepwise optimizers share: parameter groups and their state."""

from __future__ import annotations

import difftensor as dif

from ..rules.kernels import check_settings


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
        if isinstance(params, dict):
            raise TypeError('optim: params must be a list of Tensors, or of groups {"params": [...], ...}, got a dict; '
                            "pass list(params.values()), or wrap the one group in a list")  # fmt: skip
        if hasattr(params, "parameters"):
            raise TypeError(f"optim: pass the parameters of the {type(params).__name__}, .parameters(), not itself")
        params = list(params)
        if not params:
            raise ValueError("optim: the parameter list is empty; was it an iterator that is used up?")
        for group in params if isinstance(params[0], dict) else [{"params": params}]:
            self.add_param_group(group)

    def __getstate__(self):
        return {**self.__dict__, "state": self._by_number(self.state)}

    def __setstate__(self, saved):
        self.__dict__.update(saved)
        self.state = self._by_identity(saved["state"])

    def _tensors(self):
        return [p for group in self.param_groups for p in group["params"]]

    def _by_number(self, state):
        """``state`` with parameters by their number, which copies and files keep."""
        number = {id(p): i for i, p in enumerate(self._tensors())}
        return {number.get(key, key): value for key, value in state.items()}

    def _by_identity(self, state):
        tensors = self._tensors()
        return {id(tensors[key]) if isinstance(key, int) else key: value for key, value in state.items()}

    def add_param_group(self, group: dict) -> None:
        """Add parameters with settings of their own."""
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError('optim: a parameter group is a dict {"params": [...], ...} with settings of its own; got '
                            f"{sorted(group) if isinstance(group, dict) else type(group).__name__}")  # fmt: skip
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
        check_settings(group)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:  # one that was frozen since holds none
                    p.grad = None if set_to_none else dif.zeros_like(p.grad)

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
        number = {id(p): i for i, p in enumerate(self._tensors())}
        groups = [
            {**{k: v for k, v in g.items() if k != "params"}, "params": [number[id(p)] for p in g["params"]]}
            for g in self.param_groups
        ]
        state = self._by_number(self.state)
        return {"state": {key: _copied(value) for key, value in state.items()}, "param_groups": groups}

    def load_state_dict(self, saved: dict) -> None:
        """Continue from `state_dict` of an optimizer with the same groups."""
        if not {"state", "param_groups"} <= set(saved):
            raise ValueError(f"optim: this is not the state_dict of an optimizer; it holds {sorted(map(str, saved))}")
        sizes = [len(g["params"]) for g in saved["param_groups"]]
        if sizes != [len(g["params"]) for g in self.param_groups]:
            raise ValueError(f"optim: the saved groups have {sizes} parameters, these have "
                             f"{[len(g['params']) for g in self.param_groups]}")  # fmt: skip
        settings = [{k: v for k, v in old.items() if k != "params"} for old in saved["param_groups"]]
        for group, old in zip(self.param_groups, settings, strict=True):
            self._check_saved(group["params"], {**group, **old}, saved)
        for group, old in zip(self.param_groups, settings, strict=True):
            group.update(old)
        self.state = self._by_identity({key: _copied(value) for key, value in saved["state"].items()})

    def _check_saved(self, tensors, settings, saved) -> None:
        """Raise if what was saved does not fit the parameters of a group."""

    def __repr__(self):
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            settings = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} parameters, {settings}")
        return "\n".join([*lines, ")"])


def _copied(value):
    return {k: [a.copy() for a in v] if isinstance(v, (list, tuple)) else v for k, v in value.items()}
