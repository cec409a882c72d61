"""How good are the pictures? Fréchet distance, precision and recall, a classifier's confidence.

An Inception network knows little of digits, so the judges are small and ship with the library,
and of digits there are three (:data:`SPACES`), since each is blind to something:

- ``"classifier"``: the features of a digit classifier that was trained on turned, shifted and
  scaled digits, so that it overlooks whether a generator has all of these;
- ``"plain"``: those of one that was trained on the digits as they are;
- ``"pixels"``: the first 60 principal components of the training digits, which see how much ink
  lies where, and no odd stroke.

For photographs there is a fourth network, of CIFAR-10's classes (:func:`load_classifier`).

A distance alone says nothing; say with it n, the reference, and the floor, the distance of real
pictures at the same n.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddim_lib.runtime import accelerator, arguments
from ddim_lib.runtime.extras import extra
from ddim_lib.runtime.networks import device_of, evaluating, type_of
from ddim_lib.storage.folders import data_folder
from ddim_lib.storage.tensors import save_tensors
from ddim_lib.weights import read_facts

#: The judges by name, in the order in which tables show them.
SPACES = ("classifier", "plain", "pixels")
_CLASSIFIERS = {"classifier": "mnist-classifier", "plain": "mnist-classifier-plain",
                "photos": "cifar10-classifier"}
_REFERENCES = {"classifier": "mnist-train", "plain": "mnist-train-plain",
               "pixels": "mnist-train-pixels"}
STATISTICS = ("real_features_sum", "real_features_cov_sum", "real_features_num_samples")


class DigitClassifier(nn.Module):
    """28x28 grey digits in [-1, 1] to ten logits, through 128 features."""

    image_shape = (1, 28, 28)
    num_features = 128  # the name torchmetrics asks for

    def __init__(self) -> None:
        super().__init__()

        def layer(n_in: int, n_out: int) -> list[nn.Module]:
            return [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out),
                    nn.ReLU()]

        self.body = nn.Sequential(
            *layer(self.image_shape[0], 32), *layer(32, 32), nn.MaxPool2d(2),
            *layer(32, 64), *layer(64, 64), nn.MaxPool2d(2),
            *layer(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(128, 128), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(128, 10)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees, shape (N, 128).

        Args:
            images: in [-1, 1], shape (N, 1, 28, 28), or whatever ``image_shape`` says.
        """
        if images.shape[1:] != self.image_shape:
            raise ValueError(f"images must have shape (N, {', '.join(map(str, self.image_shape))}),"
                             f" got {tuple(images.shape)}")
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the ten classes, shape (N, 10), for images as ``features`` takes them."""
        return self.head(self.dropout(self.features(images)))


class PhotoClassifier(DigitClassifier):
    """32x32 photographs in [-1, 1] to the logits of CIFAR-10's classes, by the same layers."""

    image_shape = (3, 32, 32)


class PixelComponents(nn.Module):
    """Images as coordinates along the directions in which the training pictures vary most.

    Args:
        mean: the mean picture, shape (pixels,).
        components: orthonormal columns, shape (pixels, k), largest variance first.
    """

    def __init__(self, mean: Tensor, components: Tensor):
        super().__init__()
        self.mean = nn.Parameter(mean, requires_grad=False)
        self.components = nn.Parameter(components, requires_grad=False)
        self.num_features = components.shape[1]

    @classmethod
    def fit(cls, images: Tensor, k: int = 60) -> PixelComponents:
        """The k principal components of these images, shape (N, C, H, W), N above k."""
        arguments.batch("images", images, dims=2)
        k = arguments.whole("k", k)
        flat = images.cpu().flatten(1).double()
        if not 1 <= k < min(flat.shape):
            raise ValueError(f"k must be from 1 to {min(flat.shape) - 1} for images of shape "
                             f"{tuple(images.shape)}, got {k}")
        mean = flat.mean(0)
        flat = flat - mean
        if flat.shape[1] <= len(flat):
            _, vectors = torch.linalg.eigh(flat.T @ flat)
            vectors = vectors.flip(1)[:, :k]
        else:  # fewer pictures than pixels: the same directions from the smaller matrix
            squares, weights = torch.linalg.eigh(flat @ flat.T)
            vectors = flat.T @ (weights / squares.clamp(min=1e-12).sqrt()).flip(1)[:, :k]
        # Either sign is a principal direction; the largest entry is made positive.
        largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        return cls(mean.float(), (vectors * largest.sign()).float())

    def features(self, images: Tensor) -> Tensor:
        """Coordinates, shape (N, k), of images of the fitted shape (N, C, H, W)."""
        flat = images.flatten(1)
        if flat.shape[1:] != self.mean.shape:
            raise ValueError(f"images must have {len(self.mean)} numbers each, as those that were "
                             f"fitted, got shape {tuple(images.shape)}")
        return (flat - self.mean) @ self.components


