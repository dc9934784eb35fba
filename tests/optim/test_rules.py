"""First-order rules and stepwise optimizers, step by step against PyTorch."""

import copy
import pickle

import numpy as np
import pytest

import difftensor as dif
import optim
from optim import rules

torch = pytest.importorskip("torch")

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True}),
    ("Adagrad", {"lr": 0.3, "lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    ("Adadelta", {"lr": 1.0, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.01}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.9), "maximize": True}),
    ("Rprop", {"lr": 0.1}),
    ("Rprop", {"lr": 0.1, "etas": (0.4, 1.3), "step_sizes": (1e-3, 0.5), "maximize": True}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.01}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.01, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.01}),
]


def loss(tensors, k, sin):
    a, b = tensors
    # moves with k, and convex, so that roundings do not grow
    return 0.3 * sin(a + 0.1 * k).sum() + (a**2).sum() + 0.5 * (b**2).sum() + 0.2 * k * b.sum()


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("size", [4, 40000], ids=["small", "blocks"])
def test_same_course_as_pytorch(name, settings, size):
    rng = np.random.default_rng(11)
    first = [rng.normal(size=size), rng.normal(size=(2, 3))]
    ours = [dif.tensor(a, requires_grad=True) for a in first]
    theirs = [torch.tensor(a.copy(), requires_grad=True) for a in first]
    opt, peer = getattr(optim, name)(ours, **settings), getattr(torch.optim, name)(theirs, **settings)
    for k in range(8 if size > 100 else 30):
        opt.zero_grad()
        loss(ours, k, dif.sin).backward()
        opt.step()
        peer.zero_grad()
        loss(theirs, k, torch.sin).backward()
        peer.step()
    # PyTorch keeps Nadam's product of momenta in single precision
    close = {"rtol": 1e-5, "atol": 1e-6} if name == "NAdam" else {"rtol": 1e-9, "atol": 1e-11}
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), **close)


