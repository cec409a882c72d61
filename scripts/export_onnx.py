"""Write the digit network in the form that the pages run: ONNX, from the shipped weights.

Two files, both made at build time: the network, compressed with gzip (book/_assets/live/model.bin;
no server treats a name in .bin in a way of its own), and the table alpha_0..alpha_T beside it.
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

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "book" / "_assets" / "live"
WEIGHTS = "mnist"
OPSET = 20
# Smaller tensors stay float32: biases, and the table of frequencies of the time embedding.
LARGE = 1024
BITS = 22
BOUND = 1e-4
LEVELS = (1, 10, 50, 100, 250, 500, 750, 1000)
BATCHES = (1, 2, 16)


def export(model: torch.nn.Module) -> onnx.ModelProto:
    """The network as ONNX, float32: x (N, 1, 28, 28), t (N,) int64 in 1..T, to eps."""
    batch = {0: torch.export.Dim.DYNAMIC}
    # Two images: a batch of one would be taken for a constant.
    example = (torch.zeros(2, *model.image_shape), torch.tensor([1, 2]))
    program = torch.onnx.export(model, example, dynamo=True, opset_version=OPSET, verbose=False,
                                input_names=["x", "t"], output_names=["eps"],
                                dynamic_shapes=(batch, batch))
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
    """The largest difference from torch in eps, over LEVELS and BATCHES.

    Each x is one that the sampler meets at that level.
    """
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in BATCHES:
        for step in ddim_lib.sample_iter(model, schedule, steps=LEVELS, seeds=range(batch)):
            if step.t == 0:
                continue
            (eps,) = session.run(None, {"x": step.x.numpy(), "t": np.full(batch, step.t)})
            worst = max(worst, float(np.abs(eps - step.eps.numpy()).max()))
    return worst


def write(folder: Path) -> tuple[Path, float]:
    """Make both files in the folder; gives the network's and its error.

    Raises:
        ValueError: the ONNX network differs from torch by more than BOUND.
    """
    model, schedule = ddim_lib.load_pretrained(WEIGHTS)
    graph = export(model)
    store_in_whole_numbers(graph)
    content = graph.SerializeToString(deterministic=True)
    error = worst_error(content, model, schedule)
    if not error <= BOUND:
        raise ValueError(f"the ONNX network differs from torch by {error:.2g} in eps, more than "
                         f"{BOUND:g}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alpha.json").write_text(json.dumps(schedule.alpha.tolist()) + "\n")
    path = folder / "model.bin"
    path.write_bytes(gzip.compress(content, 9, mtime=0))
    return path, error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TARGET, help="the folder, default %(default)s")
    try:
        path, error = write(parser.parse_args().out)
    except ValueError as problem:
        sys.exit(f"{problem}; nothing was written")
    size, raw = path.stat().st_size, len(gzip.decompress(path.read_bytes()))
    print(f"{path.name}: {size / 1e6:.2f} MB ({raw / 1e6:.2f} MB before gzip), largest difference "
          f"from torch {error:.1e} in eps, at t = {', '.join(map(str, LEVELS))}, batches of "
          f"{', '.join(map(str, BATCHES))}")


if __name__ == "__main__":
    main()
