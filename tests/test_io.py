"""dif.io: trees of Tensors in .npz files, without pickle."""

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import difftensor as dif
from difftensor.errors import TrackedValueError


def same(a, b):
    if isinstance(a, dif.Tensor):
        return (
            isinstance(b, dif.Tensor)
            and a.requires_grad == b.requires_grad
            and same(a.detach().numpy(), b.detach().numpy())
        )
    if isinstance(a, (np.ndarray, np.generic)):
        return (
            type(a) is type(b)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        )
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def test_a_tree_comes_back(tmp_path):
    tree = {
        "w": dif.tensor([[1.0, 2.0]], requires_grad=True),
        "step": 7,
        "nested": [
            dif.zeros((0, 3), dtype=np.float32),
            (np.arange(3), np.float32(1.5)),
            None,
            True,
            2.5,
            1j,
            "text",
            float("nan"),
        ],
        "a/b": {"": dif.tensor(1.0), 3: dif.tensor(2.0)},
        "a": {"b/": dif.tensor([1j])},
        "file": np.bool_(True),
        "arrangement.json": np.zeros(1),
    }
    dif.io.save(tmp_path / "t.npz", tree)
    assert same(dif.io.load(tmp_path / "t.npz"), tree)
    with np.load(tmp_path / "t.npz") as archive:
        assert archive["w"].tolist() == [[1.0, 2.0]]
    assert [p.name for p in tmp_path.iterdir()] == ["t.npz"]


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.text(max_size=5),
    st.complex_numbers(),
    st.lists(st.floats(width=32), max_size=4).map(dif.tensor),
    st.lists(st.integers(0, 9), max_size=4).map(lambda v: np.array(v, int)),
)
trees = st.recursive(
    leaves,
    lambda kids: st.one_of(
        st.lists(kids, max_size=3),
        st.lists(kids, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), kids, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(trees)
def test_any_tree_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("io") / "t.npz"
    dif.io.save(path, tree)
    assert same(dif.io.load(path), tree)


def test_results_on_the_tape_are_refused(tmp_path):
    w = dif.tensor([1.0], requires_grad=True)
    with pytest.raises(TrackedValueError, match="/a/0.*detach"):
        dif.io.save(tmp_path / "t.npz", {"a": [w * 2]})
    assert not list(tmp_path.iterdir())


class Stranger:
    pass


@pytest.mark.parametrize(
    "odd", [Stranger(), {1.5: 1}, np.array([None]), np.array(["a"]), {1, 2}, np.ma.masked_array([1.0]), b"x"]
)
def test_what_only_pickle_could_save_is_refused(tmp_path, odd):
    with pytest.raises(TypeError, match="io.save"):
        dif.io.save(tmp_path / "t.npz", [odd])


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.npz"
    dif.io.save(path, 1)
    with pytest.raises(TypeError):
        dif.io.save(path, Stranger())
    assert dif.io.load(path) == 1


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        for name, data in members.items():
            z.writestr(name, data)
    return buffer.getvalue()


def npy(a, **keywords):
    buffer = io.BytesIO()
    np.save(buffer, a, **keywords)
    return buffer.getvalue()


def arranged(text):
    return npy(np.frombuffer(text, np.uint8))


NAME = "arrangement.json.npy"
HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "pickle": pickle.dumps(Bomb()),
    "npy": npy(np.zeros(3)),
    "npy of objects": npy(np.array([Bomb()], dtype=object), allow_pickle=True),
    "zip without arrangement": archive(**{"a.npy": npy(np.zeros(3))}),
    "pickle inside": archive(
        **{NAME: arranged(b'{"tensor": "a"}'), "a.npy": npy(np.array([Bomb()], dtype=object), allow_pickle=True)}
    ),
    "pickled arrangement": archive(**{NAME: npy(np.array([Bomb()], dtype=object), allow_pickle=True)}),
    "not json": archive(**{NAME: arranged(b"{")}),
    "unknown kind": archive(**{NAME: arranged(b'{"exec": "a"}'), "a.npy": npy(np.zeros(1))}),
    "missing array": archive(**{NAME: arranged(b'{"tensor": "b"}')}),
    "several kinds": archive(**{NAME: arranged(b'{"tensor": "a", "array": "a"}'), "a.npy": npy(np.zeros(1))}),
    "deep": archive(**{NAME: arranged(b"[" * 100_000 + b"]" * 100_000)}),
    "deep lists": archive(**{NAME: arranged(b'{"list": [' * 5000 + b"]}" * 5000)}),
    "integer leaf": archive(**{NAME: arranged(b'{"leaf": "a"}'), "a.npy": npy(np.zeros(1, int))}),
    "lying header": archive(
        **{NAME: arranged(b'{"tensor": "a"}'), "a.npy": npy(np.zeros(3)).replace(b"(3,)", b"(9,)")}
    ),
    "truncated": archive(**{NAME: arranged(b"1")})[:-30],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_and_never_unpickled(tmp_path, name):
    path = tmp_path / "t.npz"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ValueError, match="io.load"):
        dif.io.load(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        dif.io.load(tmp_path / "none.npz")


def test_numpy_save_and_load_keep_their_meaning(tmp_path):
    t = dif.tensor([1.0, 2.0])
    np.save(tmp_path / "a.npy", t)
    found = np.load(tmp_path / "a.npy")
    assert type(found) is np.ndarray and found.tolist() == [1.0, 2.0]
    np.savez(tmp_path / "b.npz", t=t)
    with np.load(tmp_path / "b.npz") as archive:
        assert archive["t"].tolist() == [1.0, 2.0]


def test_names_that_an_archive_cannot_hold(tmp_path):
    tree = {"a": np.array([1.0]), "a.npy": np.array([2.0]), "\x00": np.array([3.0]), "\ud800": np.array([4.0])}
    dif.io.save(tmp_path / "t.npz", tree)
    found = dif.io.load(tmp_path / "t.npz")
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in tree.items()}
