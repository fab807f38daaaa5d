"""``--threads``: one thread of BLAS for small products."""

from __future__ import annotations

import pytest
from cli.commands import EXAM, PENGUINS, done, train_json

import nnbackend as nnb

threadpoolctl = pytest.importorskip("threadpoolctl")

SMALL, LARGE = ["--hidden", "8"], ["--hidden", "2048,2048", "--batch-size", "1024"]


def threads_now():
    found = threadpoolctl.threadpool_info()
    return {pool["num_threads"] for pool in found if pool["user_api"] == "blas"}


@pytest.fixture
def seen(monkeypatch):
    """The threads that BLAS has in each fit and each prediction, of two that it would use."""
    for name in ("OPENBLAS", "MKL", "OMP", "BLIS"):
        monkeypatch.delenv(f"{name}_NUM_THREADS", raising=False)
    counts = []

    def watch(function):
        def call(*arguments, **options):
            counts.append(threads_now())
            return function(*arguments, **options)

        return call

    for name in ("fit", "predict"):
        monkeypatch.setattr(nnb.Network, name, watch(getattr(nnb.Network, name)))
    with threadpoolctl.threadpool_limits(2):
        if threads_now() != {2}:
            pytest.skip("threadpoolctl knows no BLAS here")
        yield counts
        assert threads_now() == {2}


@pytest.mark.parametrize(
    ("options", "threads", "expected"),
    [
        (SMALL, [], 1),
        (LARGE, [], 2),
        (SMALL, ["--threads", "2"], 2),
        (LARGE, ["--threads", "1"], 1),
    ],
)
def test_small_products_have_one_thread(options, threads, expected, seen):
    train_json(PENGUINS, "--target", "species", "--epochs", "1", *options, *threads)
    done("predict", "model.safetensors", PENGUINS, *threads)
    done("evaluate", "model.safetensors", PENGUINS, *threads)
    assert len(seen) > 3
    assert all(count == {expected} for count in seen)


def test_the_environment_has_its_way(seen, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    done("train", EXAM, "--target", "score", "--quiet", "--epochs", "1", *SMALL)
    assert all(count == {2} for count in seen)
