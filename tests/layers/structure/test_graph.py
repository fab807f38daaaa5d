"""Graphs: how nodes are wired, what flows back, and what is refused."""

from __future__ import annotations

import contextlib
import pickle
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from cases import BatchScale, rows
from tools import Lookup, assert_close, assert_equal, host, training

import nnbackend as nnb
from nnbackend import Context
from nnbackend.core.layer_tree import children, map_layers
from nnbackend.core.random import Generator
from nnbackend.core.registry import describe, rebuild
from nnbackend.core.tree import flatten, tree_map
from nnbackend.errors import ModelFileError, UnknownNameError
from nnbackend.layers import Concatenate, Dense, Dropout, Graph
from nnbackend.layers.output import (
    makes_outputs,
    output_activation,
    output_activations,
    output_names,
    split_output_activation,
    without_output_activations,
)

D, SOFT = Dense(2), Dense(3, "softmax")


def house(outputs: Any = "price") -> Graph:
    """Return a graph of two inputs, a shared layer, a fan-out and nodes that are out of order."""
    return Graph(
        inputs=("image", "table"),
        nodes={
            "price": (Dense(2), "both"),
            "seen": (nnb.Sequential([nnb.Flatten(), Dense(4, "tanh")]), "image"),
            "known": (Dense(3, "tanh"), "bent"),
            "bent": (Dense(3, "tanh"), "table"),
            "again": ("known", "table"),
            "both": (Concatenate(), "seen", "known", "again", "bent"),
        },
        outputs=outputs,
    )


def house_inputs(batch: int) -> dict[str, np.ndarray]:
    return {"image": rows((batch, 2, 3)), "table": rows((batch, 3), seed=1)}


def passed(layer, x, backend, dy=None, input_grad=True):
    """Return parameters, output, dx and gradients of a training pass."""
    on = nnb.core.tree.map_arrays(backend.asarray, x)
    shape = nnb.core.shapes.row_shapes(on)
    params = tree_map(backend.asarray, layer.init(shape, Generator.of(3))[0])
    with backend.scope():
        y, backward = layer.forward(params, on, training(backend))
        if dy is None:
            dy = nnb.core.tree.map_arrays(lambda a: backend.asarray(rows(a.shape, seed=2)), y)
        return params, y, *backward(dy, input_grad=input_grad)


def test_outputs_and_gradients_are_torchs(backend64):
    torch = pytest.importorskip("torch")
    x = house_inputs(4)
    params, y, dx, grads = passed(house(), x, backend64)
    twin = {
        name: torch.tensor(host(backend64, value), requires_grad=True)
        for name, value in flatten(params).items()
    }
    image, table = (torch.tensor(x[name], requires_grad=True) for name in x)

    def dense(name, a):
        return a @ twin[f"{name}.weight"] + twin[f"{name}.bias"]

    seen = torch.tanh(dense("seen.1", image.flatten(1)))
    bent = torch.tanh(dense("bent", table))
    known, again = torch.tanh(dense("known", bent)), torch.tanh(dense("known", table))
    expected = dense("price", torch.cat([seen, known, again, bent], dim=1))
    expected.backward(torch.tensor(rows((4, 2), seed=2)))
    np.testing.assert_allclose(host(backend64, y), expected.detach(), rtol=0, atol=1e-12)
    for name, grad in flatten(grads).items():
        np.testing.assert_allclose(host(backend64, grad), twin[name].grad, rtol=0, atol=1e-12)
    for name, leaf in (("image", image), ("table", table)):
        np.testing.assert_allclose(host(backend64, dx[name]), leaf.grad, rtol=0, atol=1e-12)


def test_gradients_agree_with_central_differences(backend64):
    net = nnb.Network(house(), backend=backend64)
    assert nnb.testing.check_gradients(net, house_inputs(3)) < 1e-7


def test_parameters_have_the_names_of_nodes_in_their_order(backend):
    net = nnb.Network(house(), backend=backend)
    net.predict(house_inputs(2))
    assert list(net.params["0"]) == ["price", "seen", "known", "bent", "both"]
    assert [name for name, _ in children(house())] == list(net.params["0"])
    assert "0.seen.1.weight" in net.state_dict()
    assert net.output_shape == (2,)


