"""Pictures by their labels: the network's table, training that leaves labels out, guidance."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from ddim_lib import training
from ddim_lib.responses import amplitude_response
from ddim_lib.sampling import encode, guide, noise_in, predict_x0, sample, sample_iter, step
from ddim_lib.schedule import linear, pairs, timesteps
from ddim_lib.training import Trainer, TrainingConfig, noise_prediction_loss
from ddim_lib.unet import UNet, UNetConfig, epsilon_from_v
from ddim_lib.weights import load_weights, read_facts, save_weights
from ddim_lib.weights.checkpoints import write_diffusers

PLAIN = UNetConfig(8, 1, 16, (1, 2), 1, (4,), dropout=0.0, groups=4)
CONFIG = replace(PLAIN, classes=3)
SCHEDULE = linear()


def network(config=CONFIG, seed=0):
    """One whose every layer does something, the table of labels too."""
    torch.manual_seed(seed)
    model = UNet(config, SCHEDULE).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    if config.classes:
        nn.init.normal_(model.label_emb.weight)
    return model


def noisy(n=3, seed=1):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


# The network --------------------------------------------------------------------------------------

@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@torch.no_grad()
def test_with_its_table_at_zero_it_answers_what_one_without_labels_does(prediction_type):
    plain = network(replace(PLAIN, prediction_type=prediction_type))
    model = UNet(replace(CONFIG, prediction_type=prediction_type), SCHEDULE).eval()
    model.load_state_dict({"label_emb.weight": model.label_emb.weight, **plain.state_dict()})
    x, t = noisy(), torch.tensor([1, 500, 1000])
    for y in (None, 2, torch.tensor([0, 3, 1])):
        assert torch.equal(model(x, t, y), plain(x, t))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model(x, t, y), plain(x, t))


def test_a_drawn_network_is_the_one_without_labels_and_a_table_of_zeros():
    torch.manual_seed(0)
    plain = UNet(PLAIN).state_dict()
    torch.manual_seed(0)
    model = UNet(CONFIG)
    table = model.state_dict().pop("label_emb.weight")
    assert table.shape == (4, 64) and not table.any()
    assert all(torch.equal(model.state_dict()[key], value) for key, value in plain.items())
    nn.init.ones_(model.label_emb.weight)
    model.reset_parameters()
    assert not model.label_emb.weight.any()
    assert (model.classes, UNet(PLAIN).classes, model.image_shape) == (3, 0, (1, 8, 8))
    assert "label_emb.weight" not in plain


@torch.no_grad()
def test_each_label_has_an_answer_and_none_has_its_own():
    model, x = network(), noisy(1)
    answers = [model(x, 500, y) for y in range(4)]
    for i, one in enumerate(answers):
        for other in answers[:i]:
            assert (one - other).abs().max() > 1e-2
    assert torch.equal(model(x, 500), answers[3])
    together = model(x.expand(4, -1, -1, -1), 500, torch.arange(4))
    torch.testing.assert_close(together, torch.cat(answers))


@torch.no_grad()
def test_the_row_of_a_label_is_added_to_the_embedding_of_the_time():
    """Shown by the bias that the embedding's last layer adds too."""
    model, x = network(), noisy()
    wanted = model(x, 7, 1)
    row, none = model.label_emb.weight[1], model.label_emb.weight[3]
    model.temb.dense[1].bias += row - none
    torch.testing.assert_close(model(x, 7), wanted)


@torch.no_grad()
def test_in_the_v_form_the_labels_move_the_velocity():
    model, x, t = network(replace(CONFIG, prediction_type="v_prediction")), noisy(), 400
    y, a = torch.tensor([0, 1, 3]), SCHEDULE.at(400)
    v = model.predict(x, torch.full((3,), t), y)
    wanted = epsilon_from_v(x, v, math.sqrt(a), math.sqrt(1 - a))
    torch.testing.assert_close(model(x, t, y), wanted)
    assert torch.equal(model.predict(x, torch.full((3,), t))[2], v[2])


def test_every_row_that_is_asked_for_learns():
    model = network()
    model(noisy(), 5, torch.tensor([0, 3, 0])).square().mean().backward()
    assert model.label_emb.weight.grad.abs().amax(1).gt(0).tolist() == [True, False, False, True]


