"""Agreement with PyTorch: every layer, activation and loss, forward and gradients, in both precisions, same weights."""

import numpy as np
import pytest

import difftensor as dif
from difftensor import nn

pytestmark = [
    pytest.mark.peers("torch"),
    # announcements of PyTorch's about its own defaults
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides", "ignore:enable_nested_tensor is True"),
]

TOLERANCE = {np.float64: 1e-10, np.float32: 2e-4}


def tensors(x):
    """Arrays in nested tuples, flat."""
    if isinstance(x, (tuple, list)):
        return [t for v in x for t in tensors(v)]
    return [] if x is None else [x]


def compare(ours, theirs, inputs, dtype, rng, tolerance=None, **kwargs):
    """Values, and gradients by inputs and weights, of the random combination of all results."""
    import torch

    mine = [dif.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    other = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    y = tensors(ours(*mine, **kwargs))
    z = tensors(theirs(*other, **{k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()}))
    assert len(y) == len(z)
    tolerance = tolerance or TOLERANCE[dtype]
    loss, loss_other = 0, 0
    for a, b in zip(y, z):
        assert a.dtype == dtype and a.shape == tuple(b.shape)
        np.testing.assert_allclose(a.detach(), b.detach().numpy(), rtol=tolerance, atol=tolerance)
        r = rng.standard_normal(a.shape).astype(dtype)
        if a.requires_grad:
            loss, loss_other = loss + (a * r).sum(), loss_other + (b * torch.tensor(r)).sum()
    loss.backward()
    loss_other.backward()
    pairs = [(f"input {i}", a.grad, b.grad) for i, (a, b) in enumerate(zip(mine, other)) if a.requires_grad]
    if isinstance(ours, nn.Module):
        found = dict(ours.named_parameters())
        assert set(found) == set(dict(theirs.named_parameters()))
        pairs += [(name, found[name].grad, p.grad) for name, p in theirs.named_parameters()]
    for name, a, b in pairs:
        assert (a is None) == (b is None), name
        if a is not None:
            scale = max(1.0, float(b.abs().max()))
            np.testing.assert_allclose(a, b.numpy(), rtol=tolerance, atol=tolerance * scale, err_msg=name)


def same_weights(ours, theirs):
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in state.items()}
    ours.load_state_dict(state)


