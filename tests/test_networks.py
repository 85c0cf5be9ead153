"""Networks: ONNX's operators, what is folded and fused, memory, files; ONNX Runtime is the judge."""

import json
import pickle
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402

import cconv  # noqa: E402
from cconv.__main__ import main  # noqa: E402
from cconv.interop.onnx import load  # noqa: E402
from cconv.networks import Graph, Network, NetworkError, Node, Value  # noqa: E402

RNG = np.random.default_rng(5)


def normal(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def model(nodes, inputs, constants=(), outputs=("y",), opset=17):
    """A model of nodes; inputs and constants are dicts of arrays."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(a.dtype) for name, a in inputs.items()}
    ins = [helper.make_tensor_value_info(n, kinds[n], [None] * a.ndim) for n, a in inputs.items()]
    outs = [onnx.ValueInfoProto(name=n) for n in outputs]
    graph = helper.make_graph(
        nodes, "g", ins, outs, [numpy_helper.from_array(a, n) for n, a in dict(constants).items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def expected(proto, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    ).run(None, feeds)


def check(proto, feeds, nodes=None, tolerance=2e-6):
    """The same numbers as ONNX Runtime's, in so many nodes; twice, for what is kept between calls."""
    network = load(proto)
    wanted = expected(proto, feeds)
    copies = {name: a.copy() for name, a in feeds.items()}
    for _ in range(2):
        results = network(**feeds)
        results = results if isinstance(results, tuple) else (results,)
        for result, want in zip(results, wanted, strict=True):
            assert result.shape == want.shape and result.dtype == want.dtype
            scale = abs(want).max() + 1e-6
            assert abs(result - want).max() <= tolerance * scale
    for name, a in feeds.items():
        assert np.array_equal(a, copies[name])
    if nodes is not None:
        assert [n.op for n in network.graph.nodes] == nodes, str(network)
    return network


def conv(x="x", y="c", w="w", b="", **attributes):
    return helper.make_node("Conv", [x, w, b], [y], **attributes)


W = {"w": normal(8, 4, 3, 3), "b": normal(8)}
X = {"x": normal(2, 4, 9, 10)}


# ---------------------------------------------------------------- folding and fusing


@pytest.mark.parametrize("bias", ("", "b"))
@pytest.mark.parametrize("transposed", (False, True))
def test_batch_normalization_and_arithmetic_are_folded(bias, transposed):
    constants = {
        **W, "s": normal(8), "t": normal(8), "m": normal(8), "v": normal(8) ** 2 + 0.5,
        "k": normal(8, 1, 1), "one": np.array(0.5, np.float32),
    }  # fmt: skip
    first = conv(b=bias)
    if transposed:
        constants["w"] = normal(4, 8, 3, 3)
        first = helper.make_node("ConvTranspose", ["x", "w", bias], ["c"], strides=[2, 2])
    nodes = [
        first,
        helper.make_node("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"]),
        helper.make_node("Mul", ["k", "n"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Div", ["q", "k"], ["y"]),
    ]
    check(model(nodes, X, constants), X, ["ConvTranspose" if transposed else "Conv"], 1e-5)


def test_what_does_not_fit_a_channel_is_not_folded():
    """A constant along W, a result that is read twice, and one that is an output."""
    row = {**W, "r": normal(8)}
    nodes = [conv(), helper.make_node("Mul", ["c", "r"], ["y"])]
    check(model(nodes, X, row), X, ["Conv", "Mul"])
    column = {**W, "k": normal(8, 1, 1)}
    nodes = [
        conv(),
        helper.make_node("Mul", ["c", "k"], ["d"]),
        helper.make_node("Add", ["c", "d"], ["y"]),
    ]
    check(model(nodes, X, column), X)
    nodes = [conv(), helper.make_node("Mul", ["c", "k"], ["y"])]
    check(model(nodes, X, column, ("y", "c")), X, ["Conv", "Mul"])
    wider = {**W, "k": normal(3, 8, 1, 1)}
    one = {"x": X["x"][:1]}
    nodes = [conv(), helper.make_node("Add", ["c", "k"], ["y"])]
    check(model(nodes, one, wider), one, ["Conv", "Add"])


def test_padding_is_folded():
    constants = {**W, "p": np.array([0, 0, 1, 2, 0, 0, 3, 0])}
    nodes = [helper.make_node("Pad", ["x", "p"], ["z"]), conv("z", "y", pads=[1, 0, 0, 1])]
    check(model(nodes, X, constants), X, ["Conv"])
    nodes[0] = helper.make_node("Pad", ["x", "p"], ["z"], mode="edge")
    check(model(nodes, X, constants), X, ["Pad", "Conv"])


def scalar(value):
    return np.array(value, np.float32)


GATES = {
    "relu": [("Relu", ["c"], {})],
    "clip(0, 6)": [("Clip", ["c", "zero", "six"], {})],
    "leaky_relu(0.2)": [("LeakyRelu", ["c"], {"alpha": 0.2})],
    "elu(0.7)": [("Elu", ["c"], {"alpha": 0.7})],
    "selu(1.67326, 1.0507)": [("Selu", ["c"], {})],
    "celu(0.8)": [("Celu", ["c"], {"alpha": 0.8})],
    "sigmoid": [("Sigmoid", ["c"], {})],
    "tanh": [("Tanh", ["c"], {})],
    "hard_sigmoid(0.2, 0.5)": [("HardSigmoid", ["c"], {})],
    "softplus": [("Softplus", ["c"], {})],
    "thresholded_relu(0.3)": [("ThresholdedRelu", ["c"], {"alpha": 0.3})],
    "silu(1)": [("Sigmoid", ["c"], {}), ("Mul", ["c", 0], {})],
    "mish": [("Softplus", ["c"], {}), ("Tanh", [0], {}), ("Mul", [1, "c"], {})],
    "hard_swish": [("Add", ["c", "three"], {}), ("Clip", [0, "zero", "six"], {}), ("Mul", ["c", 1], {}),
                   ("Div", [2, "six"], {})],
    "gelu": [("Div", ["c", "root"], {}), ("Erf", [0], {}), ("Add", [1, "one"], {}), ("Mul", ["c", 2], {}),
             ("Mul", [3, "half"], {})],
}  # fmt: skip
OTHER_WAYS = [
    ("hard_swish", [("HardSwish", ["c"], {})]),
    ("hard_swish", [("HardSigmoid", ["c"], {"alpha": 1 / 6}), ("Mul", [0, "c"], {})]),
    ("hard_swish", [("Add", ["three", "c"], {}), ("Clip", [0, "zero", "six"], {}), ("Mul", [1, "sixth"], {}),
                    ("Mul", [2, "c"], {})]),
    ("gelu", [("Mul", ["c", "half"], {}), ("Mul", ["c", "inverse"], {}), ("Erf", [1], {}), ("Add", ["one", 2], {}),
              ("Mul", [0, 3], {})]),
]  # fmt: skip
NUMBERS = {
    "zero": scalar(0), "six": scalar(6), "three": scalar(3), "one": scalar(1), "half": scalar(0.5),
    "root": scalar(2**0.5), "inverse": scalar(0.5**0.5), "sixth": scalar(1 / 6),
}  # fmt: skip


@pytest.mark.parametrize("name, steps", [*GATES.items(), *OTHER_WAYS])
def test_activations_are_fused(name, steps):
    """Alone behind a convolution, and behind one to which another's result is added."""
    names = [f"t{i}" for i in range(len(steps) - 1)] + ["y"]
    gates = [
        helper.make_node(op, [names[n] if isinstance(n, int) else n for n in ins], [out], **given)
        for (op, ins, given), out in zip(steps, names, strict=True)
    ]
    constants = {**W, **NUMBERS, "w2": normal(8, 4, 3, 3)}
    network = check(model([conv(b="b"), *gates], X, constants), X, ["Conv"], 4e-6)
    assert f"Conv + {name} " in str(network)
    both = [
        conv(y="a", b="b"),
        conv(y="r", w="w2"),
        helper.make_node("Add", ["r", "a"], ["c"]),
        *gates,
    ]
    network = check(model(both, X, constants), X, ["Conv", "Conv"], 4e-6)
    assert f"Conv + add + {name} " in str(network)


def test_a_broadcast_residual():
    """What is added may be larger than the convolution's result."""
    feeds = {"x": normal(1, 4, 9, 10), "z": normal(3, 8, 7, 8)}
    nodes = [conv(), helper.make_node("Add", ["z", "c"], ["y"])]
    check(model(nodes, feeds, W), feeds)


# ---------------------------------------------------------------- memory


def test_nothing_that_is_needed_is_written_over():
    """Views and results that are read later, inputs, constants and outputs stay what they are."""
    constants = {"k": normal(2, 3, 4), "shape": np.array([2, 12])}
    feeds = {"x": normal(2, 3, 4)}
    make = helper.make_node
    nodes = [
        make("Add", ["x", "k"], ["a"]),
        make("Reshape", ["a", "shape"], ["v"]),
        make("Relu", ["v"], ["r"]),
        make("Neg", ["a"], ["n"]),
        make("Reshape", ["n", "shape"], ["m"]),
        make("Exp", ["m"], ["e"]),
        make("Add", ["r", "e"], ["s"]),
        make("Identity", ["s"], ["t"]),
        make("Abs", ["t"], ["y"]),
        make("Transpose", ["x"], ["view"]),
        make("Relu", ["k"], ["folded"]),
        make("Identity", ["k"], ["constant"]),
    ]
    outputs = ("y", "s", "view", "folded", "constant")
    network = check(model(nodes, feeds, constants, outputs), feeds)
    first = network(**feeds)
    for result in first:
        assert result.flags.writeable
        result[...] = 7  # belongs to the caller
    second = network(**feeds)
    assert all((result != 7).any() for result in second) and (feeds["x"] != 7).all()
    assert np.array_equal(second[4], constants["k"])


def test_many_threads_and_pickles():
    constants = {**W, "p": np.array([2, -1])}
    nodes = [
        conv(b="b"),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Reshape", ["s", "p"], ["y"]),
    ]
    network = load(model(nodes, X, constants))
    wanted = network(X["x"])
    results = []
    threads = [threading.Thread(target=lambda: results.append(network(X["x"]))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6 and all(np.array_equal(r, wanted) for r in results)
    assert np.array_equal(pickle.loads(pickle.dumps(network))(X["x"]), wanted)


def test_shapes_that_vary():
    """What is known of one shape is not used for another."""
    make = helper.make_node
    constants = {**W, "i": np.array([0, 1]), "rest": np.array([-1])}
    nodes = [
        conv(pads=[1, 1, 1, 1]), make("Shape", ["c"], ["shape"]), make("Gather", ["shape", "i"], ["two"]),
        make("Concat", ["two", "rest"], ["wanted"], axis=0), make("Reshape", ["c", "wanted"], ["y"]),
    ]  # fmt: skip
    network = load(model(nodes, X, constants))
    for shape in ((2, 4, 5, 6), (1, 4, 8, 3), (2, 4, 5, 6)):
        x = normal(*shape)
        assert network(x).shape == (shape[0], 8, shape[2] * shape[3])


@pytest.mark.parametrize("dtype", (np.float16, np.float64))
def test_other_precisions(dtype):
    x = {"x": X["x"].astype(dtype)}
    w = {name: a.astype(dtype) for name, a in W.items()}
    network = load(model([conv(b="b"), helper.make_node("Relu", ["c"], ["y"])], x, w))
    y = network(**x)
    assert y.dtype == dtype
    wanted = np.maximum(
        cconv.conv2d(X["x"].astype(float), W["w"].astype(float), W["b"].astype(float)), 0
    )
    assert abs(y - wanted).max() <= (5e-3 if dtype == np.float16 else 1e-6) * wanted.max()


# ---------------------------------------------------------------- control, fallback


def branch(name, op):
    node = helper.make_node(op, ["x"], [f"{name}_out"])
    return helper.make_graph([node], name, [], [onnx.ValueInfoProto(name=f"{name}_out")])


@pytest.mark.parametrize("value", (True, False))
@pytest.mark.parametrize("constant", (True, False))
def test_if(value, constant):
    node = helper.make_node(
        "If", ["cond"], ["y"], then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg")
    )
    cond = np.array(value)
    feeds = {"x": normal(3, 4)} if constant else {"x": normal(3, 4), "cond": cond}
    network = load(model([node], feeds, {"cond": cond} if constant else {}))
    wanted = np.maximum(feeds["x"], 0) if value else -feeds["x"]
    assert np.array_equal(network(**feeds), wanted)
    if constant:
        assert "If" not in [n.op for n in network.graph.nodes]


def test_operators_of_the_onnx_package():
    """What cconv does not know runs, but cannot be saved."""
    feeds = {"x": np.array([[0.3, -2.0], [1.0, 5.0]], np.float32)}
    network = load(
        model([helper.make_node("Det", ["x"], ["d"]), helper.make_node("Neg", ["d"], ["y"])], feeds)
    )
    assert np.allclose(network(**feeds), -np.linalg.det(feeds["x"]))
    with pytest.raises(NetworkError, match="Det node"):
        network.save("never.cconv")
    assert not Path("never.cconv").exists()


def test_recurrent_networks_with_lengths():
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            constants = {
                "w": normal(count, gates * 5, 3), "r": normal(count, gates * 5, 5), "b": normal(count, gates * 10),
                "n": np.array([4, 2], np.int32),
            }  # fmt: skip
            feeds = {"x": normal(4, 2, 3)}
            outputs = ("y", "h", "c") if op == "LSTM" else ("y", "h")
            for names in (["x", "w", "r", "b"], ["x", "w", "r", "b", "n"], ["x", "w", "r"]):
                node = helper.make_node(op, names, outputs, hidden_size=5, direction=direction)
                check(model([node], feeds, constants, outputs), feeds, [op])


# ---------------------------------------------------------------- errors


def test_wrong_calls():
    network = load(model([conv(y="y")], X, W))
    with pytest.raises(TypeError, match="takes 1 inputs"):
        network(X["x"], X["x"])
    with pytest.raises(TypeError, match="no input 'z'"):
        network(z=X["x"])
    with pytest.raises(TypeError, match="given twice"):
        network(X["x"], x=X["x"])
    with pytest.raises(TypeError, match="'x' is missing"):
        network()
    with pytest.raises(TypeError, match="dtype float32, got complex"):
        network(X["x"] * 1j)
    with pytest.raises(ValueError, match="must have shape"):
        network(X["x"][0])
    with pytest.raises(ValueError, match="no output 'z'"):
        network(X["x"], outputs="z")
    with pytest.raises(NetworkError, match="Conv node"):
        network(normal(1, 5, 9, 9))
    assert np.array_equal(network(X["x"].tolist()), network(X["x"]))


def test_broken_models():
    with pytest.raises(TypeError, match="ModelProto"):
        load(3)
    with pytest.raises(FileNotFoundError):
        load("no such file.onnx")
    with pytest.raises(NetworkError, match="no ONNX model"):
        load(b"\x00\x01nonsense")
    with pytest.raises(NetworkError, match="'z' is made nowhere"):
        load(model([helper.make_node("Relu", ["z"], ["y"])], X))
    loop = [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    with pytest.raises(NetworkError, match="waits for itself"):
        load(model(loop, X, outputs=("a",)))
    with pytest.raises(NetworkError, match="made more than once"):
        load(model([helper.make_node("Relu", ["x"], ["y"])] * 2, X))
    with pytest.raises(NetworkError, match="Nonesuch node"):
        load(model([helper.make_node("Nonesuch", ["x"], ["y"])], X))


# ---------------------------------------------------------------- files


@pytest.fixture
def saved(tmp_path):
    make = helper.make_node
    nodes = [
        conv(b="b"), make("Relu", ["c"], ["r"]), make("GlobalAveragePool", ["r"], ["g"]),
        make("If", ["cond"], ["y"], then_branch=identity("g"), else_branch=identity("g")),
    ]  # fmt: skip
    feeds = {**X, "cond": np.array(True)}
    network = load(model(nodes, feeds, W))
    path = tmp_path / "net.cconv"
    network.save(path)
    return path, feeds, network(**feeds)


def identity(name):
    node = helper.make_node("Identity", [name], ["same"])
    return helper.make_graph([node], "body", [], [onnx.ValueInfoProto(name="same")])


def test_a_saved_network_needs_numpy_alone(saved):
    """In a process that refuses every other package."""
    path, feeds, wanted = saved
    np.savez(path.parent / "data.npz", x=feeds["x"], wanted=wanted)
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("onnx", "onnxruntime", "torch", "scipy", "google", "PIL", "ml_dtypes"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import numpy as np, cconv
data = np.load({str(path.parent / "data.npz")!r})
y = cconv.load_network({str(path)!r})(data["x"], True)
assert np.array_equal(y, data["wanted"])
"""
    home = Path(cconv.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=home, check=True)


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    path, _, _ = saved
    again = tmp_path / "again.cconv"
    cconv.load_network(path).save(again)
    assert again.read_bytes() == path.read_bytes()
    assert not list(tmp_path.glob("*.part"))


def rewritten(path, change):
    """The file with its description changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = json.loads(members["network.json"])
    change(text)
    members["network.json"] = json.dumps(text).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def first_constant(text):
    return next(iter(text["constants"].values()))


HOSTILE = {
    "version": (lambda t: t.update(version=2), "version 2"),
    "format": (lambda t: t.update(format="x"), "not a saved network"),
    "shape": (lambda t: first_constant(t).update(shape=[2**40, 2**40]), "does not have"),
    "negative": (lambda t: first_constant(t).update(shape=[-1, -288]), "does not have"),
    "dtype": (lambda t: first_constant(t).update(dtype="object"), "not known"),
    "missing": (lambda t: first_constant(t).update(at=99), "missing"),
    "nodes": (lambda t: t.pop("nodes"), "damaged"),
    "op": (lambda t: t["nodes"][0].update(op="Nonesuch"), "not known"),
    "input": (lambda t: t["nodes"][0].update(inputs=["nowhere"]), "made nowhere"),
    "kinds": (lambda t: t["nodes"][0].update(inputs=3), "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_descriptions(saved, name):
    change, words = HOSTILE[name]
    rewritten(saved[0], change)
    with pytest.raises(NetworkError, match=words):
        cconv.load_network(saved[0])


def test_compressed_files_are_refused(saved, tmp_path):
    bomb = tmp_path / "bomb.cconv"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("network.json", b" " * 10**7)
    with pytest.raises(NetworkError, match="larger than the file|compressed"):
        cconv.load_network(bomb)


def test_damaged_files(saved):
    """Any change of bytes is an error in one sentence, or changes nothing that counts."""
    path, feeds, wanted = saved
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for turn in range(1500):
        changed = bytearray(data)
        if turn % 3 == 0:
            del changed[int(rng.integers(len(data))) :]
        else:
            for _ in range(int(rng.integers(1, 5))):
                changed[int(rng.integers(len(data)))] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            result = cconv.load_network(path)(**feeds)
        except (NetworkError, TypeError) as error:
            assert str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert np.array_equal(result, wanted)
    assert refused > 1000


# ---------------------------------------------------------------- looking at them, the command line


def test_table_and_profile(saved):
    network = cconv.load_network(saved[0])
    assert "Conv + relu" in str(network) and "8x4x3x3" in str(network) and "numbers" in str(network)
    profile = network.profile(*saved[1].values(), repeat=2)
    assert len(profile.rows) == len(network.graph.nodes)
    assert abs(sum(row.share for row in profile.rows) - 1) < 1e-6
    assert "2x8x7x8" in str(profile)


def test_networks_by_hand():
    x, y = Value("x", "float32", (1, 1, "L")), Value("y")
    graph = Graph(
        [x], [y], [Node("MaxPool", ["x"], ["y"], {"kernel_shape": [2], "strides": [2]})], {}
    )
    assert np.array_equal(Network(graph)([[[1, 3, 2, 0]]]), [[[3, 2]]])


def test_command_line(tmp_path, capsys):
    image_module = pytest.importorskip("PIL.Image")
    nodes = [
        conv(b="b"), helper.make_node("GlobalMaxPool", ["c"], ["g"]), helper.make_node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    proto = model(nodes, {"x": normal(1, 3, 12, 12)}, {"w": normal(8, 3, 3, 3), "b": normal(8)})
    source, target = str(tmp_path / "net.onnx"), str(tmp_path / "net.cconv")
    onnx.save(proto, source)
    assert main(["convert", source]) == 0
    assert "wrote" in capsys.readouterr().out
    picture, labels = str(tmp_path / "photo.png"), tmp_path / "labels.txt"
    image_module.fromarray(np.arange(12 * 14 * 3, dtype=np.uint8).reshape(12, 14, 3)).save(picture)
    labels.write_text("\n".join("abcdefgh"))
    for network in (source, target):
        arguments = [
            network,
            picture,
            "--shape",
            "1x3x12x12",
            "--top",
            "3",
            "--labels",
            str(labels),
        ]
        assert main(["run", *arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert (
            len(lines) == 4
            and lines[0] == "y: float32 (1, 8)"
            and lines[1].split()[2] in "abcdefgh"
        )
    assert main(["profile", target, "--shape", "1x3x12x12", "--repeat", "1"]) == 0
    assert "Conv" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, words",
    (
        (["convert", "none.onnx"], "none.onnx cannot be read"),
        (["run", "none.cconv", "x.npy"], "none.cconv cannot be read"),
        (["run", "README.md", "x.npy"], "not a saved network"),
        (["profile", "README.md"], "not a saved network"),
    ),
)
def test_command_line_mistakes(argv, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text("no network")
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert words in err.splitlines()[-1]