def test_inputs_come_in_any_form(backend):
    x = house_inputs(3)
    _, y, dx, _ = passed(house(), x, backend)
    _, of_tuple, dx_tuple, _ = passed(house(), tuple(x.values()), backend)
    turned = dict(reversed(x.items()))
    _, of_turned, dx_turned, _ = passed(house(), turned, backend)
    assert_equal(host(backend, of_tuple), host(backend, y))
    assert_equal(host(backend, of_turned), host(backend, y))
    assert isinstance(dx_tuple, tuple)
    assert list(dx_turned) == ["table", "image"]
    assert_equal(host(backend, dx_tuple[0]), host(backend, dx["image"]))
    one = Graph("x", {"y": (Dense(2), "x")}, "y")
    _, bare, dx_bare, _ = passed(one, rows((3, 4)), backend)
    _, named, dx_named, _ = passed(one, {"x": rows((3, 4))}, backend)
    assert_equal(host(backend, bare), host(backend, named))
    assert_equal(host(backend, dx_bare), host(backend, dx_named["x"]))


@pytest.mark.parametrize(
    ("outputs", "like"),
    [
        ("price", lambda p, b: p),
        (("price", "bent"), lambda p, b: (p, b)),
        (["bent", "price"], lambda p, b: (b, p)),
        ({"kind": "bent", "cost": "price"}, lambda p, b: {"kind": b, "cost": p}),
        (("price", "table"), None),
    ],
)
def test_outputs_come_as_they_were_asked_for(outputs, like, backend64):
    x = house_inputs(3)
    net = nnb.Network(house(outputs), backend=backend64)
    y = net.predict(x)
    alone = net.to_numpy(nnb.Network(house(), backend=backend64).predict(x))
    if like is None:
        assert_close(host(backend64, y[1]), host(backend64, backend64.asarray(x["table"])), 0)
        return
    bent = nnb.Network(house(("price", "bent")), backend=backend64).predict(x)[1]
    expected = like(alone, net.to_numpy(bent))
    assert type(y) is (type(expected) if not isinstance(expected, np.ndarray) else type(y))
    found = nnb.core.tree.map_arrays(net.to_numpy, y)
    nnb.core.tree.map_arrays(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, expected
    )
    assert nnb.testing.check_gradients(net, x) < 1e-7


def test_a_shared_layer_has_one_set_of_parameters_and_own_random_numbers(backend64):
    drop = nnb.Sequential([Dense(6), Dropout(0.5)])
    twice = Graph("x", {"a": (drop, "x"), "b": ("a", "x")}, ("a", "b"))
    params, (a, b), _, grads = passed(twice, rows((8, 4)), backend64)
    assert list(flatten(params)) == ["a.0.weight", "a.0.bias"]
    kept_a, kept_b = (host(backend64, y) != 0 for y in (a, b))
    assert (kept_a != kept_b).any()
    both = kept_a & kept_b
    assert_equal(host(backend64, a)[both], host(backend64, b)[both])
    assert grads.keys() == {"a"}
    net = nnb.Network(twice, backend=backend64, input_shape=4)
    assert nnb.testing.check_gradients(net, rows((3, 4))) < 1e-7


def test_the_state_of_a_shared_layer_is_one(backend64):
    graph = Graph("x", {"a": (BatchScale(0.5), "x"), "b": ("a", "a")}, "b")
    net = nnb.Network(graph, backend=backend64, input_shape=4)
    x = rows((6, 4))
    net.forward(x, training=True)
    first = (x**2).mean(0)
    after = 1.0 + 0.5 * (first - 1.0)
    middle = np.linspace(0.5, 1.5, 4) * x / np.sqrt(first + 1.0)
    after += 0.5 * ((middle**2).mean(0) - after)
    assert list(flatten(net.state)) == ["0.a.square"]
    np.testing.assert_allclose(host(backend64, net.state["0"]["a"]["square"]), after, rtol=1e-12)