def load_classifier(device: str | torch.device = "cpu", space: str = "classifier"
                    ) -> DigitClassifier:
    """A shipped classifier, in evaluation mode; :func:`classifier_facts` tells its accuracy.

    Args:
        device: where it shall compute.
        space: ``"classifier"``, or ``"plain"`` for the one that saw no turned, shifted or scaled
            digits, or ``"photos"`` for that of CIFAR-10's classes, a :class:`PhotoClassifier`.
    """
    from safetensors.torch import load_file

    model = PhotoClassifier() if space == "photos" else DigitClassifier()
    # Assigned, so that it is float32 on the CPU whatever torch's defaults are.
    model.load_state_dict(load_file(_classifier_file(space)), assign=True)
    return model.to(accelerator.named(device)).eval()


def load_extractor(space: str, device: str | torch.device = "cpu") -> nn.Module:
    """What turns digits into the features of a space: a module with ``features(images)``.

    Args:
        space: one of :data:`SPACES`.
        device: where it shall compute.
    """
    from safetensors.torch import load_file

    arguments.choice("space", space, SPACES)
    if space != "pixels":
        return load_classifier(device, space)
    stored = load_file(data_folder() / "stats" / "mnist-components.safetensors")
    return PixelComponents(**stored).to(accelerator.named(device)).eval()


def _classifier_file(space: str):
    arguments.choice("space", space, _CLASSIFIERS)
    return data_folder() / "weights" / f"{_CLASSIFIERS[space]}.safetensors"


def save_classifier(path, model: DigitClassifier, **facts) -> None:
    """Write a classifier with its facts; see :func:`~ddim_lib.weights.read_facts`.

    Args:
        path: the file.
        model: a :class:`DigitClassifier`.
        facts: anything JSON can hold.
    """
    header = {"format": "ddim_lib classifier 1",
              **{k: arguments.json_text(k, v) for k, v in facts.items()}}
    save_tensors(path, model.state_dict(), header)


@torch.no_grad()
def in_batches(function, images: Tensor, batch_size: int = 500) -> Tensor:
    """function applied to a few images at a time, the results joined.

    Args:
        function: from images to a tensor with as many rows.
        images: shape (N, ...).
        batch_size: how many at a time.
    """
    batch_size = arguments.whole("batch_size", batch_size, 1)
    return torch.cat([function(part) for part in images.split(batch_size)])


def confidence(images: Tensor, classifier: DigitClassifier | None = None) -> tuple[Tensor, Tensor]:
    """What the classifier takes each picture for, and how sure it is.

    A high confidence does not make a picture a digit: the classifier knows nothing else and is
    sure of pure noise too. Read it beside the distance.

    Args:
        images: in [-1, 1], shape (N, 1, 28, 28); values outside are clipped first.
        classifier: where left out, the shipped one, on the images' device.

    Returns:
        on the images' device: labels, int64, shape (N,); probabilities of those labels, shape (N,).
    """
    arguments.batch("images", images)
    classifier = classifier or load_classifier(images.device)
    there = device_of(classifier, images.device)
    x = images.clamp(-1, 1).to(there, type_of(classifier, torch.float32))
    with evaluating(classifier):
        logits = in_batches(classifier, x).to(images.device)
    probability, label = F.softmax(logits, dim=1).max(dim=1)
    return label, probability


