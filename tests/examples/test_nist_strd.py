import pytest


def check(result):
    # NIST certifies eleven digits; the standard deviations of Lanczos1 are roundoff
    assert min(result["parameters"].values()) >= 10, result["parameters"]
    assert min(d for name, d in result["deviations"].items() if name != "Lanczos1") >= 8, result["deviations"]


def test_every_fourth_set(example):
    check(example("nist_strd").main(small=True))


@pytest.mark.slow
def test_all_27_sets(example):
    check(example("nist_strd").main())
