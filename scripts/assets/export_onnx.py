"""Write a digit network in the form that the pages run: ONNX, from the shipped weights.

Two files for each network, both committed, so that the pages need no torch: the network, compressed
with gzip (book/_assets/live/NAME.bin; no server treats a name in .bin in a way of its own), and the
table alpha_0..alpha_T beside it (NAME.json). After a change to the weights, the network or the
export, run it again; a test compares.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

import ddim_lib

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "book" / "_assets" / "live"
NETWORKS = ("mnist", "mnist-labels")
OPSET = 20
# Smaller tensors stay float32: biases, and the table of frequencies of the time embedding.
LARGE = 1024
BITS = 22
BOUND = 1e-4
LEVELS = (1, 10, 50, 100, 250, 500, 750, 1000)
BATCHES = (1, 2, 16)


def export(model: torch.nn.Module) -> onnx.ModelProto:
    """The network as ONNX, float32, to eps: x (N, 1, 28, 28) and t (N,) int64 in 1..T.

    One with labels takes y (N,) int64 too, in 0..classes, of which ``classes`` is no label.
    """
    # Two images: a batch of one would be taken for a constant.
    example = {"x": torch.zeros(2, *model.image_shape), "t": torch.tensor([1, 2])}
    if model.classes:
        example["y"] = torch.tensor([0, model.classes])
    batch = {0: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(model, tuple(example.values()), dynamo=True, opset_version=OPSET,
                                verbose=False, input_names=list(example), output_names=["eps"],
                                dynamic_shapes=(batch,) * len(example))
    graph = program.model_proto
    strip(graph)
    return graph


def strip(model: onnx.ModelProto) -> None:
    """Remove what no reader needs: the exporter's notes name files of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]


def store_in_whole_numbers(model: onnx.ModelProto) -> None:
    """Replace large float32 tensors by whole numbers of BITS bits times a scale a row.

    For an output channel whose largest weight is m, the scale is m / (2^21 - 1). The number is
    stored as 64 times a signed 16-bit part plus a 6-bit part, and put together once, when the
    network is loaded. Compressed, that is 2.7 bytes a weight, with hardly more error in eps than
    float32's own rounding; float16 takes 1.9 bytes, and its error is above 1e-3.
    """
    low_bits = BITS - 16
    largest = 2 ** (BITS - 1) - 1
    tensors, nodes = [numpy_helper.from_array(np.float32(2**low_bits), "shift")], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < LARGE:
            tensors.append(tensor)
            continue
        rows = tuple(range(1, values.ndim))
        scale = np.abs(values).max(axis=rows, keepdims=True) / np.float64(largest)
        scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
        whole = np.rint(values / scale.astype(np.float64)).astype(np.int32)
        parts = {"high": (whole >> low_bits).astype(np.int16),
                 "low": (whole & (2**low_bits - 1)).astype(np.uint8), "scale": scale}
        name = tensor.name
        tensors += [numpy_helper.from_array(part, f"{name}.{key}") for key, part in parts.items()]
        nodes += [helper.make_node("Cast", [f"{name}.{key}"], [f"{name}.{key}.float"],
                                   to=TensorProto.FLOAT) for key in ("high", "low")]
        nodes += [helper.make_node("Mul", [f"{name}.high.float", "shift"], [f"{name}.shifted"]),
                  helper.make_node("Add", [f"{name}.shifted", f"{name}.low.float"],
                                   [f"{name}.whole"]),
                  helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name])]
    nodes.extend(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(tensors)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)


def worst_error(onnx_bytes: bytes, model: torch.nn.Module, schedule: ddim_lib.Schedule) -> float:
    """The largest difference from torch in eps, over LEVELS, BATCHES and, in turn, all labels.

    Each x is one that the sampler meets at that level.
    """
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in BATCHES:
        labels, known = None, {}
        if model.classes:
            known = {"y": np.arange(batch) % (model.classes + 1)}
            labels = [y if y < model.classes else None for y in known["y"].tolist()]
        for step in ddim_lib.sample_iter(model, schedule, steps=LEVELS, seeds=range(batch),
                                         labels=labels):
            if step.t == 0:
                continue
            t = np.full(batch, step.t)
            (eps,) = session.run(None, {"x": step.x.numpy(), "t": t, **known})
            worst = max(worst, float(np.abs(eps - step.eps.numpy()).max()))
    return worst


def write(folder: Path, weights: str) -> tuple[Path, float]:
    """Make both files of these shipped weights in the folder; gives the network's and its error.

    Raises:
        ValueError: the ONNX network differs from torch by more than BOUND.
    """
    model, schedule = ddim_lib.load_pretrained(weights)
    graph = export(model)
    store_in_whole_numbers(graph)
    content = graph.SerializeToString(deterministic=True)
    error = worst_error(content, model, schedule)
    if not error <= BOUND:
        raise ValueError(f"the ONNX network differs from torch by {error:.2g} in eps, more than "
                         f"{BOUND:g}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{weights}.json").write_text(json.dumps(schedule.alpha.tolist()) + "\n")
    path = folder / f"{weights}.bin"
    path.write_bytes(gzip.compress(content, 9, mtime=0))
    return path, error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", choices=NETWORKS, help="the shipped weights, one of %(choices)s")
    parser.add_argument("--out", type=Path, default=TARGET, help="the folder, default %(default)s")
    chosen = parser.parse_args()
    try:
        path, error = write(chosen.out, chosen.weights)
    except ValueError as problem:
        sys.exit(f"{problem}; nothing was written")
    size, raw = path.stat().st_size, len(gzip.decompress(path.read_bytes()))
    print(f"{path.name}: {size / 1e6:.2f} MB ({raw / 1e6:.2f} MB before gzip), largest difference "
          f"from torch {error:.1e} in eps, at t = {', '.join(map(str, LEVELS))}, batches of "
          f"{', '.join(map(str, BATCHES))}")


if __name__ == "__main__":
    main()
