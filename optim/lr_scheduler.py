"""Learning-rate schedulers for the stepwise optimizers, by PyTorch's names."""

from __future__ import annotations

import math
from bisect import bisect_right

from .rules import schedules


class LRScheduler:
    """Sets ``lr`` of every group to ``rate(group's first lr)(t)``, t being the number of calls of `step`.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        -1 for a fresh start.
    """

    def __init__(self, optimizer, last_epoch: int = -1):
        self.optimizer, self.last_epoch = optimizer, last_epoch
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def rate(self, lr, index):
        """The schedule of a group whose first learning rate is ``lr``."""
        raise NotImplementedError(f"{type(self).__name__} must define rate(lr, index)")

    def step(self) -> None:
        self.last_epoch += 1
        for i, (group, lr) in enumerate(zip(self.optimizer.param_groups, self.base_lrs, strict=True)):
            group["lr"] = self.rate(lr, i)(self.last_epoch)

    def get_last_lr(self) -> list:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict:
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, saved: dict) -> None:
        self.last_epoch, self.base_lrs = saved["last_epoch"], list(saved["base_lrs"])
        for i, (group, lr) in enumerate(zip(self.optimizer.param_groups, self.base_lrs, strict=True)):
            group["lr"] = self.rate(lr, i)(self.last_epoch)


class LambdaLR(LRScheduler):
    """The first learning rate times ``lr_lambda(t)``."""

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        many = isinstance(lr_lambda, (list, tuple))
        self.lambdas = list(lr_lambda) if many else [lr_lambda] * len(optimizer.param_groups)
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        return lambda t: lr * self.lambdas[index](t)


class StepLR(LRScheduler):
    """Multiplied by ``gamma`` after every ``step_size`` calls."""

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        return schedules.step(lr, self.step_size, self.gamma)


class MultiStepLR(LRScheduler):
    """Multiplied by ``gamma`` at each of the ``milestones``."""

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        return lambda t: lr * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """``lr gamma^t``."""

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        return schedules.exponential(lr, self.gamma)


class LinearLR(LRScheduler):
    """From ``start_factor`` to ``end_factor`` times the first learning rate: a warm-up."""

    def __init__(self, optimizer, start_factor=1 / 3, end_factor=1.0, total_iters=5, last_epoch=-1):
        self.ends, self.total_iters = (start_factor, end_factor), total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        return schedules.linear(lr * self.ends[0], lr * self.ends[1], self.total_iters)


class ConstantLR(LRScheduler):
    """``factor`` times the first learning rate in the first ``total_iters`` calls, then the whole."""

    def __init__(self, optimizer, factor=1 / 3, total_iters=5, last_epoch=-1):
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        return lambda t: lr * self.factor if t < self.total_iters else lr


class PolynomialLR(LRScheduler):
    """``lr (1 - t / total_iters)^power``, and 0 after that."""

    def __init__(self, optimizer, total_iters=5, power=1.0, last_epoch=-1):
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        return lambda t: lr * (1 - min(t / self.total_iters, 1)) ** self.power