@pytest.mark.parametrize("y, message", [
    (4, r"y must be in 0\.\.3, of which 3 is no label, got 4"),
    (-1, r"y must be in 0\.\.3, .* got -1"),
    (torch.tensor([0, 9, 1]), r"y must be in 0\.\.3, .* got 9"),
    (torch.tensor([0, -2, 1]), r"y must be in 0\.\.3, .* got -2"),
    (torch.tensor([0, 1]), r"y must be int64 of shape \(3,\), .* got torch.int64 of shape \(2,\)"),
    (torch.zeros(3), r"y must be int64 of shape \(3,\), .* got torch.float32 of shape \(3,\)"),
    ([0, 1, 2], r"y must be int64 .* got \[0, 1, 2\]"),
])
def test_a_y_that_cannot_be_is_an_error(y, message):
    with pytest.raises(ValueError, match=message):
        network()(noisy(), 5, y)


def test_a_network_without_labels_takes_no_y():
    for y, told in ((0, "0"), (torch.tensor([0, 1, 2]), r"\[0, 1, 2\]")):
        with pytest.raises(ValueError, match="y must be left out for a network without labels "
                                             rf"\(classes = 0\), got {told}$"):
            network(PLAIN)(noisy(), 5, y)


@pytest.mark.parametrize("classes", [-1, 2.0, "ten"])
def test_classes_is_a_whole_number(classes):
    with pytest.raises(ValueError, match="classes must be a whole number"):
        UNetConfig(classes=classes)


def test_the_values_of_a_y_on_a_gpu_are_not_waited_for():
    """Shown on the device "meta", which has no values."""
    model = network().to("meta")
    t = y = torch.zeros(3, dtype=torch.int64, device="meta")
    assert model(noisy().to("meta"), t, y).is_meta


@torch.no_grad()
def test_a_labelled_network_can_be_exported_with_its_labels():
    """The check of y asks for no number that a compiler would have to know."""
    model, given = network(), (noisy(), torch.tensor([1, 2, 3]), torch.tensor([0, 1, 3]))
    program = torch.export.export(model, given).module()
    torch.testing.assert_close(program(*given), model(*given))


# Weights ------------------------------------------------------------------------------------------

def test_the_file_says_how_many_labels_and_the_network_comes_back(tmp_path):
    model, x, y = network(), noisy(), torch.tensor([2, 0, 3])
    save_weights(tmp_path / "w.safetensors", model, SCHEDULE)
    assert read_facts(tmp_path / "w.safetensors")["unet"]["classes"] == 3
    again, _ = load_weights(tmp_path / "w.safetensors")
    assert again.config == CONFIG
    with torch.no_grad():
        assert torch.equal(again(x, 5, y), model(x, 5, y))


def test_a_file_from_before_has_no_labels(tmp_path, monkeypatch):
    """Older files do not name the field."""
    told = {k: v for k, v in PLAIN.to_dict().items() if k != "classes"}
    monkeypatch.setattr(UNetConfig, "to_dict", lambda self: told)
    save_weights(tmp_path / "w.safetensors", network(PLAIN), SCHEDULE)
    assert "classes" not in read_facts(tmp_path / "w.safetensors")["unet"]
    assert load_weights(tmp_path / "w.safetensors")[0].config == PLAIN


def test_diffusers_has_no_such_network(tmp_path):
    with pytest.raises(ValueError, match="classes must be 0 for diffusers, .* got 3"):
        write_diffusers(tmp_path / "theirs", network(), SCHEDULE)
    assert list(tmp_path.iterdir()) == []


# Training -----------------------------------------------------------------------------------------

IMAGES = (noisy(24, seed=5).clamp(-1, 1) * 127 + 128).to(torch.uint8)
LABELS = torch.arange(24) % 3


class Listening(nn.Module):
    """Notes the labels that it is asked with."""

    classes = 3

    def __init__(self):
        super().__init__()
        self.weight, self.heard = nn.Parameter(torch.tensor(0.5)), []

    def forward(self, x, t, y=None):
        self.heard.append(y)
        return self.weight * x


