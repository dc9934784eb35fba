"""The words: published answers, NumPy's compiled Philox word for word, positions, lanes, states, children."""

import copy
import ctypes
import json
import pickle
import shutil
import subprocess

import numpy as np
import pytest

import difftensor as dif
from difftensor._backend import philox
from difftensor._backend.device import CPU
from difftensor.random import Philox, SeedSequence

# counter, key, answer: the vectors that Random123 publishes for philox4x64 with 10 rounds (kat_vectors), of Salmon,
# Moraes, Dror, Shaw, SC11 (2011); the last of the digits of pi.
ANSWERS = [
    ("0000000000000000 " * 4, "0000000000000000 " * 2,
     "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    ("ffffffffffffffff " * 4, "ffffffffffffffff " * 2,
     "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
    ("243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89", "452821e638d01377 be5466cf34e90c6c",
     "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6"),
]  # fmt: skip
KEY = (12345678901234567890, 987654321)


def numbers(text):
    return [int(w, 16) for w in text.split()]


def numpys(key=KEY, counter=None):
    return np.random.Philox(key=np.array(key, dtype=np.uint64), counter=counter)


@pytest.mark.parametrize("counter, key, answer", ANSWERS)
def test_published_answers(counter, key, answer):
    found = philox.block(tuple(numbers(key)), [np.array([c], dtype=np.uint64) for c in numbers(counter)])
    assert [int(w[0]) for w in found] == numbers(answer)


def test_upper_half_of_a_product(rng):
    a = np.append(rng.integers(0, 2**64, 200, dtype=np.uint64), np.array([0, 1, 2**32, 2**64 - 1], dtype=np.uint64))
    for m in (*philox.MULTIPLIERS, 1, 2**32 - 1, 2**64 - 1):
        found = philox.product_high(a, *philox.halves(m))
        assert found.tolist() == [int(v) * m >> 64 for v in a.tolist()]


@pytest.mark.parametrize("start, n", [(0, 1001), (1, 5), (2, 9), (7, 1), (5, 0), (3, 998)])
def test_array_code_gives_numpys_words(start, n):
    expected = numpys().random_raw(1003)[start : start + n]
    assert (philox.words_in_a_row(np, KEY, start, n) == expected).all()
    assert (philox.words_at(KEY, np.arange(start, start + n, dtype=np.uint64)) == expected).all()
    assert (philox.words(KEY, start, n, CPU) == expected).all()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_kernels_source_gives_the_same_words(tmp_path):
    """The body of the CUDA kernel, compiled for the CPU."""
    program = """
    #include <stddef.h>
    static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
        return (unsigned long long)(((unsigned __int128)a * b) >> 64);
    }
    void words(unsigned long long k0, unsigned long long k1, unsigned long long first, unsigned long long lane,
               unsigned long long *w, ptrdiff_t size) { for (ptrdiff_t i = 0; i < size; ++i) { %s } }
    """
    (tmp_path / "philox.c").write_text(program % philox._SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", "philox.so", "philox.c"], cwd=tmp_path, check=True)
    words = ctypes.CDLL(str(tmp_path / "philox.so")).words
    w = np.empty(400, dtype=np.uint64)
    for start, lane in ((0, 0), (4000, 3), (8, 1 << 32)):
        numbers = (*KEY, start // 4 + 1, lane)
        words(*map(ctypes.c_ulonglong, numbers), w.ctypes.data_as(ctypes.c_void_p), ctypes.c_ssize_t(100))
        assert (w == philox.words_in_a_row(np, KEY, start, 400, lane)).all()


@pytest.mark.parametrize("lane", [1, 2, 1 << 32])
def test_lanes_are_the_highest_word_of_the_counter(lane):
    expected = numpys(counter=np.array([0, 0, 0, lane], dtype=np.uint64)).random_raw(50)
    assert (philox.words_in_a_row(np, KEY, 0, 50, lane) == expected).all()
    assert (philox.words_at(KEY, np.arange(50, dtype=np.uint64), lane) == expected).all()
    source = Philox(key=KEY[0] + (KEY[1] << 64))
    assert (source.words(3, 47, CPU, lane) == expected[3:]).all()
    assert (source.words(0, 9, CPU) == numpys().random_raw(9)).all()  # and back to the stream


@pytest.mark.parametrize("seed", [0, 7, 2**200 + 1, [1, 2, 3], SeedSequence(5, spawn_key=(3,))])
def test_seeds_are_numpys(seed):
    ours, theirs = Philox(copy.deepcopy(seed)), np.random.Philox(copy.deepcopy(seed))
    for n in (1, 3, 100_003, 2):
        assert (ours.random_raw(n) == theirs.random_raw(n)).all()
    assert ours.random_raw() == theirs.random_raw()
    assert ours.position == 100_010


def test_fresh_entropy():
    a, b = dif.random.default_rng(), dif.random.default_rng(None)
    assert a.state["key"] != b.state["key"]


def test_uniform_numbers_and_bytes_are_numpys():
    ours, theirs = dif.random.default_rng(3), np.random.Generator(np.random.Philox(3))
    for shape in (None, 5, (70_000, 2)):
        np.testing.assert_array_equal(ours.random(shape).numpy(), theirs.random(shape))
    single = dif.random.default_rng(3).random(1001, dtype=np.float32)
    np.testing.assert_array_equal(
        single.numpy(), np.random.Generator(np.random.Philox(3)).random(1001, dtype=np.float32)
    )
    assert dif.random.default_rng(3).bytes(13) == np.random.Philox(3).random_raw(2).astype("<u8").tobytes()[:13]


# Going on from where one was ----------------------------------------------------------------------------------------


def draws(rng):
    return [
        rng.normal(size=3), rng.integers(10, size=5), rng.gamma(0.3, size=4), rng.poisson(20.0, 3), rng.permutation(5),
        rng.random(3, dtype=np.float32), rng.standard_normal(),
    ]  # fmt: skip


def same(a, b):
    return all((x == y).all() for x, y in zip(a, b, strict=True))


def test_a_state_is_plain_numbers_and_resumes():
    rng = dif.random.default_rng(11)
    rng.standard_gamma(2.0, 7)
    state = json.loads(json.dumps(rng.state))
    expected = draws(rng)
    for other in (dif.random.default_rng(99), rng):
        other.state = state
        assert same(draws(other), expected)


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, lambda g: pickle.loads(pickle.dumps(g))])
def test_copies_go_on_by_themselves(again):
    rng = dif.random.default_rng(4)
    rng.normal(size=5)
    twin = again(rng)
    assert twin.device == rng.device
    if again is not copy.copy:  # which shares the source of words, as NumPy's does
        assert same(draws(twin), draws(rng))
        assert [c.state for c in twin.spawn(2)] == [c.state for c in rng.spawn(2)]


def test_how_far_a_draw_moves_on_depends_on_its_shape_alone():
    def used(draw):
        rng = dif.random.default_rng(np.random.SeedSequence().entropy)
        draw(rng)
        return rng.state["position"]

    for draw in (
        lambda g: g.standard_gamma(0.2, 1000), lambda g: g.vonmises(0.0, 3.0, 1000), lambda g: g.poisson(1e3, 1000),
        lambda g: g.integers(0, 3 * 2**61, 1000), lambda g: g.zipf(1.5, 1000), lambda g: g.normal(0, 1, (10, 100)),
    ):  # fmt: skip
        assert len({used(draw) for _ in range(3)}) == 1


def test_blocks_do_not_show():
    """Large draws are made in pieces; the first numbers are those of a small draw."""
    for draw in (
        lambda g, n: g.normal(size=n), lambda g, n: g.standard_gamma(0.5, n), lambda g, n: g.integers(1000, size=n),
        lambda g, n: g.integers(3 * 2**60, size=n), lambda g, n: g.poisson(50.0, n),
        lambda g, n: g.vonmises(0.0, 1.0, n),
    ):  # fmt: skip
        large, small = draw(dif.random.default_rng(8), 70_001), draw(dif.random.default_rng(8), 50)
        np.testing.assert_array_equal(large.numpy()[:50], small.numpy())


def test_rejections_come_from_the_same_places_however_they_are_computed(monkeypatch):
    """Words by array code for few elements, by NumPy's compiled generator for many."""
    from difftensor.random import _rejection

    draws = [lambda g: g.standard_gamma(0.7, 3000), lambda g: g.vonmises(0.0, 2.0, 3000)]
    usual = [draw(dif.random.default_rng(1)).numpy() for draw in draws]
    for sparse in (0, 10**9):
        monkeypatch.setattr(_rejection, "_SPARSE", sparse)
        for draw, expected in zip(draws, usual, strict=True):
            np.testing.assert_array_equal(draw(dif.random.default_rng(1)).numpy(), expected)


def test_a_numpy_philox_is_taken_over():
    theirs = np.random.Philox(21)
    theirs.random_raw(7)
    ours = dif.random.default_rng(theirs)
    np.testing.assert_array_equal(ours.bit_generator.random_raw(9), theirs.random_raw(9))
    theirs = np.random.Generator(np.random.Philox(21))
    theirs.random(dtype=np.float32)  # half a word
    with pytest.raises(ValueError, match="inside a word"):
        dif.random.default_rng(theirs.bit_generator)


def test_advance():
    a, b = Philox(2), Philox(2)
    b.random_raw(10)
    assert a.advance(10).random_raw() == b.random_raw()


# Children -----------------------------------------------------------------------------------------------------------


def test_children_are_numpys_and_independent():
    ours, theirs = dif.random.default_rng(5), np.random.Generator(np.random.Philox(5))
    first, second = ours.spawn(2)
    for a, b in zip((first, second), theirs.spawn(2), strict=True):
        np.testing.assert_array_equal(a.random(5).numpy(), b.random(5))
    (third,) = ours.spawn(1)
    assert len({tuple(g.state["key"]) for g in (ours, first, second, third)}) == 4
    x = np.stack([g.standard_normal(20_000).numpy() for g in (ours, first, second, third)])
    correlations = np.corrcoef(x)[np.triu_indices(4, 1)]
    assert abs(correlations).max() < 4 / np.sqrt(20_000)
    assert ours.state["position"] == 20_000  # spawning draws nothing


def test_a_key_has_no_children():
    with pytest.raises(TypeError, match="spawning"):
        dif.random.default_rng(Philox(key=3)).spawn(1)


# Wrong calls --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [np.random.default_rng(0), np.random.PCG64(0), np.random.RandomState(0)])
def test_generators_of_another_algorithm_are_refused(other):
    with pytest.raises(TypeError, match="Pass a seed"):
        dif.random.default_rng(other)
    with pytest.raises(TypeError, match="default_rng"):
        dif.random.Generator(other)


def test_bad_states():
    rng = dif.random.default_rng(0)
    for bad in (3, {}, {"bit_generator": "PCG64"}, {"bit_generator": "Philox", "key": [1], "position": 0},
                {"bit_generator": "Philox", "key": [1, 2**64], "position": 0},
                {"bit_generator": "Philox", "key": [1, 2], "position": -1}):  # fmt: skip
        with pytest.raises(ValueError, match="Philox"):
            rng.state = bad
    with pytest.raises(ValueError, match="both"):
        Philox(1, key=2)
    with pytest.raises((TypeError, ValueError)):
        dif.random.default_rng(-1)
    with pytest.raises(ValueError, match="not known"):
        dif.random.default_rng(0, device="tpu")


@pytest.mark.parametrize("name", sorted(set(np.random.__all__) - set(dif.random.__all__)))
def test_names_with_a_hidden_state_say_what_to_use(name):
    with pytest.raises(AttributeError, match=rf"np\.random\.{name} is left out .*default_rng\(seed\)"):
        getattr(dif.random, name)


def test_what_the_remedies_name_exists():
    from difftensor.random import _METHODS

    for name in set(np.random.__all__) - set(dif.random.__all__):
        method = _METHODS.get(name, name).partition("(")[0].partition(" ")[0]
        assert (
            name == "seed"
            or name[0].isupper()
            or name.startswith(("MT", "PCG", "SFC"))
            or hasattr(dif.random.Generator, method)
        )


def test_default_rng_returns_a_generator_as_it_is():
    rng = dif.random.default_rng(0)
    assert dif.random.default_rng(rng) is rng
    source = rng.bit_generator
    assert dif.random.default_rng(source).bit_generator is source
    assert isinstance(rng, dif.random.Generator)


def test_threads_draw_disjoint_words():
    from concurrent.futures import ThreadPoolExecutor

    rng = dif.random.default_rng(6)
    with ThreadPoolExecutor(8) as pool:
        found = np.concatenate(list(pool.map(lambda _: rng.random(1000).numpy(), range(64))))
    np.testing.assert_array_equal(np.sort(found), np.sort(dif.random.default_rng(6).random(64_000).numpy()))