F = {
    "ReLU": (),
    "ReLU6": (),
    "LeakyReLU": (0.2,),
    "Threshold": (0.1, 20.0),
    "Hardtanh": (-0.5, 0.7),
    "Hardsigmoid": (),
    "Hardswish": (),
    "ELU": (0.7,),
    "CELU": (0.5,),
    "SELU": (),
    "GELU": (),
    "Sigmoid": (),
    "LogSigmoid": (),
    "SiLU": (),
    "Mish": (),
    "Softplus": (2.0, 5.0),
    "Softsign": (),
    "Tanh": (),
    "Tanhshrink": (),
    "Softshrink": (),
    "Hardshrink": (),
    "Softmax": (1,),
    "Softmin": (1,),
    "LogSoftmax": (1,),
    "GLU": (1,),
    "PReLU": (4,),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", F)
def test_activations(name, dtype, rng):
    import torch

    x = rng.normal(scale=3, size=(3, 4, 5)).astype(dtype)
    x[0, 0] = [0.0, 6.0, -3.0, 3.0, -0.0]  # where there are kinks
    if name in ("Hardsigmoid", "Hardswish"):
        x[0, 0] = 1.0  # PyTorch's derivatives at the kinks depend on the function
    theirs = getattr(torch.nn, name)(*F[name])
    ours = getattr(nn, name)(*F[name])
    if name == "PReLU":
        theirs, ours = theirs.to(getattr(torch, np.dtype(dtype).name)), ours.to(dtype=dtype)
    # PyTorch multiplies by 1/6 in single precision
    compare(ours, theirs, [x], dtype, rng, tolerance=1e-7 if name == "Hardsigmoid" and dtype == np.float64 else None)


def test_gelu_by_tanh(rng):
    import torch

    compare(nn.GELU("tanh"), torch.nn.GELU("tanh"), [rng.normal(size=20)], np.float64, rng)


LAYERS = [
    ("Linear", (4, 3), {}, [(5, 4)]),
    ("Linear", (4, 3), {"bias": False}, [(2, 5, 4)]),
    ("Linear", (4, 3), {}, [(4,)]),
    ("Bilinear", (3, 4, 2), {}, [(5, 3), (5, 4)]),
    ("CosineSimilarity", (), {}, [(5, 3), (5, 3)]),
    ("Flatten", (), {}, [(2, 3, 4)]),
    ("Unflatten", (1, (2, 3)), {}, [(4, 6)]),
    ("Conv1d", (4, 6, 3), {}, [(2, 4, 9)]),
    ("Conv1d", (4, 6, 3), {"padding": 2, "stride": 2, "groups": 2, "bias": False}, [(2, 4, 9)]),
    ("Conv1d", (2, 3, 4), {"padding": "same", "dilation": 2}, [(2, 2, 9)]),
    ("Conv1d", (2, 3, 40), {"padding": 7}, [(3, 2, 300)]),
    ("Conv2d", (1, 6, 5), {}, [(3, 1, 12, 12)]),
    ("Conv2d", (4, 4, 3), {"groups": 4, "padding": 1}, [(2, 4, 6, 7)]),
    ("Conv2d", (3, 4, (3, 2)), {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}, [(2, 3, 8, 9)]),
    ("Conv2d", (3, 4, 3), {}, [(3, 8, 9)]),
    ("Conv2d", (2, 3, 3), {"padding": 2, "padding_mode": "reflect"}, [(2, 2, 5, 6)]),
    ("Conv2d", (2, 3, 3), {"padding": 1, "padding_mode": "replicate"}, [(2, 2, 5, 6)]),
    ("Conv2d", (2, 3, 3), {"padding": 1, "padding_mode": "circular"}, [(2, 2, 5, 6)]),
    ("Conv3d", (2, 4, 3), {"stride": 2, "padding": 1, "groups": 2}, [(2, 2, 5, 6, 7)]),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1}, [(2, 4, 5)]),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "groups": 2, "dilation": 2}, [(2, 4, 5, 4)]),
    ("ConvTranspose2d", (4, 2, (2, 3)), {"padding": (0, 1), "bias": False}, [(4, 5, 4)]),
    ("ConvTranspose3d", (2, 3, 2), {"stride": 2}, [(2, 2, 3, 2, 3)]),
    ("MaxPool1d", (3, 2), {"padding": 1}, [(2, 3, 9)]),
    ("MaxPool2d", (2,), {}, [(2, 3, 6, 7)]),
    ("MaxPool2d", (3, 2), {"padding": 1, "ceil_mode": True}, [(2, 3, 6, 7)]),
    ("MaxPool2d", ((3, 2), 1), {"dilation": 2}, [(3, 6, 7)]),
    ("MaxPool3d", (2,), {}, [(2, 3, 4, 4, 5)]),
    ("AvgPool1d", (3, 2), {"padding": 1}, [(2, 3, 9)]),
    ("AvgPool2d", (3, 2), {"padding": 1, "count_include_pad": False}, [(2, 3, 6, 7)]),
    ("AvgPool2d", (3, 2), {"padding": 1, "ceil_mode": True}, [(2, 3, 6, 7)]),
    ("AvgPool2d", (2,), {"divisor_override": 3}, [(2, 3, 6, 7)]),
    ("AvgPool3d", (2,), {}, [(2, 3, 4, 4, 5)]),
    ("LPPool1d", (3.0, 2), {}, [(2, 3, 8)]),
    ("LPPool2d", (2.0, 2), {}, [(2, 3, 6, 6)]),
    ("AdaptiveAvgPool1d", (4,), {}, [(2, 3, 10)]),
    ("AdaptiveAvgPool2d", ((3, None),), {}, [(2, 3, 7, 8)]),
    ("AdaptiveAvgPool2d", (1,), {}, [(2, 3, 7, 8)]),
    ("AdaptiveAvgPool3d", (2,), {}, [(2, 3, 4, 5, 4)]),
    ("AdaptiveMaxPool1d", (4,), {}, [(2, 3, 10)]),
    ("AdaptiveMaxPool2d", ((3, 4),), {}, [(2, 3, 7, 8)]),
    ("AdaptiveMaxPool2d", (2,), {}, [(2, 3, 6, 8)]),
    ("AdaptiveMaxPool3d", (2,), {}, [(2, 3, 4, 5, 4)]),
    ("BatchNorm1d", (3,), {}, [(6, 3)]),
    ("BatchNorm1d", (3,), {"affine": False, "momentum": None}, [(6, 3, 4)]),
    ("BatchNorm2d", (3,), {}, [(2, 3, 4, 5)]),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, [(2, 3, 4, 5)]),
    ("BatchNorm3d", (3,), {}, [(2, 3, 4, 5, 2)]),
    ("InstanceNorm1d", (3,), {}, [(2, 3, 4)]),
    ("InstanceNorm2d", (3,), {"affine": True, "track_running_stats": True}, [(2, 3, 4, 5)]),
    ("InstanceNorm3d", (3,), {}, [(2, 3, 4, 5, 2)]),
    ("LayerNorm", ((4, 5),), {}, [(2, 3, 4, 5)]),
    ("LayerNorm", (5,), {"bias": False}, [(2, 5)]),
    ("GroupNorm", (2, 4), {}, [(2, 4, 3, 3)]),
    ("GroupNorm", (2, 4), {"bias": False}, [(2, 4, 3)]),
    ("BatchNorm1d", (3,), {"bias": False}, [(6, 3)]),
    ("InstanceNorm1d", (3,), {"affine": True, "bias": False}, [(2, 3, 4)]),
    ("RMSNorm", (5,), {}, [(2, 3, 5)]),
    ("RNN", (3, 4), {"num_layers": 2}, [(5, 2, 3)]),
    ("RNN", (3, 4), {"nonlinearity": "relu", "bidirectional": True, "batch_first": True}, [(2, 5, 3), (2, 2, 4)]),
    ("GRU", (3, 4), {"num_layers": 2, "bidirectional": True}, [(5, 2, 3)]),
    ("GRU", (3, 4), {"bias": False}, [(5, 3)]),
    ("LSTM", (3, 4), {"num_layers": 2, "bidirectional": True}, [(5, 2, 3)]),
    ("LSTM", (3, 4), {"bias": False, "batch_first": True}, [(2, 5, 3)]),
    ("LSTM", (3, 4), {}, [(5, 3)]),
    ("RNNCell", (3, 4), {}, [(2, 3), (2, 4)]),
    ("GRUCell", (3, 4), {}, [(2, 3), (2, 4)]),
    ("GRUCell", (3, 4), {"bias": False}, [(2, 3)]),
    ("LSTMCell", (3, 4), {}, [(2, 3)]),
    ("MultiheadAttention", (6, 2), {}, [(4, 2, 6), (5, 2, 6), (5, 2, 6)]),
    ("MultiheadAttention", (6, 3), {"kdim": 4, "vdim": 5, "batch_first": True}, [(2, 4, 6), (2, 5, 4), (2, 5, 5)]),
    ("MultiheadAttention", (6, 3), {"bias": False}, [(4, 6), (5, 6), (5, 6)]),
    ("MultiheadAttention", (6, 3), {"add_bias_kv": True}, [(4, 2, 6), (5, 2, 6), (5, 2, 6)]),
    (
        "MultiheadAttention",
        (6, 3),
        {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True},
        [(2, 4, 6), (2, 5, 6), (2, 5, 6)],
    ),
    ("TransformerEncoderLayer", (6, 2, 8), {"dropout": 0.0}, [(4, 2, 6)]),
    ("TransformerEncoderLayer", (6, 2, 8), {"dropout": 0.0, "norm_first": True, "activation": "gelu"}, [(4, 2, 6)]),
    ("TransformerDecoderLayer", (6, 2, 8), {"dropout": 0.0, "batch_first": True}, [(2, 4, 6), (2, 5, 6)]),
    ("Transformer", (6, 2, 2, 2, 8), {"dropout": 0.0}, [(4, 2, 6), (3, 2, 6)]),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name, args, kwargs, shapes", LAYERS, ids=[f"{i}-{c[0]}" for i, c in enumerate(LAYERS)])
