"""How commands fail: one message for each error, and nothing that steers the terminal."""

from __future__ import annotations

from cli.commands import EXAM, done, fails, run, table

import nnbackend as nnb


def test_control_characters_do_not_reach_the_terminal():
    data = table('"a\x1b[31m",b\n1,2\n2,3\n3,5\n')
    result = done("train", data, "--target", "b", "--epochs", "1")
    assert "\x1b" not in result.output
    assert r"a\x1b[31m" in result.stdout
    assert "\x1b" not in done("inspect", "model.safetensors").stdout


def test_debug_shows_where_an_error_comes_from():
    result = run("train", table("a,b\n1,5\n2,5\n"), "--target", "b", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "error: the target 'b' has one value only" in result.stderr


def test_an_error_nobody_thought_of_is_one_message_too(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(nnb.Network, "fit", fail)
    message = fails(1, "train", EXAM, "--target", "score", "--quiet")
    assert message == "error: ZeroDivisionError: division by zero (--debug shows where)\n"
