"""``nnbackend backends``: what can be used here, and on which devices."""

from __future__ import annotations

import json

from cli.commands import done
from fake_cupy import Machine

import nnbackend as nnb


def test_backends_are_listed_with_reasons():
    text = " ".join(done("backends").stdout.split())
    statuses = json.loads(done("backends", "--json").stdout)["backends"]
    assert statuses[0]["name"] == "numpy"
    assert statuses[0]["usable"]
    for status in statuses:
        if status["usable"]:
            assert f"{status['name']} {status['version']} {status['devices'][0]['name']}" in text
        else:
            assert f"{status['name']} is not usable: {status['reason']}" in text
            assert status["devices"] == []


def test_backends_show_the_cards_of_a_machine(monkeypatch):
    machine = Machine(total=80_000_000_000)
    machine.install(monkeypatch)
    monkeypatch.setenv("COLUMNS", "200")
    machine.held[1] = 60_000_000_000
    lines = [line.split() for line in done("backends").stdout.splitlines()]
    card, size = ["Make-Believe", "9000"], ["of", "80", "GB"]
    versions = ["9.0", "driver", "12.4,", "runtime", "12.9"]
    assert ["cupy", "cuda:0", *card, "80", "GB", *size, *versions] in lines
    assert ["cuda:1", *card, "20", "GB", *size, "9.0"] in lines
    cupy = json.loads(done("backends", "--json").stdout)["backends"][1]
    assert cupy["devices"][1] == {"name": "cuda:1", "model": "Make-Believe 9000", "total": 80 * 10**9,
                                  "free": 20 * 10**9, "compute_capability": "9.0"}  # fmt: skip
    assert cupy["versions"] == {"driver": "CUDA 12.4", "runtime": "CUDA 12.9"}
    nnb.backends.choose._status.cache_clear()