def test_layers(name, args, kwargs, shapes, dtype, rng):
    import torch

    theirs = getattr(torch.nn, name)(*args, **kwargs).to(getattr(torch, np.dtype(dtype).name))
    ours = getattr(nn, name)(*args, **kwargs).to(dtype=dtype)
    same_weights(ours, theirs)
    inputs = [rng.normal(size=s).astype(dtype) for s in shapes]
    if name.startswith("LPPool"):
        inputs = [abs(x) for x in inputs]
    for _ in range(2):  # the second time with other running moments
        compare(ours, theirs, inputs, dtype, rng)
        for p in [*ours.parameters(), *theirs.parameters()]:
            p.grad = None
    for ours_state, theirs_state in zip(ours.state_dict().values(), theirs.state_dict().values()):
        np.testing.assert_allclose(ours_state, theirs_state.numpy(), rtol=1e-5, atol=TOLERANCE[dtype])
    ours.eval(), theirs.eval()
    if len(list(ours.buffers())):
        compare(ours, theirs, inputs, dtype, rng)


def test_names_in_order(rng):
    import torch

    for name, args in [("Transformer", (6, 2, 2, 2, 8)), ("LSTM", (3, 4, 2)), ("BatchNorm2d", (3,))]:
        ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
        assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
        assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize(
    "name, factory",
    [
        ("Linear", (50, 400)),
        ("Conv2d", (20, 100, 3)),
        ("LSTM", (30, 60)),
        ("Embedding", (200, 50)),
        ("ConvTranspose2d", (20, 100, 3)),
        ("MultiheadAttention", (60, 4)),
        ("Bilinear", (10, 20, 300)),
    ],
)
def test_initial_weights_are_distributed_alike(name, factory):
    import torch

    ours, theirs = getattr(nn, name)(*factory, rng=0), getattr(torch.nn, name)(*factory)
    for (key, a), b in zip(ours.named_parameters(), theirs.parameters()):
        a, b = a.detach().numpy(), b.detach().numpy()
        assert abs(a.std() - b.std()) <= 0.15 * b.std() and abs(abs(a).max() - abs(b).max()) <= 0.25 * abs(b).max(), key


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_embedding(dtype, rng):
    import torch

    theirs = torch.nn.Embedding(7, 3, padding_idx=2).to(getattr(torch, np.dtype(dtype).name))
    ours = nn.Embedding(7, 3, padding_idx=2).to(dtype=dtype)
    same_weights(ours, theirs)
    compare(ours, theirs, [rng.integers(7, size=(4, 5))], dtype, rng)


