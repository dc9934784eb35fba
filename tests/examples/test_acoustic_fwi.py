def test_field_adjoint_and_inversion(example):
    result = example("acoustic_fwi").main(small=True)
    assert result["hankel"] < 0.01
    assert max(result["adjoint"]) < 1e-12
    assert result["down"] > 5
