import inspect
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import difftensor as dif
import optim
from difftensor import nn


def problem(rng=0):
    rng = np.random.default_rng(rng)
    x = rng.normal(size=(120, 4))
    y = (x @ [1.0, -1.0, 2.0, 0.0] > 0).astype(int)
    return x, y


def parts(seed=0, lr=0.01, shared=False):
    """Everything random in one run: initial weights, dropout, order, and an optimizer with moments."""
    x, y = problem()
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(4, 16, rng=rng), nn.ReLU(), nn.BatchNorm1d(16), nn.Dropout(0.3, rng=rng),
                          nn.Linear(16, 2, rng=rng))  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=lr)
    loader = nn.data.Loader(x[:100], y[:100], batch_size=16, shuffle=True, rng=rng if shared else 5)
    return model, optimizer, loader, nn.data.Loader(x[100:], y[100:], batch_size=20)


ACCURACY = {"accuracy": lambda out, y: (out.numpy().argmax(1) == y).mean()}


def test_it_is_the_plain_loop():
    model, optimizer, loader, _ = parts()
    history = nn.fit(model, nn.functional.cross_entropy, loader, optimizer, epochs=3, progress=False)
    plain, optimizer, loader, _ = parts()
    losses = []
    for _ in range(3):
        total = 0.0
        for x, y in loader:
            loss = nn.functional.cross_entropy(plain(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        losses.append(total / 100)
    assert history.train == losses
    for a, b in zip(model.parameters(), plain.parameters()):
        np.testing.assert_array_equal(a.detach(), b.detach())


def test_validation_keeps_the_best_weights_and_stops():
    model, optimizer, loader, validation = parts(lr=0.05)
    history = nn.fit(model, nn.functional.cross_entropy, loader, optimizer, epochs=200, validation=validation,
                     metrics=ACCURACY, patience=5, progress=False)  # fmt: skip
    losses = [v["loss"] for v in history.validation]
    assert f"best after epoch {history.best_epoch}: validation loss {min(losses):.6g}, accuracy" in repr(history)
    assert history.stopped and history.epoch == history.best_epoch + 5 == len(losses)
    assert history.best_epoch == int(np.argmin(losses)) + 1
    found = nn.evaluate(model, nn.functional.cross_entropy, validation, ACCURACY)
    assert found == history.validation[history.best_epoch - 1] and found["accuracy"] > 0.8
    assert model.training


def run(path, epochs, stop=None, every=None, scheduler=False, shared=False):
    model, optimizer, loader, validation = parts(shared=shared)
    schedule = optim.lr_scheduler.StepLR(optimizer, 2) if scheduler else None

    def loss(out, y):
        loss.calls += 1
        if loss.calls == stop:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(out, y)

    loss.calls = 0
    history = nn.fit(model, loss, loader, optimizer, epochs=epochs, checkpoint=path, every=every, validation=validation,
                     scheduler=schedule, progress=False)  # fmt: skip
    return history, model


@pytest.mark.parametrize("shared", [False, True])  # one generator for the weights, dropout and the order
@pytest.mark.parametrize("stop, every, scheduler", [(11, None, False), (13, 2, True), (24, 1, True), (8, 7, False)])
def test_an_interrupted_run_goes_on_bit_for_bit(stop, every, scheduler, shared, tmp_path):
    whole, model = run(None, 4, scheduler=scheduler, shared=shared)
    path = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        run(path, 4, stop, every, scheduler, shared)
    assert path.exists()
    resumed, other = run(path, 4, every=every, scheduler=scheduler, shared=shared)
    assert resumed.train == whole.train and resumed.validation == whole.validation and resumed.step == whole.step
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, other.state_dict()[name])


def test_a_killed_process_goes_on_bit_for_bit(tmp_path):
    program = textwrap.dedent("""
        import os, signal, sys
        import numpy as np
        import optim
        from difftensor import nn
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(64, 3)), rng.integers(2, size=64)
        model = nn.Sequential(nn.Linear(3, 8, rng=rng), nn.Tanh(), nn.Dropout(0.2, rng=rng), nn.Linear(8, 2, rng=rng))
        data = nn.data.Loader(x, y, batch_size=8, shuffle=True, rng=1)
        calls = 0
        def loss(out, y):
            global calls
            calls += 1
            if calls == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            return nn.functional.cross_entropy(out, y)
        h = nn.fit(model, loss, data, optim.SGD(model.parameters(), lr=0.1, momentum=0.9), epochs=3,
                   checkpoint=sys.argv[1], every=3)
        print([v.hex() for v in h.train], float(sum(p.sum().item() for p in model.parameters())).hex())
    """)
    call = lambda path, kill: subprocess.run(
        [sys.executable, "-c", program, path, str(kill)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    whole = call(str(tmp_path / "whole.npz"), -1)
    assert whole.returncode == 0, whole.stderr
    killed = call(str(tmp_path / "a.npz"), 15)
    assert killed.returncode == -9 and not killed.stdout
    resumed = call(str(tmp_path / "a.npz"), -1)
    assert resumed.stdout == whole.stdout


def test_a_finished_run_is_not_trained_again(tmp_path):
    path = tmp_path / "run.npz"
    first, _ = run(path, 2)
    again, _ = run(path, 2, stop=None)
    assert again.train == first.train


def test_a_loss_that_is_not_a_number_is_named():
    model, optimizer, loader, _ = parts()
    with pytest.raises(FloatingPointError, match="step 1"):
        nn.fit(model, lambda out, y: out.sum() * np.nan, loader, optimizer, progress=False)


def test_the_loop_is_short():
    source = inspect.getsource(nn.fit)
    body = source[source.rindex('"""') :]
    assert len([line for line in body.splitlines() if line.strip()]) < 60


@pytest.mark.interop("matplotlib")
def test_the_curve():
    model, optimizer, loader, validation = parts()
    history = nn.fit(
        model, nn.functional.cross_entropy, loader, optimizer, epochs=2, validation=validation, progress=False
    )
    lines = history.plot().get_lines()
    assert lines[0].get_ydata().tolist() == history.train


@pytest.mark.peers("torch")
def test_batches_from_pytorchs_loader():
    import torch

    x, y = problem()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y)), batch_size=30)
    model = nn.Linear(4, 2, rng=0)
    history = nn.fit(
        model, nn.functional.cross_entropy, data, optim.SGD(model.parameters(), lr=0.5), epochs=5, progress=False
    )
    assert history.train[-1] < history.train[0]
    assert isinstance(model.weight, dif.Tensor)


def test_a_scheduler_that_watches_the_loss():
    for validation in (None, True):
        model, optimizer, loader, held = parts(lr=1e-9)
        schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.5)
        schedule.eps = 0.0
        nn.fit(model, nn.functional.cross_entropy, loader, optimizer, epochs=5, scheduler=schedule, progress=False,
               validation=held if validation else None)  # fmt: skip
        assert optimizer.param_groups[0]["lr"] == 1e-9 / 4


def test_an_iterator_that_is_used_up_is_noticed():
    model, optimizer, loader, _ = parts()
    with pytest.raises(ValueError, match="no batch in epoch 2"):
        nn.fit(model, nn.functional.cross_entropy, iter(list(loader)), optimizer, epochs=2, progress=False)