def trainer(model=None, labels=LABELS, **changes):
    config = TrainingConfig(**{"steps": 6, "batch_size": 8, "label_dropout": 0.5, "flip": True,
                               **changes})
    return Trainer(model or network(), SCHEDULE, IMAGES, config, "cpu", labels)


@pytest.mark.equation("12.1")
def test_the_loss_asks_with_the_labels():
    model, x0, y = network(), noisy(), torch.tensor([0, 3, 2])
    loss = noise_prediction_loss(model, SCHEDULE, x0, torch.Generator().manual_seed(3), y=y)
    generator = torch.Generator().manual_seed(3)
    t = torch.randint(1, 1001, (3,), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    with torch.no_grad():
        wanted = (model(SCHEDULE.add_noise(x0, t, eps), t, y) - eps).square().mean()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    plain = noise_prediction_loss(model, SCHEDULE, x0, torch.Generator().manual_seed(3))
    assert plain.item() != pytest.approx(wanted.item(), rel=1e-3)


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8])
def test_each_picture_comes_with_its_label(kind):
    model = Listening()
    run = trainer(model, LABELS.to(kind), label_dropout=0.0, flip=False)
    for _ in range(6):
        x0, step_ = run.batch(), run.step
        next(run.train(step_ + 1))
        of = [(IMAGES == image).flatten(1).all(1).nonzero().item()
              for image in ((x0 + 1) * 127.5).round().to(torch.uint8)]
        assert model.heard[-1].tolist() == LABELS[of].tolist()
        assert model.heard[-1].dtype == torch.int64


@pytest.mark.parametrize("share", [0.0, 0.15, 0.6])
def test_labels_are_left_out_as_often_as_asked(share):
    model = Listening()
    run = trainer(model, steps=500, label_dropout=share)
    for _ in run.train():
        pass
    heard = torch.stack(model.heard)
    found = (heard == 3).double().mean().item()
    assert found == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 4000) + 1e-9)
    assert heard.min() >= 0


def test_what_a_run_without_labels_draws_stays_as_it_was():
    """Mirrors, levels, noise, in this order; and with labels one number an image after them."""
    run = trainer(network(PLAIN), None)
    again = torch.Generator().manual_seed(0)
    torch.rand(8, generator=again)
    torch.randint(1, 1001, (8,), generator=again)
    torch.randn(8, 1, 8, 8, generator=again)
    next(run.train())
    assert torch.equal(run.generator.get_state(), again.get_state())
    model = Listening()
    run = trainer(model, label_dropout=0.3)
    next(run.train())
    left_out = torch.rand(8, generator=again) < 0.3
    assert torch.equal(run.generator.get_state(), again.get_state())
    assert torch.equal(model.heard[0] == 3, left_out)


def test_labels_that_all_are_left_out_nearly_always_train_the_network_without():
    """With a share just below 1 the draws of all else are those of a run without labels."""
    plain, labelled = network(PLAIN), UNet(CONFIG, SCHEDULE)
    labelled.load_state_dict({"label_emb.weight": torch.zeros(4, 64), **plain.state_dict()})
    one, other = trainer(plain, None), trainer(labelled, label_dropout=1 - 1e-9)
    assert next(one.train()).loss == next(other.train()).loss


def test_a_run_with_labels_goes_on_from_its_checkpoint_bit_for_bit(tmp_path):
    whole, first, second = trainer(), trainer(), trainer()
    losses = [now.loss.item() for now in whole.train()]
    halves = [now.loss.item() for now in first.train(2)]
    first.save(tmp_path / "c.pt")
    second.load(tmp_path / "c.pt")
    halves += [now.loss.item() for now in second.train()]
    assert halves == losses
    for key, value in whole.ema.state_dict().items():
        assert torch.equal(value, second.ema.state_dict()[key]), key
    assert whole.model.label_emb.weight.std(0).min() > 0
    other = trainer(label_dropout=0.25)
    with pytest.raises(ValueError, match=r"another configuration .*'label_dropout': \(0.5, 0.25\)"):
        other.load(tmp_path / "c.pt")


