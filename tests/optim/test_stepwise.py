"""Stepwise optimizers: complex and frozen parameters, copies and files, wrong settings and wrong closures."""

import copy
import pickle

import numpy as np
import pytest

import difftensor as dif
import optim

KINDS = ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Rprop"]


def leaf(values):
    return dif.tensor(np.array(values), requires_grad=True)


def train(opt, steps):
    """Steps on a function that is not the same in all variables."""
    for _ in range(steps):
        opt.zero_grad()
        sum(dif.sum((k + 1) * abs(p - 1) ** 4) for k, p in enumerate(opt.param_groups[0]["params"])).backward()
        opt.step()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [3, 40000], ids=["small", "blocks"])
@pytest.mark.parametrize("host", [True, False], ids=["ndarrays", "tensors"])
def test_complex_parameters_are_pairs_of_reals(name, size, host, monkeypatch):
    monkeypatch.setattr("optim.stepwise.by_kernel.on_host", lambda tensor: host)
    rng = np.random.default_rng(5)
    a, b, c = rng.normal(size=(3, size))
    z, x, y = leaf(a + 1j * b), leaf(a), leaf(b)
    settings = {} if name == "Rprop" else {"weight_decay": 0.1}
    settings |= {"momentum": 0.5} if name in ("SGD", "RMSprop") else {}
    opt, pair = (getattr(optim, name)(p, lr=0.05, **settings) for p in ([z], [x, y]))
    for k in range(5):
        opt.zero_grad()
        dif.sum(abs(z * (1 + k) - c) ** 2).backward()
        opt.step()
        pair.zero_grad()
        dif.sum((x * (1 + k) - c) ** 2 + (y * (1 + k)) ** 2).backward()
        pair.step()
    np.testing.assert_allclose(z.detach().numpy(), x.detach().numpy() + 1j * y.detach().numpy(), rtol=1e-9, atol=1e-12)
    again = getattr(optim, name)([z], lr=0.05, **settings)
    again.load_state_dict(opt.state_dict())


def test_complex_parameters_of_lbfgs():
    z, center = leaf([1 + 2j, -0.5j]), np.array([0.3 + 0.4j, 2 - 1j])
    opt = optim.LBFGS([z])

    def closure():
        loss = dif.sum(abs(z - center) ** 2 * [1, 3])
        loss.backward()
        return loss

    opt.step(closure)
    np.testing.assert_allclose(z.detach().numpy(), center, atol=1e-7)


def test_gradients_of_complex_parameters_are_clipped_by_their_length():
    z, x = leaf([1 + 2j]), leaf([3.0, 1.0])
    z.grad, x.grad = np.array([3 + 4j]), np.array([0.0, 12.0])
    assert optim.clip_grad_norm_([z, x], 1.0) == pytest.approx(13.0)
    np.testing.assert_allclose(z.grad.numpy(), [(3 + 4j) / 13], rtol=1e-6)
    with pytest.raises(TypeError, match="no order"):
        optim.clip_grad_value_([z], 0.1)
    for order, size in ((1, 7.0), (np.inf, 4.0)):
        x.grad = np.array([3.0, -4.0])
        assert optim.clip_grad_norm_(x, 100.0, order).item() == size
    x.grad = np.array([np.inf, 1.0])
    with pytest.raises(ValueError, match="cannot be clipped"):
        optim.clip_grad_norm_([x], 1.0, error_if_nonfinite=True)


def test_rules_refuse_complex_gradients():
    g = np.array([1.0 + 1j])
    for rule in (optim.rules.adam(), optim.rules.clip(1.0)):
        with pytest.raises(TypeError, match="real"):
            rule.update(g, rule.start(g), g)
    step, _ = optim.rules.clip_by_norm(1.0).update(np.array([3 + 4j]), (), g)
    np.testing.assert_allclose(step, [0.6 + 0.8j])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))], ids=["copy", "file"])