@pytest.mark.parametrize("causal", [False, True])
def test_masks(causal, rng):
    import torch

    q, k = rng.normal(size=(2, 4, 6)), rng.normal(size=(2, 4, 6))
    theirs = torch.nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64)
    ours = nn.MultiheadAttention(6, 2, batch_first=True)
    same_weights(ours, theirs)
    padding = np.array([[False, False, False, True], [False, False, True, True]])
    mask = np.triu(np.ones((4, 4), bool), 1) if causal else rng.random((4, 4)) < 0.3
    mask[:, 0] = False
    compare(
        ours, theirs, [q, k, k], np.float64, rng, key_padding_mask=padding, attn_mask=mask, average_attn_weights=False
    )
    for p in [*ours.parameters(), *theirs.parameters()]:
        p.grad = None
    compare(ours, theirs, [q, k, k], np.float64, rng, attn_mask=rng.normal(size=(4, 4, 4)))
    attend, other = nn.functional.scaled_dot_product_attention, torch.nn.functional.scaled_dot_product_attention
    compare(attend, other, [q, k, k], np.float64, rng, attn_mask=None if causal else ~mask, is_causal=causal)


def targets(kind, rng, dtype):
    """Inputs and targets for losses."""
    x = rng.normal(size=(4, 5)).astype(dtype)
    y = rng.normal(size=(4, 5)).astype(dtype)
    p = rng.uniform(0.05, 0.95, size=(4, 5)).astype(dtype)
    sign = rng.choice([-1, 1], size=(4, 5)).astype(dtype)
    image = rng.normal(size=(2, 5, 3, 2)).astype(dtype)
    ties = x + np.arange(5, dtype=dtype) - 2
    return {"real": (x, y), "class": (x, rng.integers(5, size=4)), "image": (image, rng.integers(5, size=(2, 3, 2))),
            "probability": (p, (y > 0).astype(dtype)), "logit": (x, p),
            "distribution": (np.log(p), p[::-1].copy()), "count": (abs(x), rng.integers(6, size=(4, 5)).astype(dtype)),
            "variance": (x, y, p), "sign": (x, sign), "pair": (x, y, sign), "pair rows": (x, y, sign[:, 0].copy()),
            "triple": (x, y, p), "soft": (x, p / p.sum(1, keepdims=True)), "ties": (x, ties),
            }[kind]  # fmt: skip