@pytest.mark.parametrize("rank", [0, 1])
def test_each_process_asks_with_its_part_of_the_labels_that_all_have(rank, monkeypatch):
    whole = Listening()
    next(trainer(whole).train())
    checked = {}
    for name, stand_in in {"world_size": lambda: 2, "rank": lambda: rank, "wait": lambda: None,
                           "check_same": checked.__setitem__, "broadcast": lambda tensors: None,
                           "average": lambda tensors: None}.items():
        monkeypatch.setattr(training, name, stand_in)
    model = Listening()
    next(trainer(model).train())
    assert torch.equal(model.heard[0], whole.heard[0][4 * rank:4 * rank + 4])
    # Labels belong to the run as the images do: another one among them makes it another run.
    labels = LABELS.clone()
    labels[0] = (labels[0] + 1) % Listening.classes
    theirs = checked["the run"]
    trainer(Listening(), labels)
    assert "CRC-32" in theirs and checked["the run"] != theirs


def test_labels_of_a_trainer_that_cannot_be_are_errors():
    for model, labels, message in [
        (None, None, "labels must be given for a network with 3 of them, got None"),
        (network(PLAIN), LABELS, "labels must be None for a network without labels, got "
                                 r"torch.int64 of shape \(24,\)"),
        (None, LABELS[:5], r"labels must be int64 or uint8 of shape \(24,\), one an image, got "
                           r"torch.int64 of shape \(5,\)"),
        (None, LABELS.float(), "labels must be int64 or uint8 .* got torch.float32"),
        (None, LABELS + 1, r"labels must be in 0\.\.2 for this network, got 3"),
        (None, LABELS - 1, r"labels must be in 0\.\.2 for this network, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            trainer(model, labels)
    for share in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"label_dropout must be (in \[0, 1\)|a number), got"):
            TrainingConfig(label_dropout=share)


# Guidance -----------------------------------------------------------------------------------------

SHAPE = (1, 2, 2)
CENTRES, SPREAD = torch.tensor([-1.5, 0.5, 2.0], dtype=torch.float64), 0.3


class Clouds:
    """The exact eps of three kinds of pictures: all pixels about a centre of the kind.

    x_0 ~ N(centre, SPREAD^2 I), the kinds equally frequent. Of one kind E[eps | x_t, y] is linear
    in x_t; without a label it is their mean, each weighted by p(y | x_t).
    """

    classes, image_shape = 3, SHAPE

    def __init__(self):
        self.asked = []

    def __call__(self, x, t, y=None):
        self.asked.append((len(x), None if y is None else y.tolist()))
        a = SCHEDULE.at(t[0].item())
        away = x[:, None] - math.sqrt(a) * CENTRES.to(x).view(1, 3, 1, 1, 1)
        variance = a * SPREAD**2 + 1 - a
        each = math.sqrt(1 - a) * away / variance
        likely = (-away.square().sum((2, 3, 4)) / (2 * variance)).softmax(1)
        mixed = (likely[:, :, None, None, None] * each).sum(1)
        if y is None:
            return mixed
        known = each[torch.arange(len(x)), y.clamp(max=2)]
        return torch.where((y == 3).view(-1, 1, 1, 1), mixed, known)


def cloud(n=300, seed=0, **options):
    x_T = torch.randn(n, *SHAPE, dtype=torch.float64,
                      generator=torch.Generator().manual_seed(seed))
    return sample(Clouds(), SCHEDULE, x_T=x_T, progress=False, **{"steps": 50, **options})


@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("options", [{"steps": 400}, {"order": 2, "steps": 50},
                                     {"eta": 1.0, "seeds": range(300), "steps": 400}],
                         ids=["ddim", "order 2", "ddpm"])
def test_each_label_draws_its_own_cloud(label, options):
    found = cloud(labels=label, **options)
    assert found.mean().item() == pytest.approx(CENTRES[label].item(), abs=0.05)
    assert found.std().item() == pytest.approx(SPREAD, rel=0.1)


def test_without_guidance_or_labels_all_clouds_are_drawn():
    plain = cloud()
    assert torch.equal(cloud(labels=1, guidance=0), plain)
    torch.testing.assert_close(cloud(labels=[None] * 300), plain)
    nearest = (plain.mean((1, 2, 3))[:, None] - CENTRES).abs().argmin(1)
    assert nearest.bincount(minlength=3).min() > 60


def test_more_guidance_moves_a_cloud_away_from_the_others_and_makes_it_narrower():
    """The outermost goes further out, where p(y | x_t) is larger; none stays as wide as it was."""
    usual, more = cloud(labels=2), cloud(labels=2, guidance=3)
    assert more.mean() > usual.mean() + 0.05
    assert cloud(labels=0, guidance=3).mean() < cloud(labels=0).mean() - 0.05
    between = cloud(labels=1, guidance=3)
    for narrow, wide in ((more, usual), (between, cloud(labels=1))):
        assert narrow.mean((1, 2, 3)).std() < 0.9 * wide.mean((1, 2, 3)).std()


@pytest.mark.parametrize("guidance, asked", [(0, [(4, None)]), (1, [(4, [0, 1, 3, 2])]),
                                             (2.5, [(8, [3, 3, 3, 3, 0, 1, 3, 2])])])
def test_the_network_is_asked_once_a_step_whatever_the_guidance(guidance, asked):
    model = Clouds()
    sample(model, SCHEDULE, seeds=range(4), steps=3, labels=[0, 1, None, 2], guidance=guidance,
           progress=False)
    assert model.asked == 3 * asked


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("guidance", [0.0, 0.4, 1.0, 3.0])
def test_the_walk_is_that_of_the_guided_noise(guidance, clip):
    model, x = network(), noisy(2)
    y = torch.tensor([2, 0])
    walk = sample_iter(model, SCHEDULE, x_T=x, steps=4, labels=y, guidance=guidance, clip=clip)
    with torch.no_grad():
        for t, s in pairs(timesteps(SCHEDULE, 4)):
            now, a = next(walk), SCHEDULE.at(t)
            eps = (1 - guidance) * model(x, t) + guidance * model(x, t, y)
            x0 = predict_x0(x, eps, a)
            if clip:
                x0 = x0.clamp(-1, 1)
                eps = noise_in(x, x0, a)
            for one, other in ((now.x, x), (now.eps, eps), (now.x0, x0)):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
            x = step(x0, eps, a, SCHEDULE.at(s))
    torch.testing.assert_close(next(walk).x, x, rtol=1e-4, atol=1e-4)


@pytest.mark.equation("12.2")
def test_guide_is_the_line_through_both_noises():
    """And Ho and Salimans' equation 6, whose w is ours less 1."""
    none, one = noisy(seed=1).double(), noisy(seed=2).double()
    assert torch.equal(guide(none, one, 0), none)
    torch.testing.assert_close(guide(none, one, 1), one)
    for w in (0.5, 3):
        torch.testing.assert_close(guide(none, one, 1 + w), (1 + w) * one - w * none)


def test_without_labels_nothing_changes():
    """Bit for bit, in a network with labels too."""
    model, x = network(), noisy(2)
    found = list(sample_iter(model, SCHEDULE, x_T=x, steps=3))
    with torch.no_grad():
        for now, (t, _) in zip(found, pairs(timesteps(SCHEDULE, 3)), strict=False):
            assert torch.equal(now.eps, model(now.x, torch.full((2,), t)))
    assert amplitude_response(model, 900) == amplitude_response(
        lambda x, t: model(x, t, 3), 900, shape=(1, 8, 8))


@pytest.mark.parametrize("labels", [1, [1, 1, 1, 1, 1], torch.tensor([1] * 5), torch.tensor(1),
                                    torch.tensor([1] * 5, dtype=torch.uint8), (1, 1, 1, 1, 1)],
                         ids=lambda labels: type(labels).__name__)
def test_a_label_for_all_is_one_for_each(labels):
    options = {"seeds": range(5), "steps": 2, "guidance": 2.0, "progress": False}
    assert torch.equal(sample(network(), SCHEDULE, labels=labels, **options),
                       sample(network(), SCHEDULE, labels=[1] * 5, **options))


@pytest.mark.parametrize("options", [{}, {"eta": 1.0}, {"order": 2}, {"clip": True}],
                         ids=lambda options: next(iter(options), "ddim"))
def test_a_batch_takes_its_part_of_the_labels(options):
    options |= {"steps": 4, "guidance": 2.0, "progress": False}
    labels = [0, None, 2, 1, 2]
    model, seeds = network(), [5, 1, 8, 0, 3]
    whole = sample(model, SCHEDULE, seeds=seeds, labels=labels, **options)
    parts = sample(model, SCHEDULE, seeds=seeds, labels=labels, batch_size=2, **options)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)
    for i in range(5):
        alone = sample(model, SCHEDULE, seeds=[seeds[i]], labels=[labels[i]], **options)
        torch.testing.assert_close(alone[0], whole[i], rtol=1e-4, atol=1e-4)


