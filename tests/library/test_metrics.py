"""The measures measure: a distance against its formula, a classifier against real digits."""

import json
import os
import sys
import warnings

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")

from ddim_lib import metrics
from ddim_lib.datasets import load
from ddim_lib.metrics import (
    SPACES,
    DigitClassifier,
    FrechetDistance,
    PhotoClassifier,
    PixelComponents,
    classifier_facts,
    confidence,
    in_batches,
    judge,
    load_classifier,
    load_extractor,
    precision_recall,
    save_classifier,
)
from ddim_lib.sampling import sample
from ddim_lib.storage.folders import data_folder
from ddim_lib.weights import load_pretrained, read_facts


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def shipped():
    """The distance to all 60,000 training digits."""
    return FrechetDistance()


class Pixels(nn.Module):
    """A stand-in extractor: the first four pixels are the features."""

    num_features = 4

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def features(self, images):
        return images.flatten(1)[:, :4] * self.weight


def gaussian(mean, mixing, n=3000, seed=0):
    """Images whose first four pixels are Gaussian, well inside [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 4, generator=generator) @ torch.tensor(mixing).T + torch.tensor(mean)
    images = torch.zeros(n, 1, 28, 28)
    images.view(n, -1)[:, :4] = features
    return images


def by_hand(a, b):
    """|mu - mu'|^2 + tr(C + C' - 2 (C C')^(1/2)) (Heusel et al., eq. 6), with scipy."""
    import numpy as np
    from scipy.linalg import sqrtm

    a, b = (x.flatten(1)[:, :4].double().numpy() for x in (a, b))
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.trace(sqrtm(ca @ cb)).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * root


MIX = [[0.1, 0, 0, 0], [0.05, 0.08, 0, 0], [0, 0.02, 0.1, 0], [0.01, 0, 0.03, 0.05]]
SLIM = [[0.05, 0, 0, 0], [0, 0.1, 0, 0], [0, 0, 0.02, 0.02], [0, 0, 0, 0.1]]


@pytest.mark.parametrize("mean, mixing", [([0.0] * 4, MIX), ([0.3, 0, -0.2, 0], MIX),
                                          ([0.0] * 4, SLIM), ([0.1, 0.2, 0.0, 0.0], SLIM)])
def test_the_distance_is_its_formula(mean, mixing):
    a, b = gaussian([0.0] * 4, MIX, seed=1), gaussian(mean, mixing, n=2001, seed=2)
    found = FrechetDistance(a, Pixels())(b)
    assert found == pytest.approx(by_hand(a, b), rel=1e-3, abs=1e-6)


def test_the_distance_of_two_known_gaussians():
    """Diagonal covariances: |mu - mu'|^2 + sum (s - s')^2, within sampling error."""
    a = gaussian([0.0] * 4, torch.diag(torch.tensor([0.1, 0.1, 0.2, 0.1])).tolist(), 20_000, 1)
    b = gaussian([0.3, 0, 0, 0], torch.diag(torch.tensor([0.1, 0.2, 0.1, 0.1])).tolist(), 20_000, 2)
    assert FrechetDistance(a, Pixels())(b) == pytest.approx(0.09 + 0.01 + 0.01, rel=0.03)


def test_a_measurement_does_not_remember_the_one_before():
    a, b, c = (gaussian([x, 0.0, 0.0, 0.0], MIX, 600, seed=i) for i, x in enumerate((0, 0.1, 0.4)))
    distance = FrechetDistance(a, Pixels())
    first = distance(b)
    assert distance.reference_size == 600
    assert distance(c) > 2 * first
    assert distance(b) == first
    assert distance.reference_size == 600
    assert distance(a) < 1e-4


def test_pixels_beyond_1_are_clipped():
    a, b = gaussian([0.0] * 4, MIX, 500), gaussian([1.0, 0, 0, 0], MIX, 500, seed=1)
    assert b.max() > 1.1
    distance = FrechetDistance(a, Pixels())
    for beyond in (b, -b):
        inside = beyond.clamp(-1, 1)
        assert distance(beyond) == distance(inside)
        assert FrechetDistance(beyond, Pixels())(a) == FrechetDistance(inside, Pixels())(a)


@pytest.mark.parametrize("n", [499, 500, 501, 1001])
def test_every_number_of_pictures_is_measured_whole(n):
    a, b = gaussian([0.0] * 4, MIX, 800), gaussian([0.2, 0, 0, 0], SLIM, n, seed=1)
    assert FrechetDistance(a, Pixels())(b) == pytest.approx(by_hand(a, b), rel=1e-3)


class Watched(Pixels):
    """Remembers how many pictures it saw at a time, and on which device."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def features(self, images):
        self.seen.append((len(images), images.device.type))
        return super().features(images)


def test_at_most_500_pictures_are_in_memory_at_a_time():
    classifier = Watched()
    FrechetDistance(gaussian([0.0] * 4, MIX, 1001), classifier)
    assert [n for n, _ in classifier.seen] == [500, 500, 1]


class Elsewhere(nn.Module):
    """Weights of any kind, or none; remembers where and in what type the pictures came to."""

    num_features = 4

    def __init__(self, weight=None):
        super().__init__()
        self.weight = None if weight is None else nn.Parameter(weight)
        self.seen, self.range = [], (0, 0)

    def forward(self, images):
        self.seen.append((images.device.type, images.dtype))
        if not images.is_meta:
            self.range = (images.min().item(), images.max().item())
        return torch.eye(10)[:len(images)]

    def features(self, images):
        self(images)
        return torch.eye(4).repeat(len(images), 1)[:len(images)]


META = torch.ones((), device="meta")


def test_pictures_go_where_the_classifier_is_and_logits_back(monkeypatch):
    classifier, images = Elsewhere(META), torch.zeros(5, 1, 28, 28)
    assert confidence(images, classifier)[0].tolist() == [0, 1, 2, 3, 4]
    assert FrechetDistance(images, classifier)(images) == pytest.approx(0, abs=1e-6)
    assert classifier.seen == [("meta", torch.float32)] * 3

    class Logits:
        def to(self, device):
            assert device == images.device
            return torch.eye(10)[3:5]

    monkeypatch.setattr(metrics, "in_batches", lambda function, pictures: Logits())
    assert confidence(images, classifier)[0].tolist() == [3, 4]


@pytest.mark.parametrize("weight, wanted", [
    (torch.ones((), dtype=torch.float64), torch.float64), (torch.ones(()), torch.float32),
    (None, torch.float32)])
def test_pictures_come_in_the_type_of_the_weights(weight, wanted):
    classifier = Elsewhere(weight)
    FrechetDistance(torch.zeros(5, 1, 28, 28, dtype=torch.float64), classifier)
    FrechetDistance(torch.zeros(5, 1, 28, 28), classifier)
    assert classifier.seen == [("cpu", wanted)] * 2
    assert metrics._Features(classifier).device == torch.device("cpu")


def test_confidence_takes_pictures_of_any_floating_point_type(digits):
    images = digits[0][:8]
    labels, shares = confidence(images)
    again, others = confidence(images.double())
    assert torch.equal(again, labels) and torch.equal(others, shares)


def test_a_classifier_is_asked_in_evaluation_mode_and_given_back_as_it_was(digits):
    """One that was just trained is in training mode: dropout on, running means in motion."""
    class Trained(Pixels):
        def __init__(self):
            super().__init__()
            self.modes = []

        def forward(self, images):
            self.modes.append(self.training)
            return torch.zeros(len(images), 10)

        def features(self, images):
            self.modes.append(self.training)
            return super().features(images)

    classifier, images = Trained().train(), digits[0]
    confidence(images[:8], classifier)
    FrechetDistance(images[:8], classifier)(images[8:16])
    assert set(classifier.modes) == {False} and classifier.training


def test_features_that_are_no_numbers_are_told():
    class Broken(Pixels):
        def features(self, images):
            return super().features(images) / 0

    with pytest.raises(ValueError, match="^features of the classifier "):
        FrechetDistance(torch.zeros(5, 1, 28, 28), Broken())


def test_the_distance_does_not_wait_for_other_processes():
    assert FrechetDistance(torch.zeros(3, 1, 28, 28), Pixels())._metric.sync_on_compute is False


def test_two_pictures_have_a_covariance():
    a, b = gaussian([0.0] * 4, MIX, 2), gaussian([0.3, 0, 0, 0], MIX, 2, seed=1)
    assert FrechetDistance(a, Pixels())(b) == pytest.approx(by_hand(a, b), rel=1e-3)


def test_one_picture_has_no_covariance():
    distance = FrechetDistance(gaussian([0.0] * 4, MIX, 10), Pixels())
    with pytest.raises(ValueError, match="images must be at least 2 for a covariance, got 1"):
        distance(torch.zeros(1, 1, 28, 28))


@pytest.mark.parametrize("name, call", [
    ("reference", lambda: FrechetDistance("x", Pixels())),
    ("images", lambda: FrechetDistance(torch.zeros(3, 1, 28, 28), Pixels())("x")),
    ("images", lambda: confidence("x")),
    ("images", lambda: PixelComponents.fit("x")),
    ("images", lambda: PixelComponents.fit(torch.zeros(5))),
    ("k", lambda: PixelComponents.fit(torch.zeros(5, 9), "x")),
    ("k", lambda: precision_recall(torch.zeros(9, 2), torch.zeros(9, 2), "x")),
    ("real", lambda: precision_recall("x", torch.zeros(9, 2))),
    ("batch_size", lambda: in_batches(abs, torch.zeros(2), "x")),
    ("space", lambda: load_extractor("x")),
    ("space", lambda: load_classifier(space="x")),
    ("odd", lambda: save_classifier("no.file", DigitClassifier(), odd={1, 2})),
    ("odd", lambda: FrechetDistance(torch.zeros(3, 1, 28, 28), Pixels()).save_reference(
        "no.file", odd={1, 2}))])
def test_an_error_begins_with_the_argument(name, call):
    with pytest.raises((ValueError, TypeError), match=f"^{name} "):
        call()


def test_a_whole_number_out_of_range_is_told_the_range():
    points = torch.zeros(9, 2)
    with pytest.raises(ValueError, match=r"^k must be a whole number of at least 1, got 0$"):
        precision_recall(points, points, 0)
    with pytest.raises(ValueError, match=r"^batch_size must be a whole number of at least 1, "
                                         r"got 0$"):
        in_batches(abs, points, 0)
    assert torch.equal(in_batches(torch.exp, points, 1), points.exp())


def test_a_reference_survives_its_file(tmp_path, monkeypatch):
    a, b = gaussian([0.0] * 4, MIX, 700), gaussian([0.2, 0, 0, 0], MIX, 600, seed=1)
    distance = FrechetDistance(a, Pixels())
    distance.save_reference(tmp_path / "stats" / "mnist-train.safetensors", n=700)
    assert read_facts(tmp_path / "stats" / "mnist-train.safetensors") == {"n": 700}
    monkeypatch.setattr(metrics, "data_folder", lambda: tmp_path)
    monkeypatch.setattr(metrics, "load_extractor", lambda *space: Pixels())
    again = FrechetDistance()
    assert again.reference_size == 700
    assert again(b) == pytest.approx(distance(b), rel=1e-6)


def test_the_shipped_statistics_go_with_the_shipped_classifier_alone():
    from ddim_lib.metrics import DigitClassifier, load_classifier

    assert FrechetDistance(None, load_classifier()).reference_size == 60_000
    with pytest.raises(ValueError, match="^reference must be given with a classifier of one's own, "
                                         "got None: the shipped statistics are of the shipped "
                                         "classifier's features$"):
        FrechetDistance(None, DigitClassifier())


def test_without_torchmetrics_the_distance_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(ImportError, match=r'^the Fréchet distance needs torchmetrics: pip install '
                                          r'"ddim-lib\[train\]"$'):
        FrechetDistance(None, Pixels())


# The classifier ----------------------------------------------------------------------------------

def test_the_classifier_knows_the_embedded_digits(digits):
    images, labels = digits
    found, probability = confidence(images[::5])
    assert found.dtype == torch.int64 and found.shape == probability.shape == (1000,)
    assert (found == labels[::5]).float().mean() >= 0.99
    assert 0.1 <= probability.min() and probability.max() <= 1
    assert (probability > 0.9).float().mean() > 0.98


def test_the_classifier_does_not_depend_on_torchs_defaults():
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            found = load_classifier()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {(p.dtype, p.device.type) for p in found.parameters()} == {(torch.float32, "cpu")}


def test_the_classifier_goes_to_its_device():
    assert {p.device.type for p in load_classifier("meta").parameters()} == {"meta"}


def test_confidence_is_the_softmax_of_the_label(digits):
    classifier, images = load_classifier(), digits[0][::200]
    assert not classifier.training
    with torch.no_grad():
        logits = classifier(images)
    label, probability = confidence(images, classifier)
    assert torch.equal(label, logits.argmax(1))
    expected = logits.exp().gather(1, label[:, None])[:, 0] / logits.exp().sum(1)
    torch.testing.assert_close(probability, expected)
    brighter = (images * 3).clamp(min=-3)
    assert torch.equal(confidence(brighter, classifier)[1],
                       confidence(brighter.clamp(-1, 1), classifier)[1])


def test_confidence_loads_the_classifier_to_the_pictures_and_warns_of_nothing(monkeypatch):
    asked, images = [], torch.zeros(2, 1, 28, 28)
    monkeypatch.setattr(metrics, "load_classifier", lambda device: (asked.append(device),
                                                                    DigitClassifier().eval())[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confidence(images)
    assert asked == [images.device]


def test_batches_change_nothing():
    images = torch.randn(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    sizes = []

    def double(part):
        sizes.append(len(part))
        return 2 * part

    assert torch.equal(in_batches(double, images, 3), 2 * images)
    assert sizes == [3, 3, 1]
    in_batches(double, torch.zeros(1001, 1))
    assert sizes[3:] == [500, 500, 1]


def test_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"images must have shape \(N, 1, 28, 28\), got "
                                         r"\(2, 3, 28, 28\)"):
        DigitClassifier()(torch.zeros(2, 3, 28, 28))


def test_a_classifier_is_stored_with_its_facts(tmp_path):
    from safetensors.torch import load_file

    model = DigitClassifier()
    save_classifier(tmp_path / "c.safetensors", model, test_accuracy=0.5)
    again = DigitClassifier()
    again.load_state_dict(load_file(tmp_path / "c.safetensors"))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())
    assert read_facts(tmp_path / "c.safetensors") == {"format": "ddim_lib classifier 1",
                                                      "test_accuracy": 0.5}


def test_the_classifier_says_how_good_it_is():
    facts = classifier_facts()
    assert facts["test_accuracy"] >= 0.99 and facts["test_images"] == 10_000


@pytest.mark.skipif(not os.environ.get("DDIM_DATA"),
                    reason="DDIM_DATA names no folder with the whole of MNIST")
def test_the_classifier_is_as_good_as_it_says():
    images, labels = load("mnist", "test")
    accuracy = (confidence(images)[0] == labels).float().mean().item()
    assert accuracy >= 0.99
    assert accuracy == pytest.approx(classifier_facts()["test_accuracy"], abs=5e-4)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("DDIM_DATA"),
                    reason="DDIM_DATA names no folder with CIFAR-10")
def test_the_classifier_of_photographs_is_as_good_as_it_says():
    """On the tenth of the photographs that its training has not seen."""
    images, labels = load("cifar10")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    apart, facts = order[:len(images) // 10], classifier_facts("photos")
    classifier = load_classifier(space="photos")
    right = in_batches(classifier, images[apart]).argmax(1) == labels[apart]
    assert len(apart) == facts["test_images"] == 5000
    assert right.float().mean().item() == pytest.approx(facts["test_accuracy"], abs=2e-3)


def test_the_classifier_of_photographs_is_an_extractor_for_photographs():
    classifier = load_classifier(space="photos")
    assert isinstance(classifier, PhotoClassifier) and not classifier.training
    images = gaussian_pictures(64)
    distance = FrechetDistance(images, classifier)
    assert distance(images) == pytest.approx(0, abs=1e-3)
    assert distance(images.flip(1)) > 1  # blue for red
    with pytest.raises(ValueError, match=r"images must have shape \(N, 3, 32, 32\), got "
                                         r"\(2, 1, 28, 28\)"):
        classifier.features(torch.zeros(2, 1, 28, 28))


def gaussian_pictures(n):
    """Smooth pictures in colour, redder than blue."""
    noise = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(0)) / 3
    tint = torch.tensor([0.4, 0.0, -0.4]).view(3, 1, 1)
    return (torch.nn.functional.interpolate(noise, 32, mode="bilinear") + tint).clamp(-1, 1)


# What ships --------------------------------------------------------------------------------------

def test_real_digits_are_near_and_noise_is_far(shipped, digits):
    assert shipped.reference_size == 60_000
    near = shipped(digits[0][::5])
    noise = shipped(torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    assert 0 < near < 1
    assert noise > 300 * near


def test_the_statistics_were_made_by_the_shipped_classifier():
    facts = read_facts(data_folder() / "stats" / "mnist-train.safetensors")
    assert facts["extractor"] == classifier_facts()


def test_the_shipped_network_draws_digits(shipped):
    """A small live check: 64 pictures in 10 steps, each kind of digit, far from noise."""
    model, schedule = load_pretrained("mnist")
    pictures = sample(model, schedule, seeds=range(64), steps=10, progress=False)
    label, probability = confidence(pictures)
    assert (probability > 0.8).float().mean() > 0.9
    assert len(label.unique()) >= 9
    noise = shipped(torch.randn(64, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    assert shipped(pictures) < 0.06 * noise  # measured: 15.6 and 619


def test_the_measured_quality_meets_its_targets():
    """At 50 steps and n = 5,000: four times the floor plus 1 % of noise; 90 % sure of 90 %."""
    quality = json.loads((data_folder() / "results" / "mnist-quality.json").read_text())
    assert (quality["n"], quality["S"]) == (5000, 50)
    assert 0 < quality["floor_train"] < quality["distance"]
    assert quality["distance"] <= 4 * quality["floor_train"] + 0.01 * quality["noise"]
    assert quality["share_above_0.9"] >= 0.9
    assert sum(quality["digits"]) == 5000 and len(quality["digits"]) == 10
    facts = read_facts(data_folder() / "weights" / "mnist-eps.safetensors")["quality"]
    for key in ("n", "S", "eta", "spacing", "distance", "floor_train", "noise", "share_above_0.9"):
        assert facts[key] == quality[key], key


# The judges --------------------------------------------------------------------------------------

def test_precision_and_recall_of_points_on_a_line():
    """Balls reach to the third neighbour: by hand."""
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0], [10.0]])
    # Radii 3, 2, 2, 3 and 8: a point at -2.5 is inside the first, 20 in none, 17 in the last.
    generated = torch.tensor([[-2.5], [1.5], [17.0], [20.0]])
    precision, recall = precision_recall(real, generated)
    assert precision == pytest.approx(3 / 4)
    # Radii of the generated ones: 22.5, 18.5, 19.5, 22.5: every real one is inside.
    assert recall == 1
    assert precision_recall(real, real) == (1, 1)
    assert precision_recall(real, real + 100) == (0, 0)
    assert precision_recall(real, real + 100, k=1) == (0, 0)


def test_lost_diversity_costs_recall_and_odd_samples_cost_precision():
    generator = torch.Generator().manual_seed(0)
    real, same = torch.randn(2, 1500, 5, generator=generator)
    narrow, wide = 0.4 * same, 2.5 * same
    base = precision_recall(real, same)
    assert min(base) > 0.9
    precision, recall = precision_recall(real, narrow)
    assert precision >= base[0] and recall < 0.5
    precision, recall = precision_recall(real, wide)
    assert precision < 0.5 and recall >= 0.9


@pytest.mark.parametrize("real, generated, message", [
    (torch.zeros(3, 2), torch.zeros(9, 2), r"real must have shape \(N, d\) with N above k = 3"),
    (torch.zeros(9, 2), torch.zeros(9), r"generated must have shape .* got \(9,\)"),
    (torch.zeros(9, 2), torch.zeros(9, 3), "generated must have the 2 features of real, got 3")])
def test_too_few_points_are_an_error(real, generated, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(real, generated)


def test_equal_points_are_at_distance_0_and_others_are_not():
    """Balls of radius 0, around points far from the origin, in more than one lot."""
    points = 1000 + torch.arange(505.0).view(-1, 1).expand(-1, 2)
    real = points.repeat(4, 1)
    assert precision_recall(real, real) == (1, 1)
    assert precision_recall(real, real + 0.01) == (0, 0)


def test_principal_components_are_the_directions_of_largest_variance():
    generator = torch.Generator().manual_seed(0)
    axes, _ = torch.linalg.qr(torch.randn(784, 3, generator=generator, dtype=torch.float64))
    scores = torch.randn(500, 3, generator=generator, dtype=torch.float64) \
        * torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    images = (0.1 + scores @ axes.T).view(-1, 1, 28, 28).float()
    found = PixelComponents.fit(images, 2)
    again = found.features(images)
    assert again.shape == (500, 2) and found.num_features == 2
    assert torch.allclose(found.components.T @ found.components, torch.eye(2), atol=1e-5)
    covariance = torch.cov(again.T)
    assert covariance[0, 0] > covariance[1, 1] > 1 and abs(covariance[0, 1]) < 1e-3
    assert again.mean(0).abs().max() < 1e-4
    wanted = torch.linalg.eigvalsh(torch.cov(images.flatten(1).double().T))[-2:]
    torch.testing.assert_close(covariance.diagonal().flip(0).double(), wanted, rtol=1e-4, atol=0)
    with pytest.raises(ValueError, match="k must be from 1 to 499 for images of shape"):
        PixelComponents.fit(images, 500)


@pytest.mark.parametrize("n", [40, 400])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("scale", [1, 0.01])
def test_the_directions_are_those_that_an_svd_finds(n, k, scale):
    """With fewer pictures than pixels, and with more."""
    images = scale * torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = PixelComponents.fit(images, k)
    flat = images.flatten(1).double()
    directions = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:k].T
    same = (directions * found.components.double()).sum(0).abs()
    assert same.tolist() == pytest.approx([1] * k, abs=1e-5)
    assert (found.components.gather(0, found.components.abs().argmax(0, keepdim=True)) > 0).all()


def test_components_are_fitted_and_no_longer_trained():
    images = torch.randn(70, 64, generator=torch.Generator().manual_seed(0))
    found = PixelComponents.fit(images)
    assert found.components.shape == (64, 60)
    assert not [p for p in found.parameters() if p.requires_grad]
    with pytest.raises(ValueError, match=r"^images must have 64 numbers each, as those that were "
                                         r"fitted, got shape \(2, 1, 28, 28\)$"):
        found.features(torch.zeros(2, 1, 28, 28))


@pytest.mark.parametrize("space", SPACES)
def test_an_extractor_goes_to_its_device(space):
    assert {p.device.type for p in load_extractor(space, "meta").parameters()} == {"meta"}


def test_the_shipped_components_are_orthonormal_and_know_the_digits(digits):
    extractor = load_extractor("pixels")
    components = extractor.components
    assert components.shape == (784, 60)
    torch.testing.assert_close(components.T @ components, torch.eye(60), rtol=0, atol=1e-5)
    flat = digits[0].flatten(1)
    left = flat - extractor.mean - extractor.features(digits[0]) @ components.T
    assert left.square().sum() < 0.2 * (flat - flat.mean(0)).square().sum()


@pytest.mark.parametrize("space", SPACES)
def test_each_judge_knows_digits_from_noise(space, digits):
    distance = FrechetDistance(space=space)
    assert distance.reference_size == 60_000
    near = distance(digits[0][::5])
    assert 0 < near < 5
    assert distance(digits[0][::5].flip(0)) == pytest.approx(near, rel=1e-3)
    noise = torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert distance(noise) > 20 * near


def test_a_judge_is_blind_to_what_it_was_trained_to_overlook(digits):
    """Digits moved by two pixels: the pixels see it most, the classifier of moved digits least."""
    images, moved = digits[0][::5], digits[0][::5].roll(2, 3)
    ratio = {space: FrechetDistance(space=space)(moved) / FrechetDistance(space=space)(images)
             for space in SPACES}
    assert ratio["classifier"] < ratio["plain"] and ratio["classifier"] < ratio["pixels"]
    assert ratio["pixels"] > 5


def test_judges_say_what_each_measure_says(digits):
    images, real = digits[0][:200], digits[0][2500:2700]
    found = judge(images, real)
    assert list(found) == list(SPACES)
    for space, told in found.items():
        distance, features = FrechetDistance(space=space), load_extractor(space).features
        assert told["distance"] == round(distance(images), 3)
        assert told["floor"] == round(distance(real), 3)
        with torch.no_grad():
            wanted = precision_recall(features(real), features(images))
        assert (told["precision"], told["recall"]) == pytest.approx(wanted, abs=1e-4)
    assert judge(images[:3], real[:3])["pixels"]["recall"] is None
    assert judge(images[:4], real[:4])["pixels"]["recall"] is not None
    assert judge(images, None)["plain"]["floor"] is None
    with pytest.raises(ValueError, match="real must have the shape of images"):
        judge(images, real[:5])


@pytest.mark.parametrize("weight", [META, torch.ones(())])
def test_judges_compute_on_the_device_and_round_as_they_say(monkeypatch, weight):
    """A third of the points is precision 0.3333, whoever the judges are."""
    device = weight.device.type
    asked, extractors = [], []

    def extractor(space, device):
        asked.append((space, device))
        extractors.append(Elsewhere(weight))
        return extractors[-1]

    def distance(classifier, space):
        assert classifier is extractors[-1]
        return lambda images: 1 / 3

    monkeypatch.setattr(metrics, "load_extractor", extractor)
    monkeypatch.setattr(metrics, "FrechetDistance", distance)
    monkeypatch.setattr(metrics, "precision_recall", lambda real, generated: (1 / 3, 2 / 3))
    images = torch.tensor([-3.0, 0.5, 2.0]).view(3, 1, 1, 1).repeat(2, 1, 28, 28)
    told = {"distance": 0.333, "floor": 0.333, "precision": 0.3333, "recall": 0.6667}
    assert judge(images, images, device) == dict.fromkeys(SPACES, told)
    assert asked == [(space, device) for space in SPACES]
    assert all(one.seen == [(device, torch.float32)] * 2 for one in extractors)
    assert {one.range for one in extractors} == {(0, 0) if device == "meta" else (-1, 1)}


def test_another_space_is_an_error():
    with pytest.raises(ValueError, match="space must be one of classifier, plain, pixels, got 'x'"):
        FrechetDistance(space="x")
    with pytest.raises(ValueError, match="space must be one of .*, photos, got 'pixels'"):
        load_classifier(space="pixels")
