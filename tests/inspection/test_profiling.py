"""Where the time goes: the table of fit(profile=True)."""

import numpy as np
import pytest

import nnbackend as nnb

LAYERS = (
    nnb.Dense(8, activation="relu"),
    nnb.Dropout(0.2),
    nnb.Residual([nnb.Dense(8)]),
    nnb.Dense(3, activation="softmax"),
)


def fit(profile, verbose=0, **options):
    rng = np.random.default_rng(0)
    net = nnb.Network(LAYERS, **options)
    history = net.fit(
        rng.normal(size=(30, 5)),
        rng.integers(0, 3, 30),
        loss="softmax_cross_entropy",
        epochs=2,
        batch_size=8,
        profile=profile,
        verbose=verbose,
    )
    return net, history


def test_profile_has_each_layer_and_counts_each_step():
    _, history = fit(profile=True)
    profile = history.profile.to_dict()
    assert list(profile["layers"]) == ["0 Dense", "1 Dropout", "2 Residual", "3 Dense"]
    assert profile["steps"] == 8
    parts = [t[way] for t in profile["layers"].values() for way in ("forward", "backward")]
    assert all(seconds > 0 for seconds in parts)
    assert sum(parts) + profile["loss"] + profile["rest"] == pytest.approx(profile["seconds"])


def test_the_floor_is_that_of_dense_layers():
    floors = {n: t["floor"] for n, t in fit(profile=True)[1].profile.to_dict()["layers"].items()}
    assert floors["0 Dense"] > 0
    assert floors["3 Dense"] > 0
    assert floors["1 Dropout"] is None


def test_measuring_changes_no_result():
    plain, measured = fit(profile=False)[0], fit(profile=True)[0]
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(measured.state_dict()[name], value, err_msg=name)
    assert fit(profile=False)[1].profile is None


def test_table_is_printed_to_stderr_unless_silenced(capsys):
    fit(profile=True, verbose=0)
    assert capsys.readouterr().err == ""
    _, history = fit(profile=True, verbose=None)
    assert str(history.profile) in capsys.readouterr().err
    assert "8 steps in" in str(history.profile)


def test_compiled_backend_is_refused():
    pytest.importorskip("jax")
    with pytest.raises(ValueError, match="jax compiles whole steps"):
        fit(profile=True, backend="jax")
