"""The best guess from a set of pictures, and the loss that compares with it."""

import math
from dataclasses import replace

import pytest
import torch

from ddim_lib import linear
from ddim_lib.pixels import to_float
from ddim_lib.posterior import posterior_mean
from ddim_lib.training import Trainer, TrainingConfig, noise_prediction_loss

SCHEDULE = linear()


def pictures(n, seed=0, shape=(1, 3, 3)):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *shape, generator=generator) * 2 - 1


def by_hand(x, alpha, images):
    """One picture, its weights put down as they are."""
    weights = [math.exp(-(x - math.sqrt(alpha) * image).square().sum().item() / 2 / (1 - alpha))
               for image in images]
    return sum(w * image for w, image in zip(weights, images, strict=True)) / sum(weights)


def test_it_is_the_mean_under_the_weights():
    images, x = pictures(7).double(), torch.randn(3, 1, 3, 3, dtype=torch.float64,
                                                  generator=torch.Generator().manual_seed(1))
    alphas = torch.tensor([0.02, 0.3, 0.8])
    each = posterior_mean(x, alphas.double(), images)
    for i, alpha in enumerate(alphas.double().tolist()):
        wanted = by_hand(x[i], alpha, images)
        torch.testing.assert_close(each[i], wanted)
        torch.testing.assert_close(posterior_mean(x, alpha, images)[i], wanted)


def test_at_the_ends_it_is_the_mean_picture_and_the_picture():
    images = pictures(50, shape=(3, 4, 4))
    x = SCHEDULE.add_noise(images, 1, torch.randn(images.shape,
                                                  generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(posterior_mean(x, SCHEDULE.at(1), images), images)
    mean = images.mean(0).expand_as(images)
    torch.testing.assert_close(posterior_mean(x, 1e-9, images), mean, atol=1e-3, rtol=0)


@pytest.mark.parametrize("call, message", [
    (lambda x: posterior_mean(x, 0.5, x[:, :, :2]), r"images must be of the shape of x_t, "
                                                    r"\(1, 3, 3\), got \(1, 2, 3\)"),
    (lambda x: posterior_mean(x, 0.5, x[:0]), "images must hold at least one"),
    (lambda x: posterior_mean(x, 1.0, x), r"alpha_t must be in \(0, 1\), .* got 1.0"),
    (lambda x: posterior_mean(x, torch.tensor([0.5, 0.5]), x),
     r"one for all or one for each of 4 images, got torch.float32 of shape \(2,\)"),
    (lambda x: noise_prediction_loss(lambda x, t, y: x, SCHEDULE, x, images=x, y=torch.ones(4)),
     "images must be None beside y"),
])
def test_what_does_not_fit_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call(pictures(4))


# The loss -----------------------------------------------------------------------------------------

class Answer:
    """``k`` times the noise that goes with the best guess."""

    def __init__(self, images, k=1.0):
        self.images, self.k = images, k

    def __call__(self, x, t):
        signal, noise = SCHEDULE.roots(t, 4, torch.float32)
        return self.k * (x - signal * posterior_mean(x, signal.flatten() ** 2, self.images)) / noise


def loss(model, known, n=4000, **options):
    """Over n draws of these pictures."""
    drawn = known[torch.randint(len(known), (n,), generator=torch.Generator().manual_seed(5))]
    with torch.no_grad():
        return noise_prediction_loss(model, SCHEDULE, drawn, torch.Generator().manual_seed(3),
                                     **options).item()


@pytest.mark.parametrize("weight", ["1", "1/alpha"])
def test_the_best_guess_has_no_loss_left(weight):
    images = pictures(20)
    single = loss(Answer(images), images, weight=weight)
    stable = loss(Answer(images), images, weight=weight, images=images)
    assert stable < 1e-8 < 0.005 < single


def test_the_least_of_the_loss_stays_and_so_does_what_another_answer_costs():
    """E|eps - g|^2 = E|eps - E[eps | x_t]|^2 + E|E[eps | x_t] - g|^2: the loss falls by a number
    that does not depend on the answer g."""
    images = pictures(20)
    falls = [loss(Answer(images, k), images) - loss(Answer(images, k), images, images=images)
             for k in (0.5, 0.9, 1.0, 1.3)]
    assert max(falls) - min(falls) < 0.1 * falls[2] < falls[2]


# A run --------------------------------------------------------------------------------------------

class Tiny(torch.nn.Module):
    image_shape = (1, 3, 3)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, x, t):
        return self.weight * x


CONFIG = TrainingConfig(steps=3, batch_size=4, autocast="fp32", stable_targets=True, seed=2)


def bytes_of(n):
    return ((pictures(n) + 1) * 127.5).to(torch.uint8)


def test_a_step_compares_with_the_mean_over_all_images():
    trainer = Trainer(Tiny(), SCHEDULE, bytes_of(12), CONFIG, "cpu")
    images, x0 = to_float(bytes_of(12)), trainer.batch()
    wanted, single = (noise_prediction_loss(Tiny(), SCHEDULE, x0, torch.Generator().manual_seed(2),
                                            images=some) for some in (images, None))
    assert next(trainer.train()).loss == wanted.detach() != single.detach()


def test_mirrored_pictures_are_among_all():
    config = replace(CONFIG, flip=True)
    trainer = Trainer(Tiny(), SCHEDULE, bytes_of(12), config, "cpu")
    images, x0 = to_float(bytes_of(12)), trainer._batch()
    wanted = noise_prediction_loss(Tiny(), SCHEDULE, x0, trainer.generator,
                                   images=torch.cat([images, images.flip(3)]))
    again = Trainer(Tiny(), SCHEDULE, bytes_of(12), config, "cpu")
    torch.testing.assert_close(next(again.train()).loss, wanted.detach())


def test_half_precision_is_the_networks_alone():
    """Weights in bfloat16 would be those of other levels."""
    images, x0 = pictures(12), pictures(4, seed=1)
    fp32 = noise_prediction_loss(Answer(images), SCHEDULE, x0, torch.Generator().manual_seed(2),
                                 images=images)
    seen = []

    def asked(x, t):
        seen.append(torch.is_autocast_enabled("cpu"))
        with torch.autocast("cpu", enabled=False):
            return Answer(images)(x, t)

    with torch.autocast("cpu", torch.bfloat16):
        bf16 = noise_prediction_loss(asked, SCHEDULE, x0, torch.Generator().manual_seed(2),
                                     images=images)
    assert seen == [True] and bf16 == fp32 < 1e-8


def test_labels_and_stable_targets_exclude_each_other():
    class Labelled(Tiny):
        classes = 3

    with pytest.raises(ValueError, match="stable_targets must be False for a network with labels"):
        Trainer(Labelled(), SCHEDULE, bytes_of(12), CONFIG, "cpu", torch.arange(12) % 3)
