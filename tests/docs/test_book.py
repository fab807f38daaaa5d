"""The book: what its pages compute are the numbers that their text speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

plt = pytest.importorskip("matplotlib.pyplot")

FOLDER = Path(__file__).parents[2] / "docs" / "book"
CHAPTERS = sorted(FOLDER.glob("[0-9]*.md"))

# For each chapter what its text turns on: an expression of the names at its end, and its value to the
# digits that are given, or a bound.
EXPECTED: dict[str, dict[str, str]] = {
    "01": {
        "total": "7.6",
        "result": "0.9995",
        "with_bias": "0.6457",
        "sigmoid(1.0) - sigmoid(0.0)": "0.231",
        "predicted[0, 0]": "0.9995",
        "sums[1]": "4.2",
        "half": "0.5000",
        "both[3]": "> 0.9",
        "max(both[:3])": "< 0.1",
    },
    "02": {
        "W1.size + W2.size": "9",
        "z[0]": "7.6",
        "z[1]": "3.9",
        "z[2]": "6.5",
        "z2[0]": "0.9995",
        "z2[1]": "0.9802",
        "z2[2]": "0.9985",
        "z3[0]": "1.7885",
        "o[0]": "0.8567",
        "cut": "0.85",
        "rounded": "0.86",
        "missing": "0.0633",
        "by_library[0, 0]": "0.8567",
        "question[0, 0]": "1.33",
        "highest": "0.8581",
        "up - down": "> 1e-17",
    },
    "03": {
        "loss": "0.0163",
        "error[0, 0]": "0.1452",
        "slope": "-0.0294",
        "abs(by_chain_rule / slope - 1)": "< 1e-6",
        "best": "2.4",
        "sigmoid_slope.max()": "0.250",
        "path[-1][1]": "0.000586",
        "value": "0.0163",
        "always": "0.000600",
        "descend(150)[1]": "< 0.0005",
        "descend(1500)[0]": "> 20",
    },
    "04": {
        "o_error[0, 0]": "0.1452",
        "o_delta[0, 0]": "0.02533",
        "z2_error[0, 2]": "0.02280",
        "z2_delta[0, 2]": "0.00494",
        "W2_change[0, 0]": "0.04626",
        "W1_change[1, 2]": "0.01052",
        "loss_before": "0.01627",
        "loss_after": "0.01238",
        "abs(dW1 * -3 / 2 - W1_change).max()": "< 1e-15",
        "abs(grads['0']['weight'] - dW1).max()": "< 1e-15",
        "abs(grads['1']['weight'] - dW2).max()": "< 1e-15",
        "100 * off": "11.6",
        "steps / forward": "1.33",
        "raw_error[0, 0]": "0.0633",
        "raw_hidden.max()": "< 0.0001",
    },
    "05": {
        "abs(one_sided / dW1[0, 0] - 1)": "0.0002",
        "abs(central / dW1[0, 0] - 1)": "< 1e-7",
        "worst": "< 1e-7",
        "min(error_both)": "< 1e-8",
        "error_both[-1]": "> 1e-6",
        "off": "0.12",
        "found": "< 1e-6",
        "'layer 1 (Scale): the gradient of its input' in complaint": "1",
        "errors32[0.00001]": "> 0.01",
        "errors32[0.01]": "< 0.001",
        "repaired": "< 1e-6",
    },
    "06": {
        "losses[0]": "0.050972",
        "losses[99]": "0.000609",
        "losses[999]": "0.000397",
        "answer": "90.3",
        "abs(learned - scores).max()": "2.6",
        "len(runs)": "21",
        "runs[0]['losses'][-1]": "> 0.01",
        "max(run['losses'][-1] for run in runs[6:14])": "< 0.001",
        "min(range(21), key=lambda i: runs[i]['losses'][-1])": "15",
        "runs[15]['losses'][1]": "0.011",
        "runs[-1]['losses'][-1]": "0.0127",
        "max(answers.values()) - min(answers.values())": "> 1",
        "abs(twins - twins[:, :1]).max()": "< 1e-12",
        "unscaled['hours']": "< 0.0002",
        "unscaled['minutes']": "0.000600",
        "linear[0.5]": "< 0.1",
        "linear[2.0]": "> 1e40",
        "two_rates - one_rate": "> 0",
    },
    "07": {
        "alone_fall[-1]": "0.2500",
        "pair_fall[-1]": "0.0003",
        "abs(hidden[0] - hidden[3]).max()": "< 0.05",
        "curves['sigmoid'][1].max()": "0.25",
        "falls['sigmoid'][-1]": "0.25",
        "falls['tanh'][-1]": "< 0.001",
        "falls['relu'][-1]": "< 0.001",
        "sizes['sigmoid'][0]": "< 1e-9",
        "sizes['sigmoid'][-1]": "> 0.01",
        "sizes['tanh'][0]": "> 0.0001",
        "sizes['relu'][0]": "> 0.0001",
        "dead": "> 0",
        "dead / total": "< 0.3",
        "abs(chosen - exactly_one.ravel()).max()": "< 0.01",
        "depths[3]": "< 0.001",
        "depths[4]": "> 0.2",
        "scaled[0.05][0]": "< 1e-8",
        "scaled[2.0][0]": "> 0.1",
        "residual_first": "> 1e-5",
        "residual_loss": "< 0.01",
        "plain_loss": "0.25",
    },
    "08": {
        "len(x)": "333",
        "everyone.size": "32",
        "spread[4] / spread[16]": "1.9",
        "spread[16] / spread[64]": "2.1",
        "epoch_losses[-1]": "< 0.07",
        "by_size[None]['loss'][-1]": "> 0.3",
        "by_size[32]['loss'][-1]": "< 0.07",
        "by_size[8]['loss'][-1]": "< 0.03",
        "velocities[-1]": "9.98",
        "np.hypot(*plain[-1])": "1.13",
        "np.hypot(*heavy[-1])": "0.0556",
        "by_hand[0, 0] - by_hand[1, 0]": "0.500",
        "scale_difference": "< 1e-6",
        "adam_difference": "< 1e-12",
        "final['SGD'][3] / final['SGD, momentum 0.9'][1]": "1.0",
        "best['SGD'] / best['SGD, momentum 0.9']": "> 3",
        "best['SGD, momentum 0.9'] / best['Adam']": "> 1",
        "max(map(min, final.values()))": "< 0.02",
        "moves[-1]": "0.400",
        "without_hats": "3.162",
        "min(whole.values()) - by_size[8]['loss'][-1]": "< 0.01",
        "rmsprop_difference": "< 1e-12",
        "scheduled['constant'] / scheduled['falling']": "> 3",
    },
    "09": {
        "curves[1][1]": "> 0.09",
        "curves[3][1]": "0.07",
        "curves[100][1]": "< 0.03",
        "parameters": "4929",
        "best_epoch": "< 20",
        "stop.best_epoch": "< 20",
        "average[0, 3]": "4.0",
        "np.mean(learned['large'])": "< 0.05",
        "np.mean(tested['large'])": "> 0.75",
        "np.mean(tested['stopped early'])": "< 0.67",
        "np.mean(tested['weight decay'])": "< 0.62",
        "np.mean(tested['dropout 0.5'])": "< 0.62",
        "np.mean(tested['weighted sum'])": "0.53",
        "min(map(np.mean, tested.values())) - np.mean(tested['weighted sum'])": "> -0.001",
        "by_width[64][0] - by_width[4][0]": "< -0.3",
        "by_width[64][1] - by_width[4][1]": "> 0.1",
        "by_rows[40] - by_rows[222]": "> 0.03",
        "dropout_error": "< 1e-8",
    },
    "10": {
        "dense_right[0]": "> 0.95",
        "dense_right[1]": "< 0.55",
        "at_edge": "3",
        "edges.sum()": "12",
        "convolve(moved, kernel)[0, 0]": "3",
        "forward_error": "< 1e-12",
        "dw_error": "< 1e-12",
        "dx_error": "< 1e-12",
        "gradient_error": "< 1e-7",
        "conv_right[1] - dense_right[1]": "> 0.1",
        "conv_right[1]": "< 0.8",
        "anywhere_right[0]": "> 0.95",
        "min(anywhere_right.values())": "> 0.9",
        "count_weights(anywhere)": "2746",
        "count_weights(dense)": "4810",
        "count": "1216",
        "unchanged": "1",
        "pooled[0, 1]": "5",
        "uses": "64",
        "mover_right[1]": "> 0.8",
    },
    "11": {
        "(by_layer == by_hand).all()": "1",
        "distance('bread', 'rice')": "< 1",
        "distance('bread', 'milk')": "> 3",
        "plain_history['accuracy'][-1]": "> 0.95",
        "plain_new": "< 0.65",
        "shares[1]": "0.992",
        "mixed[0]": "19.92",
        "attention_error": "< 1e-7",
        "reader_new": "> 0.99",
        "answers == [story[story.index(who) + 1] for who in people]": "1",
        "found": "> 0.9",
        "deviations[1024] / 32": "1.0",
        "causal[0, 0]": "1.0",
        "complaint.startswith('layer 0 (Forgetful): the gradient of query')": "1",
        "order_error": "< 1e-12",
    },
    "12": {
        "len(refusals)": "5",
        "float(changes['array_api_strict'][1][0, 0])": "0.04626",
        "abs(changes['numpy'][0] - np.asarray(changes['array_api_strict'][0])).max()": "< 1e-15",
        "abs(losses['numpy'] - losses['array-api-strict'])": "< 1e-10",
        "same_start": "1",
        "comparison.largest": "< 1e-10",
        "abs(few[0] - few[1])": "> 1e-17",
        "abs(forward - backward)": "> 1e-6",
        "moved_error": "< 1e-12",
        "work['exam scores']": "18",
        "work['digits']": "131072",
        "work['large'] / 1e9": "4.3",
        "standardize_error": "< 1e-12",
        "lost": "0",
        "same_masks": "1",
    },
    "13": {
        "swish_error": "< 1e-7",
        "found.startswith('layer 1 (Wrong): the gradient of its input')": "1",
        "trained['wrong'] / trained['right']": "> 1.1",
        "comparison.largest": "< 1e-10",
        "gaussian_error": "< 1e-7",
        "loss_error": "< 1e-7",
        "off['squared error']": "0.30",
        "off['pseudo-Huber']": "< 0.05",
        "path_error": "< 1e-12",
        "history['loss'][-1]": "< 0.01",
        "same": "1",
        "'register' in refusal": "1",
        "scale_error": "< 1e-7",
        "sine_error": "< 1e-7",
        "'its gradient differs' in careless_found": "1",
        "abs(visited[-1] - visited[-3]).max()": "< 1e-9",
        "heads_error": "< 1e-7",
    },
}

PIECE = re.compile(
    r"^```\{code-cell\}[^\n]*\n(?:---\n.*?\n---\n|(?::\w+:[^\n]*\n)+)?(?P<code>.*?)^```$"
    r"|\{eval\}`(?P<expression>[^`]+)`",
    re.DOTALL | re.MULTILINE,
)


def run(page: Path) -> dict:
    """Run a page's cells and the expressions of its text in their order; return the names at its end."""
    text = page.read_text(encoding="utf-8")
    if "from sklearn" in text:
        pytest.importorskip("sklearn")
    scope: dict = {"__name__": "__main__"}
    for piece in PIECE.finditer(text):
        if piece["code"] is not None:
            # So many lines before it that a traceback names that of the page.
            line = text.count("\n", 0, piece.start("code"))
            code = "\n" * line + piece["code"]
            exec(compile(code, str(page), "exec", dont_inherit=True), scope)
        else:
            shown = eval(piece["expression"], scope)
            assert isinstance(shown, str | int), f"{piece['expression']}: say how many digits"
            assert "nan" not in str(shown), piece["expression"]
    return scope