@pytest.mark.parametrize("name", KINDS)
def test_copies_go_on_as_the_original(name, copied):
    """Their state belongs to their own parameters (moments began anew, because it was known by the old ones)."""
    settings = {"momentum": 0.9} if name == "SGD" else {}
    opt = getattr(optim, name)([leaf([3.0, -2.0]), leaf([0.5])], lr=0.01, **settings)
    train(opt, 5)
    other = copied(opt)
    train(opt, 3)
    train(other, 3)
    assert len(other.state) == 2
    for p, q in zip(opt.param_groups[0]["params"], other.param_groups[0]["params"], strict=True):
        assert p is not q and (p.detach().numpy() == q.detach().numpy()).all()


def test_parameters_frozen_on_the_way():
    w, v = leaf([1.0, 2.0]), leaf([3.0])
    opt = optim.Adam([w, v], lr=0.1)
    train(opt, 2)
    w.requires_grad = False
    before = w.numpy(copy=True)
    train(opt, 2)
    assert (w.numpy() == before).all() and len(opt.state) == 2


def test_states_that_belong_elsewhere():
    opt = optim.SGD([leaf([1.0, 2.0])], lr=0.1, momentum=0.9)
    train(opt, 1)
    one = optim.Adam([leaf([1.0])])
    train(one, 1)
    adam = optim.Adam([leaf([1.0, 2.0])], lr=0.5)
    for saved in (opt.state_dict(), one.state_dict()):
        with pytest.raises(ValueError, match="another rule or to other parameters"):
            adam.load_state_dict(saved)
    assert adam.param_groups[0]["lr"] == 0.5  # nothing was taken over
    theirs = {"state": {0: {"step": 1, "exp_avg": 0.0}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    with pytest.raises(ValueError, match="not saved by optim.Adam"):
        adam.load_state_dict(theirs)
    with pytest.raises(ValueError, match="not the state_dict"):
        adam.load_state_dict({"weight": 1.0})


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("Adam", {"betas": 0.9}, "two numbers"),
        ("Adam", {"betas": (0.9, 1.0)}, "betas"),
        ("Adam", {"lr": "fast"}, "lr must be a number"),
        ("SGD", {"momentum": -0.1}, "momentum"),
        ("SGD", {"nesterov": True}, "needs a momentum"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "no dampening"),
        ("RMSprop", {"alpha": 1.5}, "alpha"),
    ],
)
def test_settings_that_mean_nothing(name, settings, words):
    with pytest.raises(ValueError, match=words):
        getattr(optim, name)([leaf([1.0])], **settings)
    with pytest.raises(ValueError, match=words):
        getattr(optim.rules, name.lower())(**settings)


def test_settings_in_pytorchs_order():
    w = leaf([1.0])
    assert optim.SGD([w], 0.1, 0.9).param_groups[0]["momentum"] == 0.9
    assert optim.Adam([w], 0.1, (0.8, 0.9), 1e-6, foreach=True).param_groups[0]["eps"] == 1e-6
    with pytest.raises(TypeError, match="twice"):
        optim.SGD([w], 0.1, 0.9, momentum=0.8)


def test_what_is_no_list_of_parameters():
    w = leaf([1.0])

    class Net:
        def parameters(self):
            return [w]

    for params, words in (
        ({"w": w}, r"params\.values"),
        (Net(), r"\.parameters\(\)"),
        ([{"param": [w]}], "got \\['param'\\]"),
        ([{"params": [w]}, leaf([2.0])], "got Tensor"),
    ):
        with pytest.raises(TypeError, match=words):
            optim.Adam(params)


def test_closures_of_lbfgs():
    w = leaf([3.0, -2.0])
    opt = optim.LBFGS([w])
    with pytest.raises(ValueError, match=r"loss\.backward"):
        opt.step(lambda: dif.sum(w**2))
    with pytest.raises(TypeError, match="returned None"):
        opt.step(lambda: dif.sum(w**2).backward())

    def forgetful():  # no zero_grad: gradients of several points would add up
        loss = dif.sum((w - 1) ** 2 * [1, 10])
        loss.backward()
        return loss

    opt.step(forgetful)
    np.testing.assert_allclose(w.detach().numpy(), 1, atol=1e-7)