@nnb.register_layer
@dataclass(frozen=True)
class Halves:
    """Halves of the columns, as a tuple or by name."""

    named: bool = False

    def init(self, input_shape: Any, rng: Any) -> Any:
        half = (input_shape[0] // 2,)
        return {}, {"left": half, "right": half} if self.named else (half, half)

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        half, xp = x.shape[1] // 2, ctx.xp
        parts = x[:, :half], x[:, half:]

        def backward(dy: Any, input_grad: bool = True) -> Any:
            both = list(dy.values()) if self.named else list(dy)
            return (xp.concat(both, axis=1) if input_grad else None), {}

        return (dict(zip(("left", "right"), parts, strict=True)) if self.named else parts), backward


@pytest.mark.parametrize(
    ("halves", "part", "other"), [(Halves(), "h.1", "h.0"), (Halves(True), "h.right", "h.left")]
)
def test_a_part_of_an_output_is_taken_by_its_place(halves, part, other, backend64):
    x, dy = rows((3, 6)), rows((3, 2), seed=2)
    nodes = {"h": (halves, "x"), "y": (Dense(2), part)}
    params, y, dx, _ = passed(Graph("x", nodes, "y"), x, backend64, backend64.asarray(dy))
    weight = host(backend64, params["y"]["weight"])
    np.testing.assert_allclose(host(backend64, y), x[:, 3:] @ weight, rtol=1e-12)
    expected = np.hstack([np.zeros((3, 3)), dy @ weight.T])
    np.testing.assert_allclose(host(backend64, dx), expected, rtol=1e-12, atol=1e-15)
    nodes |= {"z": (Concatenate(), "y", other), "w": (Concatenate(), "h")}
    net = nnb.Network(Graph("x", nodes, ("z", "w", part)), backend=backend64, input_shape=6)
    assert nnb.testing.check_gradients(net, x) < 1e-7


def test_inputs_may_be_indices(backend):
    graph = Graph(
        inputs=("word", "size", "other"),
        nodes={
            "meaning": (Lookup(5, 3), "word"),
            "short": (Lookup(4, 2), "word"),
            "wide": (nnb.Sequential([Lookup(7, 2)]), "other"),
            "both": (Concatenate(), "meaning", "short", "size", "wide"),
            "y": (Dense(1), "both"),
        },
        outputs="y",
    )
    assert graph.takes == {"word": "indices", "size": "numbers", "other": "indices"}
    assert graph.index_limit() == {"word": 4, "size": None, "other": 7}
    rng = np.random.default_rng(0)
    x = {"word": rng.integers(4, size=9), "size": rows((9, 2)), "other": rng.integers(7, size=9)}
    net = nnb.Network(graph, backend=backend)
    y, backward = net.forward(x)
    dx, _ = backward(backend.xp.ones_like(y))
    assert dx["word"] is None
    assert tuple(dx["size"].shape) == (9, 2)
    net.fit(x, rows((9, 1)), epochs=2, batch_size=4, verbose=0)
    with pytest.raises(ValueError, match=r"word"):
        net.predict({**x, "word": x["word"] + 4})
    single = Graph("word", {"y": (Lookup(5, 3), "word")}, "y")
    assert (single.takes, single.index_limit()) == ("indices", 5)
    assert nnb.Network(single, backend=backend).predict(x["word"]).shape == (9, 3)


@nnb.register_layer
@dataclass(frozen=True)
class NotNeeded:
    """Refuses to give the gradient of its input."""

    def init(self, input_shape: Any, rng: Any) -> Any:
        return {}, input_shape

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        def backward(dy: Any, input_grad: bool = True) -> Any:
            raise AssertionError("nobody needs it")

        return x, backward


def test_without_the_gradient_of_the_input_no_work_is_done_for_it(backend):
    graph = Graph(
        inputs=("a", "b"),
        nodes={
            "still": (NotNeeded(), "a"),
            "more": (Concatenate(), "still", "b"),
            "y": (Dense(2), "more"),
            "z": (Concatenate(), "y", "still"),
        },
        outputs="z",
    )
    x = {"a": rows((3, 2)), "b": rows((3, 2), seed=1)}
    params, _, dx, grads = passed(graph, x, backend, input_grad=False)
    assert dx is None
    assert grads.keys() == params.keys()
    assert host(backend, grads["y"]["weight"]).shape == (4, 2)


@nnb.register_layer
@dataclass(frozen=True)
class Constant:
    """Its output does not depend on the second input, and has no derivative by it."""

    def init(self, input_shape: Any, rng: Any) -> Any:
        return {}, input_shape[0]

    def forward(self, params: Any, x: Any, ctx: Any) -> Any:
        return x[0], lambda dy, input_grad=True: ((dy, None), {})


def test_what_has_no_derivative_gets_zeros(backend):
    graph = Graph("x", {"a": (Dense(3), "x"), "y": (Constant(), "x", "a")}, "y")
    _, _, dx, grads = passed(graph, rows((2, 4)), backend)
    assert_equal(host(backend, grads["a"]["weight"]), np.zeros((4, 3), np.float32))
    assert dx.shape == (2, 4)


def test_a_graph_survives_files_pickles_and_copies(backend, tmp_path):
    net = nnb.Network(house({"cost": "price", "kind": "bent"}), backend=backend, seed=5)
    x = house_inputs(3)
    y = net.predict(x)
    path = net.save(tmp_path / "house.safetensors")
    again = nnb.load(path, backend=backend)
    assert again.layers == net.layers
    assert list(again.params["0"]) == list(net.params["0"])
    for name, other in again.predict(x).items():
        assert_equal(host(backend, other), host(backend, y[name]))
    graph = house(("price", "bent"))
    for copied in (pickle.loads(pickle.dumps(graph)), rebuild(describe(graph)), replace(graph)):
        assert copied == graph
        assert hash(copied) == hash(graph)
        assert copied.order == graph.order
    assert map_layers(lambda name, layer: layer, graph) is graph


@pytest.mark.parametrize(
    "pairs",
    [3, [1], [["a"]], [["a", 1, 2]], [[1, 2]], [["a", 1], ["a", 2]], {"a": 1}, None],
)
def test_a_mapping_in_a_file_is_a_list_of_pairs(pairs):
    with pytest.raises(ModelFileError, match="mapping"):
        rebuild({"mapping": pairs})
    with pytest.raises(ModelFileError, match="mapping"):
        rebuild({"mapping": [], "fields": {}})


def test_a_mapping_keeps_its_order_in_a_file():
    assert list(rebuild(describe({"b": 1, "a": (2, None)})).items()) == [("b", 1), ("a", (2, None))]
    with pytest.raises(TypeError, match="keys are texts"):
        describe({1: 2})
    deep: Any = {}
    for _ in range(200):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="deep"):
        describe(deep)


