"""Networks in files: a zip of one JSON text and the constants' bytes, nothing compressed, nothing executable.

network.json    {"format": "cconv network", "version": 1, "name", "inputs", "outputs", "nodes", "constants"}
constants/N     the elements of constant N, little-endian, in C order

Every size is checked against the file's own before memory is taken, so a damaged or hostile file costs no more than its
bytes.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from math import prod
from typing import Any

import numpy as np

from .graph import Array, Graph, NetworkError, Node, Value, sorted_nodes

FORMAT, VERSION = "cconv network", 1
DTYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
    "complex64", "complex128",
)  # fmt: skip
DEPTH = 50  # bodies within bodies
ALIGN = 64


# ---------------------------------------------------------------- writing


def write(graph: Graph, path: str | os.PathLike[str]) -> None:
    """The file appears whole or not at all."""
    arrays: list[Array] = []
    text = json.dumps(
        {"format": FORMAT, "version": VERSION, **graph_out(graph, arrays)}, allow_nan=True
    )
    unfinished = f"{os.fspath(path)}.part"
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(member("network.json"), text)
            for i, array in enumerate(arrays):
                little = np.ascontiguousarray(array).astype(
                    array.dtype.newbyteorder("<"), copy=False
                )
                archive.writestr(member(f"constants/{i}"), little.tobytes())
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)


def member(name: str) -> zipfile.ZipInfo:
    """The same bytes whenever the same network is written."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def graph_out(graph: Graph, arrays: list[Array]) -> dict[str, Any]:
    constants = {}
    for name, array in graph.constants.items():
        constants[name] = array_out(array, arrays, f"the constant {name!r}")
    return {
        "name": graph.name,
        "inputs": [value_out(v) for v in graph.inputs],
        "outputs": [value_out(v) for v in graph.outputs],
        "nodes": [node_out(node, arrays) for node in graph.nodes],
        "constants": constants,
    }


def array_out(array: Array, arrays: list[Array], what: str) -> dict[str, Any]:
    if array.dtype.name not in DTYPES:
        raise NetworkError(f"{what} of dtype {array.dtype} cannot be saved")
    arrays.append(array)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "at": len(arrays) - 1}


def value_out(value: Value) -> dict[str, Any]:
    return {
        "name": value.name,
        "dtype": value.dtype,
        "shape": None if value.shape is None else list(value.shape),
    }


def node_out(node: Node, arrays: list[Array]) -> dict[str, Any]:
    return {
        "op": node.op, "domain": node.domain, "name": node.name, "opset": node.opset, "inputs": node.inputs,
        "outputs": node.outputs, "attributes": {k: attribute_out(node, v, arrays) for k, v in node.attributes.items()},
    }  # fmt: skip


def attribute_out(node: Node, value: Any, arrays: list[Array]) -> Any:
    if isinstance(value, Graph):
        return {"graph": graph_out(value, arrays)}
    if isinstance(value, np.ndarray):
        return {"array": array_out(value, arrays, node.label)}
    if isinstance(value, list | tuple):
        return [attribute_out(node, v, arrays) for v in value]
    if isinstance(value, bytes):
        return value.decode()
    if value is None or isinstance(value, str | int | float):
        return value
    raise NetworkError(f"{node.label}: its attributes cannot be saved")


# ---------------------------------------------------------------- reading


def read(path: str | os.PathLike[str]) -> Graph:
    """The graph of a file that `write` made; NetworkError, in one sentence, for any other."""
    name = os.fspath(path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return Reader(archive, len(data)).graph()
    except NetworkError as error:
        raise NetworkError(f"{name}: {error}") from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise NetworkError(f"{name}: not a saved network, or damaged ({error})") from None
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        OverflowError,
        IndexError,
    ) as error:
        raise NetworkError(
            f"{name}: its description is damaged ({type(error).__name__}: {error})"
        ) from None


class Reader:
    """One open file."""

    def __init__(self, archive: zipfile.ZipFile, size: int):
        self.archive = archive
        self.members = {info.filename: info for info in archive.infolist()}
        if sum(info.file_size for info in self.members.values()) > size:
            raise NetworkError("its parts are larger than the file")

    def bytes_of(self, name: str) -> bytes:
        info = self.members.get(name)
        if info is None:
            raise NetworkError(f"{name} is missing")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise NetworkError(f"{name} is compressed or encrypted, which saved networks are not")
        return self.archive.read(info)

    def graph(self) -> Graph:
        text = json.loads(self.bytes_of("network.json"))
        if not isinstance(text, dict) or text.get("format") != FORMAT:
            raise NetworkError("not a saved network")
        if text.get("version") != VERSION:
            raise NetworkError(
                f"its format has version {text.get('version')!r}, this cconv reads {VERSION}"
            )
        return self.one_graph(text, (), 0)

    def one_graph(self, text: dict[str, Any], around: tuple[str, ...], depth: int) -> Graph:
        if depth > DEPTH:
            raise NetworkError("its bodies lie too deep")
        graph = Graph(
            inputs=[self.value(v) for v in text["inputs"]],
            outputs=[self.value(v) for v in text["outputs"]],
            nodes=[self.node(n, depth) for n in text["nodes"]],
            constants={string(k): self.array(v) for k, v in text["constants"].items()},
            name=string(text["name"]),
        )
        if depth == 0:
            graph.nodes = sorted_nodes(graph)
        return graph

    def value(self, text: dict[str, Any]) -> Value:
        shape, dtype = text["shape"], text["dtype"]
        if dtype is not None and dtype not in DTYPES:
            raise NetworkError(f"dtype {dtype!r} is not known")
        sizes = None if shape is None else tuple(size_or_name(d) for d in shape)
        return Value(string(text["name"]), dtype, sizes)

    def node(self, text: dict[str, Any], depth: int) -> Node:
        return Node(
            op=string(text["op"]), domain=string(text["domain"]), name=string(text["name"]),
            opset=integer(text["opset"]), inputs=[string(n) for n in text["inputs"]],
            outputs=[string(n) for n in text["outputs"]],
            attributes={string(k): self.attribute(v, depth) for k, v in text["attributes"].items()},
        )  # fmt: skip

    def attribute(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            if "graph" in value:
                return self.one_graph(value["graph"], (), depth + 1)
            return self.array(value["array"])
        if isinstance(value, list):
            return [self.attribute(v, depth + 1) for v in value]
        return value

    def array(self, text: dict[str, Any]) -> Array:
        if text["dtype"] not in DTYPES:
            raise NetworkError(f"dtype {text['dtype']!r} is not known")
        dtype = np.dtype(text["dtype"]).newbyteorder("<")
        shape = tuple(integer(n) for n in text["shape"])
        data = self.bytes_of(f"constants/{integer(text['at'])}")
        if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != len(data):
            raise NetworkError(f"a constant of shape {shape} does not have {len(data)} bytes")
        array = np.frombuffer(data, dtype).reshape(shape)
        return array if array.dtype.isnative else array.astype(dtype.newbyteorder("="))


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise NetworkError(f"a text was expected, got {value!r}")
    return value


def integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise NetworkError(f"an integer was expected, got {value!r}")
    return value


def size_or_name(value: Any) -> int | str | None:
    return value if value is None or isinstance(value, str) else integer(value)