def test_decay_that_is_off_in_one_group_only():
    """Decoupled decay with a group of biases that do not decay, as training scripts write it."""

    def run(package, leaf):
        w, b = leaf([1.0, -2.0]), leaf([0.5])
        opt = package.AdamW([{"params": [w]}, {"params": [b], "weight_decay": 0.0}], lr=0.1, weight_decay=0.02)
        for _ in range(5):
            opt.zero_grad()
            ((w * b - 1) ** 2).sum().backward()
            opt.step()
        return [p.detach().numpy() for p in (w, b)]

    ours = run(optim, lambda a: dif.tensor(a, requires_grad=True))
    theirs = run(torch.optim, lambda a: torch.tensor(a, dtype=torch.float64, requires_grad=True))
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-12)


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_kernels_run_on_tensors(name, monkeypatch):
    """The path that parameters on a GPU take, which never asks for an ndarray, here with Tensors on the host."""
    rng = np.random.default_rng(3)
    first = [rng.normal(size=5), rng.normal(size=(2, 3))]
    courses = []
    for host in (True, False):
        monkeypatch.setattr("optim.stepwise.by_kernel.on_host", lambda tensor, host=host: host)
        tensors = [dif.tensor(a.copy(), requires_grad=True) for a in first]
        opt = getattr(optim, name)(tensors, lr=0.1, **({} if name == "Rprop" else {"weight_decay": 0.01}))
        for k in range(10):
            opt.zero_grad()
            loss(tensors, k, dif.sin).backward()
            opt.step()
        saved = opt.state_dict()
        opt.load_state_dict(saved)
        kinds = {type(a) for s in opt.state.values() for a in s["arrays"]}
        assert kinds <= ({np.ndarray} if host else {dif.Tensor})
        courses.append([p.detach().numpy() for p in tensors])
    for ours, theirs in zip(*courses, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_large_parameters_in_any_memory_order(name):
    a = np.random.default_rng(2).normal(size=(200, 300))
    ends = []
    for order in "CF":
        w = dif.tensor(np.array(a, order=order), requires_grad=True)
        opt = getattr(optim, name)([w], lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            dif.sum(w**4).backward()
            opt.step()
        ends.append(w.detach().numpy())
    assert abs(ends[0] - a).max() > 0.01
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-14)


def test_groups_and_state_dict_continue_the_course():
    def build():
        a = dif.tensor(np.array([1.0, 2.0]), requires_grad=True)
        b = dif.tensor(np.array([-1.0]), requires_grad=True)
        return (a, b), optim.Adam([{"params": [a], "lr": 0.3}, {"params": b}], lr=0.1, betas=(0.8, 0.9))

    def train(tensors, opt, steps):
        for _ in range(steps):
            opt.zero_grad()
            (dif.sum(tensors[0] ** 2) * tensors[1][0] ** 2 + dif.sum((tensors[0] - 1) ** 2)).backward()
            opt.step()

    tensors, opt = build()
    assert [g["lr"] for g in opt.param_groups] == [0.3, 0.1]
    train(tensors, opt, 5)
    saved, values = copy.deepcopy(opt.state_dict()), [t.detach().numpy().copy() for t in tensors]
    train(tensors, opt, 5)
    again, other = build()
    with dif.no_grad():
        for t, v in zip(again, values, strict=True):
            t[...] = v
    other.load_state_dict(saved)
    train(again, other, 5)
    for t, u in zip(tensors, again, strict=True):
        assert (t.detach().numpy() == u.detach().numpy()).all()


def test_parameters_without_gradient_are_left_alone():
    a, b = (dif.tensor(np.ones(2), requires_grad=True) for _ in range(2))
    opt = optim.Adam([a, b], lr=0.1)
    dif.sum(a**2).backward()
    opt.step()
    assert (b.detach().numpy() == 1).all() and (a.detach().numpy() < 1).all()


def test_closure_is_evaluated_and_returned():
    w = dif.tensor(np.array([2.0]), requires_grad=True)
    opt = optim.SGD([w], lr=0.25)

    def closure():
        opt.zero_grad()
        value = dif.sum(w**2)
        value.backward()
        return value

    assert float(opt.step(closure).detach()) == 4.0
    np.testing.assert_allclose(w.detach().numpy(), [1.0])


def test_subclass_with_step_only():
    class Signs(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            with dif.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p -= group["lr"] * dif.sign(p.grad)

    w = dif.tensor(np.array([1.0, -1.0]), requires_grad=True)
    opt = Signs([w], lr=0.5)
    dif.sum(w**2).backward()
    opt.step()
    np.testing.assert_allclose(w.detach().numpy(), [0.5, -0.5])


def test_wrong_calls():
    w = dif.tensor(np.ones(2), requires_grad=True)
    with pytest.raises(ValueError, match="empty"):
        optim.Adam([])
    with pytest.raises(TypeError, match="list"):
        optim.Adam(w)
    with pytest.raises(TypeError, match="Tensors"):
        optim.Adam([np.ones(2)])
    with pytest.raises(ValueError, match="leaf"):
        optim.Adam([w * 2])
    with pytest.raises(ValueError, match="twice"):
        optim.Adam([w, w])
    with pytest.raises(TypeError, match="no setting"):
        optim.Adam([w], momentum=0.9)


SCHEDULERS = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.01}),
    ("LinearLR", {"start_factor": 0.1, "total_iters": 4}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 3}),
    ("PolynomialLR", {"total_iters": 8, "power": 2.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 0.01}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 12}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 3}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 2, "step_size_down": 3, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9}),
    (
        "CyclicLR",
        {
            "base_lr": 0.1,
            "max_lr": 0.7,
            "step_size_up": 3,
            "scale_fn": lambda t: 1 / (1 + t),
            "scale_mode": "iterations",
        },
    ),
]