class CosineAnnealingLR(LRScheduler):
    """Half a cosine down to ``eta_min`` in ``T_max`` calls, and up again after that."""

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        return lambda t: self.eta_min + 0.5 * (lr - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max))


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine down to ``eta_min`` in ``T_0`` calls, and again from the top, ``T_mult`` times as long each time
    (I. Loshchilov, F. Hutter, arXiv:1608.03983, eq. 5)."""

    def __init__(self, optimizer, T_0, T_mult=1, eta_min=0.0, last_epoch=-1):
        if not (T_0 > 0 and T_mult >= 1):
            raise ValueError(f"optim: T_0 must be positive and T_mult at least 1, got {T_0} and {T_mult}")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        def at(t):
            length = self.T_0
            while t >= length:
                t, length = t - length, length * self.T_mult
            return self.eta_min + 0.5 * (lr - self.eta_min) * (1 + math.cos(math.pi * t / length))

        return at


class OneCycleLR(LRScheduler):
    """Up to ``max_lr`` and down again within ``total_steps`` calls.

    Momentum stays as it is: PyTorch's with ``cycle_momentum=False``.
    """

    def __init__(self, optimizer, max_lr, total_steps, pct_start=0.3, div_factor=25.0, final_div_factor=1e4,
                 last_epoch=-1):  # fmt: skip
        self.max_lr, self.total_steps, self.pct_start = max_lr, total_steps, pct_start
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        most = self.max_lr[index] if isinstance(self.max_lr, (list, tuple)) else self.max_lr
        first = 1 / self.div_factor
        return schedules.one_cycle(most, self.total_steps, self.pct_start, first, first / self.final_div_factor)


class CyclicLR(LRScheduler):
    """Up from ``base_lr`` to ``max_lr`` and down again, over and over (L. N. Smith, arXiv:1506.01186).

    In mode "triangular2" every cycle is half as high, in "exp_range" the height is ``gamma^t``; ``scale_fn`` gives any
    other, of the number of the cycle or, with ``scale_mode="iterations"``, of t. Momentum stays as it is: PyTorch's
    with ``cycle_momentum=False``.
    """

    def __init__(self, optimizer, base_lr, max_lr, step_size_up=2000, step_size_down=None, mode="triangular", gamma=1.0,
                 scale_fn=None, scale_mode="cycle", last_epoch=-1):  # fmt: skip
        shapes = {
            "triangular": ("cycle", lambda k: 1.0),
            "triangular2": ("cycle", lambda k: 0.5 ** (k - 1)),
            "exp_range": ("iterations", lambda t: gamma**t),
        }
        if scale_fn is None and mode not in shapes:
            raise ValueError(f"optim: mode must be one of {', '.join(shapes)}, or give scale_fn; got {mode!r}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"optim: scale_mode must be 'cycle' or 'iterations', got {scale_mode!r}")
        self.scale_mode, self.scale = shapes[mode] if scale_fn is None else (scale_mode, scale_fn)
        self.up, self.down = step_size_up, step_size_up if step_size_down is None else step_size_down
        groups = len(optimizer.param_groups)
        self.ends = [(_of_group(base_lr, i, groups), _of_group(max_lr, i, groups)) for i in range(groups)]
        super().__init__(optimizer, last_epoch)

    def rate(self, lr, index):
        low, high = self.ends[index]

        def at(t):
            cycle, place = divmod(t, self.up + self.down)
            height = place / self.up if place <= self.up else 1 - (place - self.up) / self.down
            return low + (high - low) * height * self.scale(cycle + 1 if self.scale_mode == "cycle" else t)

        return at


def _of_group(value, index, groups):
    """The setting of one group, from one for all or a list."""
    if not isinstance(value, (list, tuple)):
        return value
    if len(value) != groups:
        raise ValueError(f"optim: {len(value)} learning rates for {groups} parameter groups")
    return value[index]


class SequentialLR:
    """One scheduler after the other: the next one begins, at its own t = 0, at each of the ``milestones``."""

    def __init__(self, optimizer, schedulers, milestones, last_epoch=-1):
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(f"optim: {len(schedulers)} schedulers need {len(schedulers) - 1} milestones, got "
                             f"{len(milestones)}")  # fmt: skip
        for scheduler in schedulers:
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(f"optim: SequentialLR takes schedulers whose step() needs no metric, got {scheduler!r}")
            if scheduler.optimizer is not optimizer:
                raise ValueError("optim: every scheduler must belong to the optimizer of the sequence")
        self.optimizer, self.schedulers, self.milestones = optimizer, list(schedulers), list(milestones)
        self.last_epoch = last_epoch + 1
        self._begin(0)

    def _begin(self, k):
        self.schedulers[k].last_epoch = -1
        self.schedulers[k].step()

    def step(self) -> None:
        self.last_epoch += 1
        k = bisect_right(self.milestones, self.last_epoch)
        if k and self.milestones[k - 1] == self.last_epoch:
            self._begin(k)
        else:
            self.schedulers[k].step()

    def get_last_lr(self) -> list:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict:
        return {"last_epoch": self.last_epoch, "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, saved: dict) -> None:
        self.last_epoch = saved["last_epoch"]
        k = bisect_right(self.milestones, self.last_epoch)
        order = [i for i in range(len(self.schedulers)) if i != k] + [k]  # the one at work sets lr last
        for i in order:
            self.schedulers[i].load_state_dict(saved["schedulers"][i])


class ReduceLROnPlateau:
    """Multiplies ``lr`` by ``factor`` when a metric has not improved for more than ``patience`` calls.

    An improvement is one by more than ``threshold``, relative to the best ("rel") or not ("abs"); changes of ``lr`` by
    ``eps`` or less are not made.
    """

    def __init__(self, optimizer, mode="min", factor=0.1, patience=10, threshold=1e-4, threshold_mode="rel", cooldown=0,
                 min_lr=0.0, eps=1e-8):  # fmt: skip
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"optim: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}")
        if mode not in ("min", "max"):
            raise ValueError(f"optim: mode must be 'min' or 'max', got {mode!r}")
        if not 0 < factor < 1:
            raise ValueError(f"optim: factor must lie between 0 and 1, got {factor}")
        self.optimizer, self.sign = optimizer, 1.0 if mode == "min" else -1.0
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.relative, self.cooldown, self.min_lr, self.eps = threshold_mode == "rel", cooldown, min_lr, eps
        self.best, self.bad, self.cooling, self.last_epoch = math.inf, 0, 0, 0

    def step(self, metrics) -> None:
        value = self.sign * float(getattr(metrics, "detach", lambda: metrics)())
        self.last_epoch += 1
        margin = self.threshold * (abs(self.best) if self.relative else 1.0)
        if not math.isfinite(self.best) or value < self.best - margin:
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.cooling > 0:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad > self.patience:
            for group in self.optimizer.param_groups:
                lr = max(group["lr"] * self.factor, self.min_lr)
                if group["lr"] - lr > self.eps:
                    group["lr"] = lr
            self.cooling, self.bad = self.cooldown, 0

    def get_last_lr(self) -> list:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, saved: dict) -> None:
        self.__dict__.update(saved)
