"""Python's garbage collector while a tape is written: fewer full collections, and the user's settings afterwards."""

import gc

import numpy as np
import pytest

import difftensor as dif


@pytest.fixture(autouse=True)
def thresholds():
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    gc.collect(1)
    yield
    gc.collect(1)
    gc.set_threshold(*before)


def written(operations):
    """A tape of so many operations, and what holds it."""
    x = dif.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(operations):
        y = y * 1.0
    return y


def test_full_collections_are_rarer_while_a_tape_is_written():
    tape = written(6000)
    gc.collect(1)
    assert gc.get_threshold() == (2800, 10, 100)
    gc.collect(1)  # nothing was recorded in between
    assert gc.get_threshold() == (700, 10, 10)
    tape.backward()


def test_little_recording_changes_nothing():
    written(100)
    gc.collect(1)
    assert gc.get_threshold() == (700, 10, 10)


def test_what_somebody_sets_meanwhile_stays():
    tape = written(6000)
    gc.collect(1)
    gc.set_threshold(500, 5, 5)
    gc.collect(1)
    assert gc.get_threshold() == (500, 5, 5)
    del tape


def test_young_cycles_are_collected_all_the_same():
    class Cycle:
        alive = 0

        def __init__(self):
            self.me = self
            Cycle.alive += 1

        def __del__(self):
            Cycle.alive -= 1

    def f(x):
        for _ in range(20_000):
            x = x * 1.0
            Cycle()
        return x

    assert dif.grad(f)(np.float64(1.0)) == 1.0
    assert Cycle.alive < 5_000