@pytest.mark.parametrize(("name", "settings"), SCHEDULERS)
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
def test_schedulers_follow_pytorchs(name, settings):
    ours = optim.SGD([dif.tensor(np.ones(1), requires_grad=True)], lr=0.4)
    theirs = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.4)
    a = getattr(optim.lr_scheduler, name)(ours, **settings)
    extra = {"cycle_momentum": False} if name in ("OneCycleLR", "CyclicLR") else {}
    b = getattr(torch.optim.lr_scheduler, name)(theirs, **settings, **extra)
    for _ in range(11):
        np.testing.assert_allclose(a.get_last_lr(), b.get_last_lr(), rtol=1e-12)
        a.step()
        theirs.step()
        b.step()


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
def test_schedulers_one_after_the_other():
    def build(package, leaf):
        opt = package.SGD([leaf], lr=0.4)
        s = package.lr_scheduler
        parts = [s.LinearLR(opt, 0.1, total_iters=3), s.ConstantLR(opt, 0.5, total_iters=2), s.ExponentialLR(opt, 0.9),
                 s.CosineAnnealingLR(opt, T_max=5)]  # fmt: skip
        return opt, s.SequentialLR(opt, parts, milestones=[3, 6, 9])

    mine, a = build(optim, dif.tensor(np.ones(1), requires_grad=True))
    theirs, b = build(torch.optim, torch.ones(1, requires_grad=True))
    saved = None
    rates = []
    for k in range(14):
        np.testing.assert_allclose(a.get_last_lr(), b.get_last_lr(), rtol=1e-12)
        if k == 7:
            saved = copy.deepcopy(a.state_dict())
        if k >= 7:
            rates.append(a.get_last_lr())
        for x in (mine, theirs, a, b):
            x.step()
    _, again = build(optim, dif.tensor(np.ones(1), requires_grad=True))
    again.load_state_dict(saved)
    for rate in rates:
        assert again.get_last_lr() == rate
        again.step()
    plateau = optim.lr_scheduler.ReduceLROnPlateau(mine)
    with pytest.raises(TypeError, match="no metric"):
        optim.lr_scheduler.SequentialLR(mine, [plateau, a.schedulers[0]], [3])
    with pytest.raises(ValueError, match="milestones"):
        optim.lr_scheduler.SequentialLR(mine, a.schedulers, [3])


def test_plateau_scheduler_follows_pytorchs():
    ours = optim.SGD([dif.tensor(np.ones(1), requires_grad=True)], lr=1.0)
    theirs = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
    a = optim.lr_scheduler.ReduceLROnPlateau(ours, patience=2, factor=0.5, cooldown=1)
    b = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, patience=2, factor=0.5, cooldown=1)
    a.step(dif.tensor(9.0, requires_grad=True) * 1)  # a loss as it is, with its tape
    b.step(9.0)
    for value in [3, 2, 2, 2, 2, 1.9, 1.9, 1.9, 1.9, 1.9, 1.9, 1, 1, 1, 1, 1]:
        a.step(value)
        b.step(value)
        assert a.get_last_lr() == [g["lr"] for g in theirs.param_groups]


def test_gradient_clipping_as_pytorch():
    g = np.array([3.0, 4.0])
    w, v = dif.tensor(np.ones(2), requires_grad=True), torch.ones(2, requires_grad=True, dtype=torch.float64)
    w.grad, v.grad = dif.asarray(g.copy()), torch.tensor(g)
    assert optim.clip_grad_norm_([w], 1.0) == pytest.approx(5.0)
    torch.nn.utils.clip_grad_norm_([v], 1.0)
    np.testing.assert_allclose(w.grad.numpy(), v.grad.numpy())


def test_chain_is_the_composition():
    x = np.array([1.0, -2.0, 0.5])
    r = rules.chain(rules.clip_by_norm(1.0), rules.adam(lr=0.1))
    plain = rules.adam(lr=0.1)
    s, t = r.start(x), plain.start(x)
    for g in (np.array([3.0, 4.0, 0.0]), np.array([0.1, 0.2, -0.2])):
        step, s = r.update(g, s, x)
        short = g / max(1.0, np.linalg.norm(g))
        expected, t = plain.update(short, t, x)
        np.testing.assert_allclose(step, expected, rtol=1e-14)