LOSSES = [
    ("MSELoss", {}, "real"), ("L1Loss", {}, "real"), ("L1Loss", {}, "ties"), ("SmoothL1Loss", {"beta": 0.5}, "real"),
    ("HuberLoss", {"delta": 0.7}, "real"), ("CrossEntropyLoss", {}, "class"), ("CrossEntropyLoss", {}, "image"),
    ("CrossEntropyLoss", {"label_smoothing": 0.2}, "class"), ("CrossEntropyLoss", {"label_smoothing": 0.2}, "soft"),
    ("CrossEntropyLoss", {"ignore_index": 2}, "image"), ("CrossEntropyLoss", {"weight": True}, "class"),
    ("CrossEntropyLoss", {"weight": True, "label_smoothing": 0.1}, "image"),
    ("CrossEntropyLoss", {"weight": True}, "soft"),
    ("NLLLoss", {}, "class"), ("NLLLoss", {"weight": True}, "image"), ("BCELoss", {}, "probability"),
    ("BCEWithLogitsLoss", {}, "logit"), ("BCEWithLogitsLoss", {"pos_weight": True}, "logit"),
    ("KLDivLoss", {}, "distribution"), ("KLDivLoss", {"log_target": True}, "real"), ("PoissonNLLLoss", {}, "count"),
    ("PoissonNLLLoss", {"log_input": False, "full": True}, "count"), ("GaussianNLLLoss", {"full": True}, "variance"),
    ("SoftMarginLoss", {}, "sign"), ("HingeEmbeddingLoss", {"margin": 0.5}, "sign"),
    ("MarginRankingLoss", {"margin": 0.3}, "pair"), ("CosineEmbeddingLoss", {"margin": 0.1}, "pair rows"),
    ("TripletMarginLoss", {"margin": 0.8}, "triple"), ("TripletMarginLoss", {"swap": True, "p": 3.0}, "triple"),
    ("MultiMarginLoss", {"p": 2, "margin": 0.7}, "class"), ("MultiMarginLoss", {"weight": True}, "class"),
    ("MultiLabelSoftMarginLoss", {}, "probability"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, settings, kind", LOSSES, ids=[f"{i}-{c[0]}" for i, c in enumerate(LOSSES)])
def test_losses(name, settings, kind, reduction, dtype, rng):
    import torch

    weight = rng.uniform(0.5, 2.0, size=5).astype(dtype)
    mine = {k: dif.asarray(weight) if k.endswith("weight") else v for k, v in settings.items()}
    other = {k: torch.tensor(weight) if k.endswith("weight") else v for k, v in settings.items()}
    ours, theirs = getattr(nn, name)(**mine, reduction=reduction), getattr(torch.nn, name)(**other, reduction=reduction)
    inputs = [np.ascontiguousarray(a) for a in targets(kind, rng, dtype)]
    constant = inputs[-1] if kind not in ("variance", "triple") else None
    call = (lambda f: lambda *xs: f(*xs)) if constant is None else None
    if call:
        compare(lambda *xs: ours(*xs), lambda *xs: theirs(*xs), inputs, dtype, rng)
    else:
        compare(
            lambda *xs: ours(*xs, constant), lambda *xs: theirs(*xs, torch.tensor(constant)), inputs[:-1], dtype, rng
        )


# why a layer of torch.nn is not in nn; docs/nn.md shows the same list
LEFT_OUT = {
    "AdaptiveLogSoftmaxWithLoss": "clusters of rare words: a composition of Linear and log_softmax",
    "LinearCrossEntropyLoss": "saves memory on GPUs; a Linear and cross_entropy",
    "CrossMapLRN2d": "LocalResponseNorm under an old name",
    "NLLLoss2d": "NLLLoss under an old name",
    "Container": "Module under an old name",
    "RNNBase": "a base class without meaning of its own",
    "RNNCellBase": "a base class without meaning of its own",
    "FractionalMaxPool2d": "random regions; hardly used",
    "FractionalMaxPool3d": "random regions; hardly used",
    "DataParallel": "several devices wait for difftensor.distributed",
    "SyncBatchNorm": "several devices wait for difftensor.distributed",
}


def test_every_layer_of_pytorch_exists_or_says_why():
    import inspect
    from pathlib import Path

    import torch

    theirs = {n for n, c in vars(torch.nn).items() if inspect.isclass(c) and issubclass(c, torch.nn.Module)}
    # lazy layers take their shapes from the first input; here shapes are known when a module is made
    missing = {n for n in theirs - set(dir(nn)) if not n.startswith("Lazy")}
    assert missing == set(LEFT_OUT)
    page = (Path(__file__).parents[2] / "docs" / "nn.md").read_text(encoding="utf-8")
    public = {n for n in LEFT_OUT if n not in ("Container", "RNNBase", "RNNCellBase")}
    assert not {n for n in public if n not in page and n.rstrip("123d") not in page}


def test_no_layer_was_forgotten():
    """Every layer, activation and loss of nn stands by name in a test that compares with PyTorch, or elsewhere."""
    from pathlib import Path

    found = {n for n in dir(nn) if n[0].isupper()}
    tested = {*F, *(c[0] for c in LAYERS), *(c[0] for c in LOSSES), "Embedding", "TransformerEncoder",
              "TransformerDecoder"}  # fmt: skip
    files = (Path(__file__).with_name(f"test_{name}.py") for name in ("arrangement", "losses", "parametrized"))
    more = "".join(file.read_text(encoding="utf-8") for file in files)
    elsewhere = {"Module", "Sequential", "ModuleList", "ModuleDict", "Lambda", "Identity", "Dropout", "Dropout1d",
                 "Dropout2d", "Dropout3d", "History", "Parameter", "PackedSequence"}  # fmt: skip
    assert not {n for n in found - tested - elsewhere if n not in more and f"{n[:-2]}{{n}}d" not in more}