def differs(value: float, expected: str) -> bool:
    """Return whether a value is not the expected one to its digits, or is out of bounds."""
    if expected[0] in "<>":
        bound = float(expected[1:])
        return not (value < bound if expected[0] == "<" else value > bound)
    digits = len(expected.partition(".")[2])
    return f"{float(value):.{digits}f}" != expected


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_the_numbers_of_a_chapter_are_those_its_text_speaks_of(page, monkeypatch):
    monkeypatch.chdir(FOLDER)  # where Sphinx runs them
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    plt.switch_backend("agg")
    if "IPython" in page.read_text(encoding="utf-8"):
        pytest.importorskip("IPython")
    scope = run(page)
    expected = EXPECTED[page.name[:2]]
    found = {name: eval(name, scope) for name in expected}
    wrong = {name: found[name] for name, text in expected.items() if differs(found[name], text)}
    assert not wrong, f"expected {[expected[name] for name in wrong]}"


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_every_exercise_has_a_folded_solution(page):
    exercises = page.read_text(encoding="utf-8").partition("\n## Exercises\n")[2]
    asked = re.findall(r"^\*\*(\d)\.\*\*", exercises, re.MULTILINE)
    solved = re.findall(r"(?:code_prompt_show: |\{dropdown\} )Solution (\d)", exercises)
    assert 3 <= len(asked) <= 5
    assert asked == solved == [str(i + 1) for i in range(len(asked))]
    assert "\n## Next\n" in exercises or page == CHAPTERS[-1]
