"""Train a classifier whose features a Fréchet distance is measured in.

    python scripts/experiments/train_classifier.py --out FILE
    python scripts/experiments/train_classifier.py --plain --out FILE
    python scripts/experiments/train_classifier.py --photos --out FILE

The files are data/weights/mnist-classifier.safetensors, mnist-classifier-plain.safetensors and
cifar10-classifier.safetensors. Of the photographs every tenth is kept apart for the accuracy.
"""

import argparse
import time
from datetime import UTC, datetime

import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import Compose, RandomAffine, RandomCrop, RandomHorizontalFlip

from ddim_lib.datasets import load
from ddim_lib.metrics import DigitClassifier, PhotoClassifier, in_batches, save_classifier
from ddim_lib.runtime import precision
from ddim_lib.runtime.provenance import commit, hardware


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true",
                        help="show the digits as they are: neither turned, shifted nor scaled")
    parser.add_argument("--photos", action="store_true",
                        help="CIFAR-10's photographs, mirrored and shifted, instead of digits")
    parser.add_argument("--autocast", default="fp32", help="what the network computes in")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--commit")
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    if args.photos:
        images, labels = load("cifar10", download=args.download)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(args.seed))
        test, train = order.split([len(images) // 10, len(images) - len(images) // 10])
        test_images, test_labels = images[test].to(device), labels[test].to(device)
        images, labels = images[train].to(device), labels[train].to(device)
        model = PhotoClassifier()
        told = ("CIFAR-10, 45,000 training photographs", "mirrored, shifts of 12 %")
        # A shift leaves the edge's colour behind.
        jitter = Compose([RandomHorizontalFlip(), RandomCrop(32, padding=4, padding_mode="edge")])
    else:
        images, labels = (v.to(device) for v in load("mnist", download=args.download))
        test_images, test_labels = (v.to(device) for v in load("mnist", "test"))
        model = DigitClassifier()
        told = "MNIST, 60,000 training digits", "turns of 10 degrees, shifts of 8 %, 0.9..1.1"
        # Small turns and shifts, empty where the picture ends.
        jitter = RandomAffine(degrees=10, translate=(0.08, 0.08), scale=(0.9, 1.1), fill=-1)
    model = model.to(device)
    chosen = precision.resolve(args.autocast, torch.device(device))
    steps = args.epochs * (len(images) // args.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    begin = time.perf_counter()
    for epoch in range(args.epochs):
        model.train()
        for index in torch.randperm(len(images), device=device).split(args.batch_size):
            if len(index) < args.batch_size:
                continue
            batch = images[index]
            # Groups of 25 share one jitter: ten draws a batch, each a single fast call.
            if not args.plain:
                batch = torch.cat([jitter(part) for part in batch.split(25)])
            with precision.computing_in(chosen, torch.device(device)):
                loss = F.cross_entropy(model(batch), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        model.eval()
        right = in_batches(model, test_images).argmax(1) == test_labels
        accuracy = right.float().mean().item()
        print(f"epoch {epoch + 1}: test accuracy {accuracy:.4f}", flush=True)
    save_classifier(args.out, model, data=told[0], epochs=args.epochs,
                    jitter="none" if args.plain else told[1], precision=args.autocast,
                    seed=args.seed, test_accuracy=round(accuracy, 4), test_images=len(test_images),
                    seconds=round(time.perf_counter() - begin), hardware=hardware(),
                    commit=args.commit or commit(), date=datetime.now(UTC).date().isoformat())


if __name__ == "__main__":
    main()