def test_a_graph_learns_and_is_frozen_by_name(backend):
    net = nnb.Network(house(), backend=backend, seed=1)
    x, y = house_inputs(16), rows((16, 2), seed=4)
    net.build({"image": (2, 3), "table": (3,)})
    net.freeze("0.known.*")
    before = host(backend, net.params["0"]["known"])
    losses = net.fit(x, y, epochs=40, batch_size=5, optimizer=nnb.Adam(0.03), verbose=0)["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert_equal(host(backend, net.params["0"]["known"]), before)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_mixed_precision(precision):
    pytest.importorskip("torch")
    try:
        net = nnb.Network(house(), backend="torch", precision=precision)
    except nnb.errors.PrecisionError:
        pytest.skip("not on this device")
    losses = net.fit(house_inputs(16), rows((16, 2), seed=4), epochs=20, verbose=0)["loss"]
    assert losses[-1] < losses[0]


def soft(**nodes: Any) -> Any:
    return lambda outputs: Graph("x", {"k": (SOFT, "x"), **nodes}, outputs)


def test_the_activation_at_the_end_of_a_graph_is_found(backend64):
    plain = soft()("k")
    assert output_activation(plain) == (SOFT.activation, None)
    body, last = split_output_activation(nnb.Sequential([plain, nnb.Activation("identity")]))
    assert last == SOFT.activation
    assert body.layers[0].nodes["k"][0] == replace(SOFT, activation=None)
    x, labels = rows((20, 4)), np.arange(20) % 3
    settings = {"loss": "softmax_cross_entropy", "epochs": 3, "verbose": 0}
    nets = [
        nnb.Network(layers, backend=backend64, seed=2)
        for layers in (plain, Graph("x", {"k": (Dense(3), "x")}, "k"))
    ]
    losses = [net.fit(x, labels, **settings)["loss"] for net in nets]
    assert losses[0] == losses[1]
    y = nets[0].to_numpy(nets[0].predict(x))
    np.testing.assert_allclose(y.sum(1), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("graph", "where"),
    [
        (soft(d=(Dropout(0.1), "k"))("d"), "followed by the node d"),
        (soft(j=(SOFT, "x"), c=(Concatenate(), "k", "j"))("c"), "followed by the node c"),
        (soft(s=("k", "x"), c=(Concatenate(), "k", "s"), y=(SOFT, "c"))("y"), None),
        (Graph("x", {"k": (SOFT, "x"), "s": ("k", "k")}, "s"), "shared with the node k"),
        (nnb.Sequential([soft()("k"), Dropout(0.1)]), "followed by Dropout"),
    ],
)  # fmt: skip
def test_an_activation_that_cannot_be_taken_off_is_refused(graph, where):
    assert output_activation(graph)[1] == where
    net = nnb.Network(graph, input_shape=3)
    refused = pytest.raises(ValueError, match=f"softmax at the end .*{where}")
    with contextlib.nullcontext() if where is None else refused:
        net.fit(rows((6, 3)), np.arange(6) % 3, loss="softmax_cross_entropy", verbose=0)


def test_each_of_several_outputs_has_its_activation():
    graph = soft(p=(Dense(1), "x"), q=(Dense(1, "sigmoid"), "x"), r=(Dense(2), "q"))(
        {"kind": "k", "price": "p", "odds": "q", "rest": "r"}
    )
    found = output_activations(nnb.Sequential([graph]))
    assert output_names(graph) == ("kind", "price", "odds", "rest")
    assert {name: place for name, (_, place) in found.items()} == {
        "kind": None, "price": None, "odds": "also the input of the node r", "rest": None,
    }  # fmt: skip
    assert found["kind"][0] == SOFT.activation
    without = without_output_activations(nnb.Sequential([graph]), ["kind"]).layers[0]
    assert without.nodes["k"][0].activation == nnb.activations.Identity()
    assert without.nodes["q"] == graph.nodes["q"]
    tuple_of = soft(p=(Dense(1), "x"))(("p", "k"))
    assert output_names(tuple_of) == ("p", "k")
    assert output_names(soft()("k")) == ()
    assert output_activations(Dense(2)) == {}


def test_outputs_of_a_graph_are_new_arrays_if_its_last_layer_makes_them():
    assert makes_outputs(soft()("k"))
    assert not makes_outputs(Graph("x", {"f": (nnb.Flatten(), "x")}, "f"))
    assert makes_outputs(Graph("x", {"c": (Concatenate(), "x", "x")}, "c"))
    x = rows((3, 4)).astype(np.float32)
    net = nnb.Network(Graph("x", {"f": (nnb.Flatten(), "x")}, "f"))
    assert not np.shares_memory(net.predict(x), x)


def test_a_graph_inside_a_graph(backend64):
    inner = Graph(("a", "b"), {"y": (Concatenate(), "a", "b")}, "y")
    outer = Graph(("l", "r"), {"in": (inner, "l", "r"), "y": (Dense(2), "in")}, "y")
    net = nnb.Network(outer, backend=backend64)
    assert nnb.testing.check_gradients(net, {"l": rows((3, 2)), "r": rows((3, 1))}) < 1e-7


def test_a_pass_through_a_graph_is_observed(backend):
    net = nnb.Network(house(), backend=backend)
    seen = nnb.observe(net, house_inputs(2), rows((2, 2)), "mse")
    paths = [passage.path for passage in seen]
    assert paths.count("0.known") == 2
    assert all(passage.dy is not None for passage in seen)
    assert net.summary().count("Graph(") == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Graph((), {"y": (D, "x")}, "y"), "inputs must have a name"),
        (lambda: Graph(("x", "x"), {"y": (D, "x")}, "y"), "inputs: 'x' is there twice"),
        (lambda: Graph(3, {"y": (D, "x")}, "y"), "inputs must be names"),
        (lambda: Graph(("x.y",), {"y": (D, "x")}, "y"), r"inputs\[0\] must have no dot"),
        (lambda: Graph("x", {"x": (D, "x")}, "x"), "'x' is the name of an input, too"),
        (lambda: Graph("x", {"a.b": (D, "x")}, "x"), "must have no dot"),
        (lambda: Graph("x", {3: (D, "x")}, "x"), "a name in nodes must be a text, got 3"),
        (lambda: Graph("x", [("y", D, "x")], "y"), "nodes must be a dictionary"),
        (lambda: Graph("x", {"y": D}, "y"), r"nodes\['y'\] must be a layer.*got Dense"),
        (lambda: Graph("x", {"y": (D,)}, "y"), r"nodes\['y'\] must be a layer"),
        (lambda: Graph("x", {"y": (Dense, "x")}, "y"), r"nodes\['y'\]: .*write Dense\(\.\.\.\)"),
        (lambda: Graph("x", {"y": (D, 3)}, "y"), r"nodes\['y'\] takes names .* one is 3"),
        (lambda: Graph("xs", {"y": (D, "x")}, "y"), r"nodes\['y'\]: 'x'.*did you mean 'xs'"),
        (lambda: Graph("x", {"a": (D, "x"), "y": ("b", "x")}, "y"), r"nodes\['y'\], whose layer.*'b'"),
        (lambda: Graph("x", {"price": (D, "x")}, "prise"), "outputs: 'prise'; did you mean 'price'"),
        (lambda: Graph("x", {"y": (D, "x")}, ("y", "y")), "outputs: 'y' is there twice"),
        (lambda: Graph("x", {"y": (D, "x")}, ()), "outputs must have a name"),
        (lambda: Graph("x", {"y": (D, "x")}, 3), "outputs must be the name"),
        (lambda: Graph("x", {"y": (D, "x")}, [3]), "outputs must be names of nodes; one is 3"),
        (lambda: Graph("x", {"y": (D, "x")}, {"a.b": "y"}), "a name in outputs must have no dot"),
        (lambda: Graph("x", {"a": (D, "c"), "b": (D, "a"), "c": (Concatenate(), "b", "x")}, "c"),
         "go in a circle: a -> b -> c -> a"),
        (lambda: Graph("x", {"a": (D, "a")}, "a"), "go in a circle: a -> a"),
        (lambda: Graph("x", {"a": ("b", "x"), "b": ("a", "x")}, ("a", "b")), "a -> b -> a"),
        (lambda: Graph("x", {"a": (D, "x"), "b": (D, "x")}, "a"), "the node 'b' leads to no output"),
        (lambda: Graph(("x", "z"), {"a": (D, "x")}, "a"), "the input 'z' leads to no output"),
        (lambda: Graph("x", {"a": (D, "x"), "e": (Lookup(3, 2), "a")}, "e"), "node e takes indices"),
        (lambda: Graph("x", {"a": (D, "x"), "e": (Lookup(3, 2), "x")}, ("a", "e")),
         "the input 'x' feeds node a, which takes numbers, and node e, which takes indices"),
        (lambda: Graph("x", {"a": (D, "x.0")}, "a"), "an input has no parts"),
    ],
)  # fmt: skip
def test_a_graph_that_cannot_be_is_refused(make, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        make()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("graph", "shape", "words"),
    [
        (house(), 3, "takes 2 inputs, a dictionary of 'image', 'table'; got one"),
        (house(), {"image": (2, 3)}, "missing: 'table'"),
        (house(), {"image": (2, 3), "tabel": 3}, "missing: 'table'; unknown: 'tabel'"),
        (house(), ((2, 3), (3,), (1,)), "takes 2 inputs.* got 3"),
        (Graph(("a", "b"), {"p": (D, "a"), "q": ("p", "b"), "y": (Concatenate(), "p", "q")}, "y"),
         {"a": 3, "b": 4}, r"nodes p and q share a layer, whose weight .*\(3, 2\).*\(4, 2\)"),
        (Graph("x", {"h": (Halves(), "x"), "y": (D, "h.2")}, "y"), 4, "'h' has no such part"),
        (Graph("x", {"h": (Halves(True), "x"), "y": (D, "h.up")}, "y"), 4, "'h' has no such part"),
        (Graph("x", {"h": (D, "x"), "y": (D, "h.0")}, "y"), 4, "'h' has no such part"),
        (Graph("x", {"h": (D, "x")}, "h.0"), 4, "outputs: 'h.0' is not there"),
        (Graph("x", {"h": (Halves(), "x")}, "h.7"), 4, "outputs: 'h.7' is not there"),
        (Graph("x", {"y": (Concatenate(), "x")}, "y"), 4, r"node y \(Concatenate\): Concatenate takes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_when_the_network_is_built(graph, shape, words):
    with pytest.raises(ValueError, match=words):
        nnb.Network(graph, input_shape=shape)


def test_a_missing_input_is_said_when_the_network_runs():
    x = house_inputs(2)
    net = nnb.Network(house())
    net.predict(x)
    with pytest.raises(
        ValueError, match=r"a dictionary of \['image', 'table'\], got .*\['image'\]"
    ):
        net.predict({"image": x["image"]})
    with pytest.raises(ValueError, match="missing: 'image'"):
        house().forward(net.params["0"], {"table": x["table"]}, Context(net.backend))
    with pytest.raises(UnknownNameError):
        house("prices")