def test_a_guided_walk_computes_in_the_type_that_is_asked_for():
    options = {"seeds": [1, 2], "steps": 2, "labels": 1, "guidance": 3.0, "progress": False}
    exact, rounded = (sample(network(), SCHEDULE, autocast=name, **options)
                      for name in ("fp32", "bf16"))
    assert rounded.dtype == torch.float32 and 0 < (exact - rounded).abs().max() < 0.5 * exact.std()


# Encoding -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("guidance", [1.0, 0.5])
def test_a_picture_comes_back_by_its_label_and_becomes_another_by_another(guidance):
    x0 = cloud(20, labels=0)
    options = {"steps": 200, "guidance": guidance}
    x_T = encode(Clouds(), SCHEDULE, x0, labels=0, **options)
    back = sample(Clouds(), SCHEDULE, x_T=x_T, labels=0, progress=False, **options)
    assert (back - x0).abs().max() < 0.1
    other = sample(Clouds(), SCHEDULE, x_T=x_T, labels=2, progress=False, **options)
    assert (other - x0).mean().item() > 2
    if guidance == 1:  # each is as far from its own centre as the other is
        torch.testing.assert_close(other - CENTRES[2], x0 - CENTRES[0], rtol=0, atol=0.1)


def test_encoding_asks_as_sampling_does():
    model, x0 = Clouds(), cloud(2, labels=0)
    encode(model, SCHEDULE, x0, steps=2)
    encode(model, SCHEDULE, x0, steps=2, labels=[0, None], guidance=2)
    assert model.asked == 2 * [(2, None)] + 2 * [(4, [3, 3, 0, 3])]


