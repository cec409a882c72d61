"""The network that samples in the page is the shipped one, whatever form it travels in."""

import gzip
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import ddim_lib
from ddim_lib.datasets import load
from scripts.assets import export_onnx


@pytest.fixture(scope="module", params=export_onnx.NETWORKS)
def weights(request):
    return request.param


@pytest.fixture(scope="module")
def made(tmp_path_factory, weights):
    return export_onnx.write(tmp_path_factory.mktemp("live"), weights)


@pytest.fixture(scope="module")
def shipped(weights):
    return ddim_lib.load_pretrained(weights)


def content(path) -> bytes:
    return gzip.decompress(path.read_bytes())


@pytest.fixture(scope="module")
def session(made):
    return onnxruntime.InferenceSession(content(made[0]), providers=["CPUExecutionProvider"])


def compare(session, shipped, t: torch.Tensor, seen: torch.Tensor, other: int = 0) -> float:
    """How far eps is from torch's, on digits noised to t that torch is told are at `seen`.

    Where the network takes labels, all of them in turn; torch is told those `other` further on.
    """
    model, schedule = shipped
    digits = load("digits")[0][:len(t)]
    y = [(torch.arange(len(t)) + further) % (model.classes + 1) for further in (0, other)]
    labels = {"y": y[0].numpy()} if model.classes else {}
    noise = torch.randn(digits.shape, generator=torch.Generator().manual_seed(len(t)))
    x = schedule.add_noise(digits, t, noise)
    (eps,) = session.run(None, {"x": x.numpy(), "t": t.numpy(), **labels})
    assert eps.dtype == np.float32 and eps.shape == x.shape
    with torch.no_grad():
        return np.abs(eps - model(x, seen, *(y[1:] if labels else [])).numpy()).max()


@pytest.mark.parametrize("t", [[500], [1, 1000], [1, 2, 5, 10, 30, 100, 200, 400, 600, 800, 1000]])
def test_it_names_the_noise_as_torch_does(session, shipped, t):
    t = torch.tensor(t)
    assert compare(session, shipped, t, t) <= 1e-4


def test_it_subtracts_the_label_s_offset_itself(session, shipped):
    t = torch.arange(2, 20)
    assert compare(session, shipped, t, t) <= 1e-4
    assert compare(session, shipped, t, t - 1) > 1e-2


def test_it_hears_the_label(session, shipped):
    t = torch.full((11,), 300)
    far = compare(session, shipped, t, t, other=1)
    assert far > 1e-1 if shipped[0].classes else far <= 1e-4


def test_its_inputs_and_output_are_named(session, shipped):
    inputs = {i.name: (i.type, i.shape[1:]) for i in session.get_inputs()}
    whole = ("tensor(int64)", [])
    labels = {"y": whole} if shipped[0].classes else {}
    assert inputs == {"x": ("tensor(float)", [1, 28, 28]), "t": whole, **labels}
    assert [o.name for o in session.get_outputs()] == ["eps"]


def test_the_error_that_it_reports_is_small_and_not_nothing(made):
    assert 1e-7 < made[1] <= export_onnx.BOUND == 1e-4


def test_it_is_small(made):
    assert made[0].stat().st_size < 2.4e6


def test_the_table_is_the_library_s(made, shipped):
    table = json.loads(made[0].with_suffix(".json").read_text())
    assert table == shipped[1].alpha.tolist() and len(table) == 1001


def test_the_committed_network_is_what_the_export_gives(made):
    """To the last bit, before gzip, whose versions compress differently; the table to rounding."""
    how = f"python -m scripts.assets.export_onnx {made[0].stem}"
    committed = export_onnx.TARGET / made[0].name
    assert content(committed) == content(made[0]), how
    table = json.loads(committed.with_suffix(".json").read_text())
    assert table == pytest.approx(json.loads(made[0].with_suffix(".json").read_text()), rel=1e-12)


def test_it_names_no_file_and_holds_no_large_table_of_floats(made):
    raw = content(made[0])
    assert b".py" not in raw and str(export_onnx.ROOT).encode() not in raw
    graph = onnx.load_from_string(raw)
    assert graph.opset_import[0].version == 20
    large = [t.name for t in graph.graph.initializer
             if t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) >= export_onnx.LARGE]
    assert large == []


def test_coarser_weights_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(export_onnx, "BITS", 16)
    with pytest.raises(ValueError, match="differs from torch by .* in eps, more than 0.0001"):
        export_onnx.write(tmp_path, "mnist")
    assert list(tmp_path.iterdir()) == []
