"""How good are the pictures? A Fréchet distance, and a classifier's confidence.

Both look through a small digit classifier that ships with the library: an
Inception network knows little of digits. A Fréchet distance alone says
nothing; say with it n, the reference, and the floor, the distance of real
pictures at the same n.
"""

from __future__ import annotations

import json

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddim_lib.weights import data_folder, read_facts, save_tensors

STATISTICS = ("real_features_sum", "real_features_cov_sum", "real_features_num_samples")


class DigitClassifier(nn.Module):
    """28x28 grey digits in [-1, 1] to ten logits, through 128 features."""

    num_features = 128  # the name torchmetrics asks for

    def __init__(self) -> None:
        super().__init__()

        def layer(n_in: int, n_out: int) -> list[nn.Module]:
            return [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out),
                    nn.ReLU()]

        self.body = nn.Sequential(
            *layer(1, 32), *layer(32, 32), nn.MaxPool2d(2),
            *layer(32, 64), *layer(64, 64), nn.MaxPool2d(2),
            *layer(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(128, 128), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(128, 10)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees, shape (N, 128).

        Args:
            images: in [-1, 1], shape (N, 1, 28, 28).
        """
        if images.shape[1:] != (1, 28, 28):
            raise ValueError(f"images must have shape (N, 1, 28, 28), got {tuple(images.shape)}")
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the ten digits, shape (N, 10), for images of shape (N, 1, 28, 28)."""
        return self.head(self.dropout(self.features(images)))


def load_classifier(device: str | torch.device = "cpu") -> DigitClassifier:
    """The shipped classifier, in evaluation mode; :func:`classifier_facts` tells its accuracy.

    Args:
        device: where it shall compute.
    """
    from safetensors.torch import load_file

    model = DigitClassifier()
    model.load_state_dict(load_file(data_folder() / "weights" / "mnist-classifier.safetensors"))
    return model.to(device).eval()


def save_classifier(path, model: DigitClassifier, **facts) -> None:
    """Write a classifier with its facts; see :func:`~ddim_lib.weights.read_facts`.

    Args:
        path: the file.
        model: a :class:`DigitClassifier`.
        facts: anything JSON can hold.
    """
    header = {"format": "ddim_lib classifier 1", **{k: json.dumps(v) for k, v in facts.items()}}
    save_tensors(path, model.state_dict(), header)


@torch.no_grad()
def in_batches(function, images: Tensor, batch_size: int = 500) -> Tensor:
    """function applied to a few images at a time, the results joined.

    Args:
        function: from images to a tensor with as many rows.
        images: shape (N, ...).
        batch_size: how many at a time.
    """
    return torch.cat([function(part) for part in images.split(batch_size)])


def confidence(images: Tensor, classifier: DigitClassifier | None = None) -> tuple[Tensor, Tensor]:
    """What the classifier takes each picture for, and how sure it is.

    A high confidence does not make a picture a digit: the classifier knows nothing else and is
    sure of pure noise too. Read it beside the distance.

    Args:
        images: in [-1, 1], shape (N, 1, 28, 28); values outside are clipped first.
        classifier: where left out, the shipped one.

    Returns:
        labels, int64, shape (N,); probabilities of those labels, shape (N,).
    """
    classifier = classifier or load_classifier(images.device)
    logits = in_batches(classifier, images.clamp(-1, 1))
    probability, label = F.softmax(logits, dim=1).max(dim=1)
    return label, probability


class FrechetDistance:
    """The distance of Heusel et al. (arXiv 1706.08500, eq. 6) in the classifier's features.

    torchmetrics computes it; this class holds the extractor and the reference.

    Args:
        reference: images in [-1, 1], shape (N, 1, 28, 28), or None for the shipped statistics
            of all 60,000 MNIST training digits.
        classifier: the extractor; where left out, the shipped one.

    Raises:
        ValueError: another classifier without a reference: the shipped statistics are of the
            shipped classifier's features.
    """

    def __init__(self, reference: Tensor | None = None,
                 classifier: DigitClassifier | None = None):
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
        except ImportError as error:
            raise ImportError("the Fréchet distance needs torchmetrics: "
                              'pip install "ddim-lib[train]"') from error

        if reference is None and classifier is not None and not _is_shipped(classifier):
            raise ValueError("reference must be given with a classifier of one's own, got None: "
                             "the shipped statistics are of the shipped classifier's features")
        self.classifier = classifier or load_classifier()
        extractor = _Features(self.classifier)
        # All pictures are here: in several processes it would gather the others', who have none.
        self._metric = FrechetInceptionDistance(feature=extractor, reset_real_features=False,
                                                sync_on_compute=False)
        self._metric.to(next(self.classifier.parameters()).device)
        if reference is None:
            self._restore(data_folder() / "stats" / "mnist-train.safetensors")
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
        save_tensors(path, tensors, {k: json.dumps(v) for k, v in facts.items()})

    def _restore(self, path) -> None:
        from safetensors.torch import load_file

        device = self._metric.device
        for name, value in load_file(path).items():
            setattr(self._metric, name, value.to(device))

    def _add(self, images: Tensor, real: bool) -> None:
        if len(images) < 2:
            raise ValueError(f"images must be at least 2 for a covariance, got {len(images)}")
        for part in images.split(500):
            self._metric.update(part.clamp(-1, 1).to(self._metric.device), real=real)


def _is_shipped(classifier: nn.Module) -> bool:
    ours, theirs = load_classifier().state_dict(), classifier.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(value, theirs[key].cpu()) for key, value in ours.items())


class _Features(nn.Module):
    """The classifier as torchmetrics wants an extractor: images in, features out."""

    def __init__(self, classifier: DigitClassifier):
        super().__init__()
        self.classifier, self.num_features = classifier, classifier.num_features

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return self.classifier.features(images.float())


def classifier_facts() -> dict:
    """Accuracy and history of the shipped classifier."""
    return read_facts(data_folder() / "weights" / "mnist-classifier.safetensors")