def precision_recall(real: Tensor, generated: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al., arXiv 1904.06991, eq. 1 and 2).

    Each point of a set has a ball that reaches to its k-th nearest neighbour in the set. Precision
    is the share of generated points inside a ball of a real one (are the samples like the data?),
    recall the share of real points inside a ball of a generated one (are all the data drawn?).

    Args:
        real: features, shape (N, d), N above k.
        generated: features, shape (M, d), M above k; take M = N, both shares depend on them.
        k: which neighbour.
    """
    k = arguments.whole("k", k, 1)
    for name, features in (("real", real), ("generated", generated)):
        arguments.batch(name, features)
        if features.ndim != 2 or len(features) <= k:
            raise ValueError(f"{name} must have shape (N, d) with N above k = {k}, got "
                             f"{tuple(features.shape)}")

    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"generated must have the {real.shape[1]} features of real, got "
                         f"{generated.shape[1]}")

    def distances(a: Tensor, b: Tensor) -> Iterator[Tensor]:
        for part in a.split(1000):
            # By differences: by products, equal points would not be at distance 0.
            yield torch.cdist(part, b, compute_mode="donot_use_mm_for_euclid_dist")

    def covered(points: Tensor, centres: Tensor) -> float:
        # The nearest of k + 1 is the point itself.
        radius = torch.cat([d.topk(k + 1, largest=False).values[:, -1]
                            for d in distances(centres, centres)])
        inside = torch.cat([(d <= radius).any(1) for d in distances(points, centres)])
        return inside.float().mean().item()

    return covered(generated, real), covered(real, generated)


class FrechetDistance:
    """The distance of Heusel et al. (arXiv 1706.08500, eq. 6) in the features of a space.

    torchmetrics computes it; this class holds the extractor and the reference. Features are
    computed where the classifier is; their sums stay on the CPU, in float64, which Apple's GPUs
    lack.

    Args:
        reference: images in [-1, 1], shape (N, 1, 28, 28), or None for the shipped statistics
            of all 60,000 MNIST training digits.
        classifier: the extractor, a module with ``features(images)`` and ``num_features``; where
            left out, the shipped one of the space.
        space: one of :data:`SPACES`.

    Raises:
        ValueError: an unknown space, or another classifier without a reference: the shipped
            statistics are of the shipped classifier's features.
    """

    def __init__(self, reference: Tensor | None = None,
                 classifier: nn.Module | None = None, space: str = "classifier"):
        with extra("the Fréchet distance needs torchmetrics"):
            from torchmetrics.image.fid import FrechetInceptionDistance

        arguments.choice("space", space, SPACES)
        if reference is None and classifier is not None and not _is_shipped(classifier, space):
            raise ValueError("reference must be given with a classifier of one's own, got None: "
                             "the shipped statistics are of the shipped classifier's features")
        self.classifier = classifier or load_extractor(space)
        extractor = _Features(self.classifier)
        # All pictures are here: in several processes it would gather the others', who have none.
        with torch.device("cpu"):  # whatever the default is
            self._metric = FrechetInceptionDistance(feature=extractor, reset_real_features=False,
                                                    sync_on_compute=False)
        if reference is None:
            self._restore(data_folder() / "stats" / f"{_REFERENCES[space]}.safetensors")
        else:
            self._add(reference, real=True)

    def __call__(self, images: Tensor) -> float:
        """The distance of these images to the reference.

        Args:
            images: in [-1, 1], shape (n, 1, 28, 28), n at least 2; values outside are clipped.
        """
        self._metric.reset()  # of what was measured before; the reference stays
        self._add(images, real=False)
        return self._metric.compute().item()

    @property
    def reference_size(self) -> int:
        """How many pictures the reference was made of."""
        return int(self._metric.real_features_num_samples)

    def save_reference(self, path, **facts) -> None:
        """Write the reference's sums, so that it need not be computed again.

        Args:
            path: a safetensors file.
            facts: anything JSON can hold, stored with it.
        """
        tensors = {name: getattr(self._metric, name) for name in STATISTICS}
        save_tensors(path, tensors, {k: arguments.json_text(k, v) for k, v in facts.items()})

    def _restore(self, path) -> None:
        from safetensors.torch import load_file

        for name, value in load_file(path).items():
            setattr(self._metric, name, value)

    def _add(self, images: Tensor, real: bool) -> None:
        arguments.batch("reference" if real else "images", images)
        if len(images) < 2:
            raise ValueError(f"images must be at least 2 for a covariance, got {len(images)}")
        for part in images.split(500):
            self._metric.update(part.clamp(-1, 1), real=real)


def _is_shipped(classifier: nn.Module, space: str) -> bool:
    ours, theirs = load_extractor(space).state_dict(), classifier.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(value, theirs[key].cpu()) for key, value in ours.items())


class _Features(nn.Module):
    """The classifier as torchmetrics wants an extractor: images in, features out."""

    def __init__(self, classifier: DigitClassifier):
        super().__init__()
        self.classifier, self.num_features = classifier, classifier.num_features
        self.device = device_of(classifier, torch.device("cpu"))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        images = images.to(self.device, type_of(self.classifier, torch.float32))
        with evaluating(self.classifier):
            features = self.classifier.features(images)
        arguments.finite("features of the classifier", features)
        return features.cpu()


def classifier_facts(space: str = "classifier") -> dict:
    """Accuracy and history of a shipped classifier.

    Args:
        space: ``"classifier"``, ``"plain"`` or ``"photos"``.
    """
    return read_facts(_classifier_file(space))


@torch.no_grad()
def judge(images: Tensor, real: Tensor | None, device: str | torch.device = "cpu"
          ) -> dict[str, dict]:
    """What each of the three judges says of these digits.

    Args:
        images: in [-1, 1], shape (n, 1, 28, 28), n at least 2; values outside are clipped.
        real: as many real digits, for the floor, what a perfect generator would reach at this n,
            and for precision and recall; None where there are not so many.
        device: where to compute.

    Returns:
        for each space ``distance`` (to all 60,000 training digits), ``floor`` (that of ``real``),
        ``precision`` and ``recall``. The last three are None without ``real``, the last two also
        where n is below 4, since they look at third neighbours.
    """
    if real is not None and images.shape != real.shape:
        raise ValueError(f"real must have the shape of images, {tuple(images.shape)}, got "
                         f"{tuple(real.shape)}")
    found = {}
    for space in SPACES:
        extractor = load_extractor(space, device)

        def features(pictures: Tensor, extractor: nn.Module = extractor) -> Tensor:
            return in_batches(lambda part: extractor.features(part.clamp(-1, 1).float().to(device)),
                              pictures)

        distance = FrechetDistance(classifier=extractor, space=space)
        floor = precision = recall = None
        if real is not None:
            floor = round(distance(real), 3)
        if real is not None and len(real) > 3:
            precision, recall = (round(share, 4) for share in
                                 precision_recall(features(real), features(images)))
        found[space] = {"distance": round(distance(images), 3), "floor": floor,
                        "precision": precision, "recall": recall}
    return found