def test_schedule_inside_a_rule():
    r = rules.sgd(lr=rules.schedules.step(1.0, every=2, gamma=0.1))
    x, g = np.zeros(1), np.ones(1)
    state, steps = r.start(x), []
    for _ in range(5):
        step, state = r.update(g, state, x)
        steps.append(float(step[0]))
    np.testing.assert_allclose(steps, [-1, -1, -0.1, -0.1, -0.01])


@pytest.mark.parametrize("name", sorted(rules.KERNELS))
def test_rules_as_methods_of_minimize(name):
    lr = {"sgd": 0.05, "adadelta": 20.0, "adagrad": 0.5}.get(name, 0.02)
    result = optim.minimize(
        lambda x: (x[0] - 1) ** 2 + 2 * (x[1] + 1) ** 2, [0.0, 0.0], method=name, options={"lr": lr, "gtol": 1e-3}
    )
    assert result.method == name
    np.testing.assert_allclose(result.x, [1, -1], atol=0.02)


def test_lbfgs_with_a_closure():
    w = dif.tensor(np.array([-1.2, 1.0]), requires_grad=True)
    opt = optim.LBFGS([w], max_iter=10)

    def closure():
        opt.zero_grad()
        value = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        value.backward()
        return value

    losses = [float(opt.step(closure).detach()) for _ in range(8)]
    assert losses[0] == pytest.approx(24.2) and losses[-1] < 1e-10
    np.testing.assert_allclose(w.detach().numpy(), 1.0, atol=1e-6)


def test_lbfgs_takes_the_arguments_of_pytorch():
    """In their order, and a closure that returns a number."""
    ends = []
    for package, leaf in ((optim, dif.tensor), (torch.optim, torch.tensor)):
        w = leaf([-1.2, 1.0], requires_grad=True)
        opt = package.LBFGS([w], 1, 40, 60, 1e-9, 1e-12, 12, "strong_wolfe")

        def closure(w=w, opt=opt):
            opt.zero_grad()
            value = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
            value.backward()
            return value.item() if isinstance(w, dif.Tensor) else value

        first = opt.step(closure)
        assert (first if isinstance(first, float) else first.item()) == pytest.approx(24.2)
        ends.append(w.detach().numpy())
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-3)  # PyTorch's default is single precision
    assert optim.LBFGS([dif.tensor([1.0], requires_grad=True)], max_eval=7).param_groups[0]["max_eval"] == 7
    with pytest.raises(ValueError, match="strong_wolfe"):
        optim.LBFGS([dif.tensor([1.0], requires_grad=True)], line_search_fn="backtracking")


def test_lbfgs_continues_from_its_state_dict():
    """The memory of the method travels along, bit for bit."""
    found = []
    for interrupted in (False, True):
        w = dif.tensor([3.0, -2.0, 4.0, 1.0], requires_grad=True)
        opt = optim.LBFGS([w], max_iter=3)

        def closure(w=w):
            w.grad = None
            loss = ((w - 1) ** 4).sum() + (w[0] * w[1] - 1) ** 2
            loss.backward()
            return loss

        for k in range(6):
            if interrupted and k == 3:
                saved = pickle.loads(pickle.dumps(opt.state_dict()))
                opt = optim.LBFGS([w], max_iter=3)
                opt.load_state_dict(saved)
            opt.step(closure)
        found.append(w.detach().numpy())
    assert (found[0] == found[1]).all()


def test_plateaus_do_not_starve():
    w = dif.tensor([1.0], requires_grad=True)
    opt = optim.SGD([w], lr=0.1)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(opt, patience=0, threshold=0.5, threshold_mode="abs")
    for _ in range(40):
        plateau.step(1.0)
    assert 1e-9 < opt.param_groups[0]["lr"] < 1e-7