# Errors -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options, message", [
    ({"labels": 3}, r"every entry of labels must be a whole number in 0\.\.2, or None, got 3"),
    ({"labels": [0, -1]}, r"every entry of labels must be a whole number in 0\.\.2, .* got -1"),
    ({"labels": torch.tensor([0.0, 1.0])}, "every entry of labels must be a whole .* got 0.0"),
    ({"labels": ["1", "2"]}, "every entry of labels must be a whole number .* got '1'"),
    ({"labels": [0]}, "labels must be one an image, 2, got 1"),
    ({"labels": 0, "guidance": -1}, "guidance must be a finite number of at least 0, got -1"),
    ({"labels": 0, "guidance": math.inf}, "guidance must be a finite number .* got inf"),
    ({"labels": 0, "guidance": math.nan}, "guidance must be a finite number .* got nan"),
    ({"labels": 0, "guidance": "2"}, "guidance must be a finite number .* got '2'"),
    ({"guidance": 2.0}, "labels must be given where guidance is not 1, got None with guidance = 2"),
])
@pytest.mark.parametrize("call", ["sample", "sample_iter", "encode"])
def test_labels_that_cannot_be_are_errors_before_the_first_call(call, options, message):
    model = Clouds()
    with pytest.raises(ValueError, match=message):
        if call == "encode":
            encode(model, SCHEDULE, torch.zeros(2, *SHAPE), **options)
        elif call == "sample":
            sample(model, SCHEDULE, seeds=[0, 1], **options)
        else:
            sample_iter(model, SCHEDULE, x_T=torch.zeros(2, *SHAPE), **options)
    assert model.asked == []


@pytest.mark.parametrize("model", [lambda x, t: x, network(PLAIN)], ids=["function", "network"])
def test_a_model_without_labels_is_not_asked_for_them(model):
    with pytest.raises(ValueError, match="labels must be None for a model without labels, one that "
                                         r"has no attribute classes above 0, got \[1, 2\]"):
        sample(model, SCHEDULE, x_T=noisy(2), labels=[1, 2])
