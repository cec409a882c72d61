"""What the number type of a device is asked for, and what autocast gets."""

import pytest
import torch

from ddim_lib.runtime import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name, dtype", [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_autocast_gets_the_device_and_the_type(name, dtype):
    found = precision.computing_in(name, CPU)
    assert (found.device, found.fast_dtype) == ("cpu", dtype)


def test_fp32_is_no_autocast_at_all():
    assert not isinstance(precision.computing_in("fp32", CPU), torch.autocast)


def test_it_is_this_device_that_is_asked(monkeypatch):
    asked, second = [], torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability",
                        lambda device: (asked.append(device), (8, 0))[1])
    assert precision.best_precision(second) == precision.resolve("auto", second) == "bf16"
    assert asked == [second, second]


@pytest.mark.parametrize("device", ["meta", "xla"])
def test_a_device_that_nothing_is_known_of_computes_in_fp32(device, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert precision.best_precision(torch.device(device)) == "fp32"


def test_the_errors_in_full():
    with pytest.raises(ValueError,
                       match="^autocast must be auto, bf16 or fp32 on a CPU, got fp16$"):
        precision.resolve("fp16", CPU)
    with pytest.raises(ValueError,
                       match="^autocast must be one of auto, bf16, fp16, fp32, got 'half'$"):
        precision.check("half")


def test_another_accelerator_is_called_by_its_name():
    with pytest.raises(ValueError, match="^autocast must be auto, bf16 or fp32 on mps, got fp16$"):
        precision.resolve("fp16", torch.device("mps"))
