"""What goes wrong on real machines: one clear error, and the last good state stays."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from test_cli import ddim as sampler  # noqa: F401
from test_cli_train import TINY, assert_error, ddim, files, small_disk  # noqa: F401
from test_download import CONTENT, MD5, goal, impatient, serve  # noqa: F401
from test_training import assert_same, everything, run, trainer
from test_weights import network

from ddim_lib.schedule import linear
from ddim_lib.storage.download import DownloadError, download
from ddim_lib.storage.files import check_zip, replacing, try_writing, why_not_written
from ddim_lib.weights import load_weights, read_facts, save_weights
from proofs import kill
from proofs.compare import differences

GONE = 4_194_304  # above Linux's largest process id
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="SIGKILL and ids as on Linux")


# Kill -9: make proof does this with twenty kills -------------------------------------------------

@ON_LINUX
@pytest.mark.slow
def test_a_run_that_is_killed_three_times_equals_the_undisturbed_one(tmp_path):
    kill.draw_pictures(tmp_path / "pictures")
    whole, killed = (kill.Run(tmp_path / name, 24, 3) for name in ("whole", "killed"))
    whole.finish()
    assert killed.kill_at("a checkpoint is renamed", 2)
    half = (whole.out / "checkpoint.pt").stat().st_size // 2
    assert killed.kill_at("a checkpoint is half written", half)
    assert killed.kills[1]["unfinished"] == ["checkpoint.pt"]
    assert killed.kill_after(0.05)
    killed.finish()
    kill.check(whole, killed)
    (killed.out / ".checkpoint.pt.1.tmp").mkdir()
    assert differences(whole.out, killed.out, kill.PRESET) == ["killed holds .checkpoint.pt.1.tmp"]


def test_a_difference_of_one_bit_is_found(ddim, tmp_path):  # noqa: F811
    """Of what the proof compares; else it would prove nothing."""
    preset = ("train", kill.PRESET, *kill.OPTIONS, "--steps", 2, "--out", "one")
    assert ddim(*preset)[0] == 0
    one, other = tmp_path / "one", tmp_path / "other"
    shutil.copytree(one, other)
    assert differences(one, other, kill.PRESET) == []
    weights = other / f"{kill.PRESET}.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    log = json.loads((other / "loss.json").read_text())
    log["loss"][-1]["loss"] += 1e-15
    log["seconds"] += 1  # which may differ
    (other / "loss.json").write_text(json.dumps(log))
    state = torch.load(other / "checkpoint.pt")
    state["optimizer"]["state"][0]["exp_avg"].view(torch.int32)[0] ^= 1
    state["global_rng"][7] ^= 1
    torch.save(state, other / "checkpoint.pt")
    assert differences(one, other, kill.PRESET) == [
        "the bytes of the weights", "what the record says of loss",
        "the checkpoint's .global_rng", "the checkpoint's .optimizer.state.0.exp_avg"]


@ON_LINUX
def test_what_a_killed_writer_left_goes_with_the_next_writing(tmp_path):
    path = tmp_path / "x.pt"
    gone, other, lives = (tmp_path / name for name in (
        f".x.pt.{GONE}.tmp", f".y.pt.{GONE}.tmp", f".x.pt.{os.getppid()}.tmp"))
    for folder in (gone, other, lives):
        folder.mkdir()
        (folder / "half").write_bytes(b"half")
    with replacing(path) as temporary:
        assert temporary.name == "x.pt" and not gone.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert sorted(tmp_path.iterdir()) == sorted([path, other, lives])


@ON_LINUX
def test_a_writer_that_is_killed_while_it_tries_is_cleared_up_after_as_well(tmp_path):
    """The next one finds the folder by its name; killed here in the midst of try_writing."""
    path = tmp_path / "x.pt"
    code = ("import os, pathlib, signal, sys\n"
            "pathlib.Path.touch = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "from ddim_lib.storage.files import try_writing\n"
            "try_writing(sys.argv[1])\n")
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 1
    try_writing(path)
    assert list(tmp_path.iterdir()) == []


# A full disk -------------------------------------------------------------------------------------

def lengths(size, n=8):
    return sorted({0, 1, size // 2, size - 1, *random.Random(0).sample(range(size), n)})


@pytest.mark.parametrize("kind", ["checkpoint", "weights"])
def test_wherever_the_disk_is_full_the_old_file_stays(kind, tmp_path):
    path, t, net = tmp_path / "old", trainer(), network()

    def write():
        if kind == "checkpoint":
            t.save(path)
        else:
            save_weights(path, net, linear())

    write()
    before = path.read_bytes()
    run(t, 2)
    for length in lengths(len(before)):
        with small_disk(length), pytest.raises(Exception) as caught:
            write()
        assert why_not_written(caught.value) == "File too large", length
        assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path], length


@pytest.mark.parametrize("ending", ["png", "gif", "mp4", "npy", "safetensors"])
def test_wherever_the_disk_is_full_the_old_samples_stay(ending, sampler, tmp_path):  # noqa: F811
    command = ("sample", "--weights", "tiny.safetensors", "--n", 2, "--steps", 2, "--out",
               f"x.{ending}")
    assert sampler(*command)[0] == 0
    size = (tmp_path / f"x.{ending}").stat().st_size
    (tmp_path / f"x.{ending}").write_text("older samples")
    before = files(tmp_path)
    for length in lengths(size, 2):
        with small_disk(length):
            result = sampler(*command)
        # MP4's writer is another program, with words of its own.
        why = "ffmpeg ended with" if ending == "mp4" else "File too large"
        assert_error(result, f"--out x.{ending} cannot be written: {why}", "before is untouched")
        assert files(tmp_path) == before, length


def test_a_download_on_a_full_disk_names_its_file_and_leaves_nothing(serve, goal):  # noqa: F811
    """The disk is not called a source that failed, and no other is asked."""
    server, second = serve(), serve()
    urls = [server.url, second.url]
    with small_disk(70_000), pytest.raises(OSError, match="File too large: '.*file.bin'") as caught:
        download(urls, goal, md5=MD5)
    assert not isinstance(caught.value, DownloadError) and list(goal.parent.iterdir()) == []
    assert download(urls, goal, md5=MD5).read_bytes() == CONTENT
    assert len(server.asked) == 2 and second.asked == []


# Damaged files -----------------------------------------------------------------------------------

def test_a_checkpoint_cut_anywhere_is_an_error_and_changes_nothing(tmp_path):
    path, t = tmp_path / "run.pt", trainer()
    t.save(path)
    content, before = path.read_bytes(), everything(t)
    for length in lengths(len(content), 30):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="run.pt is not a checkpoint of this library, or is d"):
            t.load(path)
    assert_same(everything(t), before)


def test_weights_cut_anywhere_are_an_error(tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(path, network(), linear())
    content = path.read_bytes()
    for length in lengths(len(content), 30):
        path.write_bytes(content[:length])
        for read in (load_weights, read_facts):
            with pytest.raises(ValueError, match="net.safetensors is not a safetensors file, or"):
                read(path)


def test_one_flipped_bit_never_changes_what_a_checkpoint_holds(tmp_path):
    """Refused, or in a byte that holds nothing (padding, a time)."""
    path, t, other, chance = tmp_path / "run.pt", trainer(), trainer(seed=9), random.Random(0)
    run(t, 2)
    t.save(path)
    content, noticed = path.read_bytes(), 0
    for _ in range(100):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            other.load(path)
        except ValueError as error:
            assert "run.pt is not a checkpoint of this library, or is damaged" in str(error)
            noticed += 1
        else:
            assert_same(everything(other), everything(t))
    assert noticed > 80


def test_a_weight_that_flipped_is_named_with_its_entry(tmp_path):
    t, path = trainer(), tmp_path / "run.pt"
    t.save(path)
    content = bytearray(path.read_bytes())
    content[content.index(t.model.conv_in.weight.detach().numpy().tobytes()) + 5] ^= 16
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"the checksum of its entry archive/data/\d+ differs"):
        check_zip(path)
    torch.load(path)  # which notices nothing


def test_a_flipped_header_of_weights_is_a_clear_error_or_still_a_network(tmp_path):
    """The numbers themselves have no checksum in safetensors."""
    path, chance = tmp_path / "net.safetensors", random.Random(1)
    save_weights(path, network(), linear(), steps=3)
    content, noticed = path.read_bytes(), 0
    end = 8 + int.from_bytes(content[:8], "little")
    for _ in range(300):
        flipped = bytearray(content)
        flipped[chance.randrange(end)] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            load_weights(path)
        except ValueError as error:
            assert "net.safetensors" in str(error), str(error)
            noticed += 1
    assert noticed > 250


# Folders that are in the way, numbers that are none -----------------------------------------------

@pytest.mark.parametrize("name", ["checkpoint.pt", "digits.safetensors", "loss.json"])
def test_a_folder_with_a_files_name_is_told_before_the_training(name, ddim, tmp_path,  # noqa: F811
                                                                 monkeypatch):
    (tmp_path / "run" / name).mkdir(parents=True)
    monkeypatch.setattr("ddim_lib.training.Trainer.run", None)
    assert_error(ddim(*TINY, "--out", "run"), "'--out'", f"run already holds a run ({name})")
    assert_error(ddim(*TINY, "--out", "run", "--force"),
                 f"--out run/{name} cannot be written: a folder has its name")
    assert os.listdir(tmp_path / "run") == [name]


# In step 6 the loss is finite and its weights are not; records of 100 steps look at none before.
@pytest.mark.parametrize("spoilt, log_every", [(5, 2), (6, 2), (5, 100), (6, 100)])
def test_a_loss_that_turns_nan_keeps_the_last_checkpoint(
        spoilt, log_every, ddim, tmp_path, monkeypatch):  # noqa: F811
    """The optimiser meets a NaN; the checkpoint of step 4 stays and can be continued."""
    command = (*TINY, "--steps", 8, "--every", 2, "--log-every", log_every, "--out")
    assert ddim(*command, "whole")[0] == 0 and ddim(*command, "run", "--seed", 1)[0] == 0
    plain, count = torch.optim.Adam.step, 0

    def spoil(self, *arguments, **options):
        nonlocal count
        count += 1
        if count == spoilt:
            self.param_groups[0]["params"][0].grad[0] = torch.nan
        return plain(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", spoil)
        result = ddim(*command, "run", "--force")
    assert_error(result, "the loss is nan at step 6", "a smaller lr than 0.002",
                 "The last checkpoint is untouched")
    assert os.listdir(tmp_path / "run") == ["checkpoint.pt"]  # the results were another run's
    assert torch.load(tmp_path / "run" / "checkpoint.pt")["step"] == 4
    assert ddim(*command, "run", "--resume")[0] == 0
    assert torch.equal(load_weights(tmp_path / "run" / "digits.safetensors")[0].conv_in.weight,
                       load_weights(tmp_path / "whole" / "digits.safetensors")[0].conv_in.weight)
