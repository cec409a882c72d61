"""Measure a network: quality for its model card, the S x eta table, encoding errors.

With `python scripts/experiments/` before each:

    measure.py statistics --out data/stats/mnist-train.safetensors
    measure.py statistics pixels --out data/stats/mnist-train-pixels.safetensors
    measure.py quality mnist --n 5000 --out data/results/mnist-quality.json
    measure.py table mnist --eta 0 0.5 1 hat --steps 10 50 --out part.json
    measure.py where mnist --n 1000 --steps 10 20 --out part.json
    measure.py guidance mnist-labels --n 1000 --steps 20 --out part.json
    measure.py labels mnist mnist-labels --n 1000 --steps 20 --out part.json
    measure.py speed mnist --n 32 --steps 1000 10 --out data/results/mnist-speed.json
    measure.py encode mnist --n 200 --steps 10 --out data/results/mnist-encode.json
    measure.py consistency mnist-eps --n 200 --steps 1000 100 10 --out part.json
    measure.py levels mnist --n 1000 --steps 20 --out data/results/mnist-levels.json
    measure.py halfway mnist --n 600 --steps 50 --out data/results/mnist-halfway.json
    measure.py merge part-*.json --out data/results/mnist-eps-table.json
    measure.py floor table.json --out data/results/mnist-eps-table.json
    measure.py texture kkanji --images kkanji --n 64 --eta 0 1 --out part.json
    measure.py pixels kkanji --images kkanji --n 500 --steps 20 --eta 0 1 --out part.json
    measure.py prediction mnist kkanji --n 2000 --out data/results/high-levels.json

Every file says n, seeds, weights, extractor, reference, hardware, commit and date.
"""

import argparse
import json
import statistics
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import torch

import ddim_lib
from ddim_lib.datasets import load, load_uint8
from ddim_lib.metrics import (
    FrechetDistance,
    PixelComponents,
    classifier_facts,
    confidence,
    in_batches,
    judge,
    load_classifier,
    precision_recall,
)
from ddim_lib.pixels import to_float
from ddim_lib.posterior import posterior_mean
from ddim_lib.presets import PRESETS
from ddim_lib.runtime.provenance import commit, hardware
from ddim_lib.sampling import noise_in
from ddim_lib.storage.tensors import save_tensors

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16 autocast", "fp16": "float16 autocast"}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    args = arguments()
    # Where a GPU would round float32 products to ten bits, float32 would be no true word.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if args.what == "statistics":
        statistics_of(args.names[0] if args.names else "classifier", out)
        return
    if args.what == "floor":
        # Apart from the table, for a machine that has the pictures.
        result = json.loads(Path(args.names[0]).read_text())
        args.n = result["n"]
        distance = FrechetDistance(classifier=load_classifier(DEVICE))
        for split in ("train", "test"):
            result[f"floor_{split}"] = floor(args, distance, split)
    elif args.what == "merge":
        parts = [json.loads(Path(name).read_text()) for name in args.names]
        for name in ("n", "seeds", "weights", "extractor", "reference", "precision"):
            if len({part.get(name) for part in parts}) > 1:
                raise SystemExit(f"the files differ in {name}: they are not one table")
        rows = [row for part in parts for row in part["rows"]]
        rows.sort(key=lambda row: (row["spacing"], row.get("order", 1), row["S"], str(row["eta"])))
        result = {**parts[0], "rows": rows}
    else:
        model, schedule = loaded(args.names[0])
        if args.channels_last:
            model = model.to(memory_format=torch.channels_last)
        if args.compile:
            model = torch.compile(model)
        measure = {"quality": quality, "table": table, "where": where, "speed": speed,
                   "encode": encode, "consistency": consistency, "texture": texture,
                   "pixels": pixels, "guidance": guidance, "labels": labels,
                   "halfway": halfway, "levels": levels, "prediction": prediction}[args.what]
        result = facts(args)
        # Written after every row: a long run that is stopped keeps what it has measured.
        for part in measure(args, model, schedule):
            result.update(part)
            out.write_text(json.dumps(result, indent=1) + "\n")
            print(part if "rows" not in part else part["rows"][-1], flush=True)
        return
    out.write_text(json.dumps(result, indent=1) + "\n")


def statistics_of(space: str, out: Path) -> None:
    """The reference of one space; for the pixels their components too, beside it."""
    images, _ = load("mnist")
    facts = {"data": "MNIST, 60,000 training digits"}
    if space == "pixels":
        extractor = PixelComponents.fit(images).to(DEVICE)
        save_tensors(out.with_name("mnist-components.safetensors"), extractor.state_dict(),
                     {"data": json.dumps(facts["data"])})
        facts["extractor"] = f"{extractor.num_features} principal components of these pixels"
    else:
        extractor, facts["extractor"] = load_classifier(DEVICE, space), classifier_facts(space)
    FrechetDistance(images, extractor).save_reference(out, **facts)


def facts(args: argparse.Namespace) -> dict:
    told = {"seeds": f"{args.seed}..{args.seed + args.n - 1}",
            "weights": Path(args.names[0]).stem, "hardware": hardware(),
            "precision": PRECISIONS[args.autocast], "torch": torch.__version__,
            "commit": args.commit or commit(), "date": datetime.now(UTC).date().isoformat()}
    # Of other pictures, and they say the rest themselves.
    if args.what in ("texture", "pixels", "prediction"):
        return told
    found = classifier_facts()
    judges = "mnist-classifier, mnist-classifier-plain, 60 principal components of the pixels"
    return told | {
        "n": args.n, "reference": "60,000 MNIST training digits",
        "extractor": judges if args.what in ("table", "where", "guidance", "labels", "levels") else
                     f"mnist-classifier, 128 features, {found['test_accuracy']:.2%} on "
                     f"{found['test_images']:,} test digits"}


def quality(args, model, schedule):
    """The model card's numbers, with the floor and the distance of pure noise beside them."""
    classifier = load_classifier(DEVICE)
    distance = FrechetDistance(classifier=classifier)
    x = pictures(args, model, schedule, args.steps[0], args.eta[0])
    noise = torch.randn(args.n, 1, 28, 28, generator=torch.Generator().manual_seed(args.seed))
    labels, probability = confidence(x, classifier)
    _, real_probability = confidence(real(args, "test"), classifier)
    yield {
        "S": args.steps[0], "eta": args.eta[0], "spacing": args.spacing,
        "distance": round(distance(x), 3),
        "floor_train": floor(args, distance, "train"),
        "floor_test": floor(args, distance, "test"),
        "noise": round(distance(noise.to(DEVICE)), 1),
        "share_above_0.9": round((probability > 0.9).float().mean().item(), 4),
        "share_above_0.9_real_test": round((real_probability > 0.9).float().mean().item(), 4),
        "digits": torch.bincount(labels.cpu(), minlength=10).tolist(),
    }


def table(args, model, schedule):
    """The three judges on each S and eta, from the same start points."""
    pictures_of_data = real(args, "train")
    if not args.no_floor:
        yield {"real": {"training digits": judge(real(args, "train", 1), pictures_of_data, DEVICE),
                        "test digits": judge(real(args, "test"), pictures_of_data, DEVICE)}}
    rows = []
    for steps in args.steps:
        for eta in args.eta:
            x = pictures(args, model, schedule, steps, eta)
            rows.append({"S": steps, "eta": eta, "spacing": args.spacing, "order": args.order,
                         **judge(x, pictures_of_data, DEVICE)})
            yield {"rows": rows}


def where(args, model, schedule):
    """The three judges where only a part of the walk draws fresh noise, with eta 1.

    With no noise and with noise everywhere the pictures would be those of ``table``, eta 0 and 1.
    """
    pictures_of_data = real(args, "train")
    rows = []
    for steps in args.steps:
        for noise, above, below in (("t > 500", 1.0, 0.0), ("t <= 500", 0.0, 1.0)):
            x = in_two_parts(args, model, schedule, steps, above, below)
            rows.append({"S": steps, "noise": noise, "spacing": args.spacing,
                         **judge(x, pictures_of_data, DEVICE)})
            yield {"rows": rows}


def guidance(args, model, schedule):
    """What the guidance scale does, with every label as often, or with --shares: the share of
    pictures that the classifier takes for their label, the mean pixel in [0, 1], and the three
    judges."""
    pictures_of_data = real(args, "train")
    labels = [i % model.classes for i in range(args.n)]
    if args.shares:
        labels = torch.arange(model.classes).repeat_interleave(torch.tensor(args.shares))
        generator = torch.Generator().manual_seed(args.seed)
        labels = labels[torch.randperm(args.n, generator=generator)].tolist()

    def ink(x):
        return round((x.mean().item() + 1) / 2, 4)

    yield {"S": args.steps[0], "eta": 0.0, "spacing": args.spacing, "ink": ink(pictures_of_data)}
    rows = []
    for scale in args.guidance:
        x = ddim_lib.sample(model, schedule, seeds=range(args.seed, args.seed + args.n),
                            steps=args.steps[0], spacing=args.spacing, labels=labels,
                            guidance=scale, batch_size=args.batch_size, progress=False,
                            autocast=args.autocast).to(DEVICE)
        found, _ = confidence(x)
        rows.append({**({"shares": args.shares} if args.shares else {}), "guidance": scale,
                     "right": round((found.cpu() == torch.tensor(labels)).float().mean().item(), 4),
                     "ink": ink(x),
                     **judge(x, pictures_of_data, DEVICE)})
        yield {"rows": rows}


def labels(args, model, schedule):
    """What a label changes: a network without labels, with eta 0 and 1, beside the second one of
    the command, which is told each digit as often, or the digit that the first one drew with
    eta 0 from the same start point.

    sure: the share of pictures of which the plain classifier is surer than 0.9. settled: the three
    judges on these alone, as many for each row.
    """
    labelled, _ = ddim_lib.load_pretrained(args.names[1], DEVICE)
    pictures_of_data = real(args, "train")
    plain = load_classifier(DEVICE, "plain")
    ways = {f"{Path(args.names[0]).stem}, eta {eta:g}":
            pictures(args, model, schedule, args.steps[0], eta) for eta in (0.0, 1.0)}
    drawn, _ = confidence(next(iter(ways.values())), plain)
    for told, y in (("as often", [i % 10 for i in range(args.n)]), ("as drawn", drawn.tolist())):
        ways[f"{args.names[1]}, eta 0, {told}"] = ddim_lib.sample(
            labelled, schedule, seeds=range(args.seed, args.seed + args.n), steps=args.steps[0],
            spacing=args.spacing, labels=y, batch_size=args.batch_size, progress=False,
            autocast=args.autocast).to(DEVICE)
    named = {name: confidence(x, plain) for name, x in ways.items()}
    sure = {name: probability > 0.9 for name, (_, probability) in named.items()}
    kept = min(int(mask.sum()) for mask in sure.values())
    rows = []
    yield {"S": args.steps[0], "spacing": args.spacing, "settled_n": kept}
    for name, x in ways.items():
        digits = torch.bincount(named[name][0].cpu(), minlength=10).tolist()
        rows.append({"way": name, "sure": round(sure[name].float().mean().item(), 4),
                     "digits": digits, **judge(x, pictures_of_data, DEVICE),
                     "settled": judge(x[sure[name]][:kept], pictures_of_data[:kept], DEVICE)})
        yield {"rows": rows}


def in_two_parts(args, model, schedule, steps, above, below, middle=500):
    """Pictures whose walk has one eta above a level and another from there down."""
    taus = ddim_lib.timesteps(schedule, steps, args.spacing)
    rest = [t for t in taus if t <= middle]
    done = []
    for start in range(args.seed, args.seed + args.n, args.batch_size):
        seeds = range(start, min(start + args.batch_size, args.seed + args.n))
        # Only one part draws noise, so each seed's stream is used once and from its beginning.
        for at in ddim_lib.sample_iter(model, schedule, seeds=seeds, steps=taus, eta=above,
                                       autocast=args.autocast):
            if at.t == rest[-1]:
                break
        done.append(ddim_lib.sample(model, schedule, x_T=at.x, seeds=seeds, steps=rest, eta=below,
                                    batch_size=args.batch_size, progress=False,
                                    autocast=args.autocast))
    return torch.cat(done).to(DEVICE)


def speed(args, model, schedule):
    """Seconds for n pictures at each S and eta: the median of five runs, on a quiet machine."""
    pictures(args, model, schedule, 5, 0.0)  # the first calls choose kernels
    rows = []
    for steps in args.steps:
        for eta in args.eta:
            times = []
            for _ in range(5 if steps < 500 else 1):
                begin = time.perf_counter()
                pictures(args, model, schedule, steps, eta)
                times.append(time.perf_counter() - begin)
            rows.append({"S": steps, "eta": eta, "spacing": args.spacing, "runs": len(times),
                         "seconds": round(statistics.median(times), 2)})
            yield {"rows": rows}


def encode(args, model, schedule):
    """Mean squared error of encode-then-decode on test digits, pixels in [0, 1] (Table 2)."""
    images, _ = load("mnist", "test")
    images = images[:args.n]
    if len(images) < args.n:
        raise SystemExit(f"--n must be at most the test set's {len(images)}, got {args.n}")
    rows = []
    for steps in args.steps:
        for convention in args.convention:
            errors = []
            for part in images.split(args.batch_size):
                part = part.to(DEVICE)
                x = ddim_lib.encode(model, schedule, part, steps=steps, spacing=args.spacing,
                                    convention=convention, autocast=args.autocast)
                back = ddim_lib.sample(model, schedule, x_T=x, steps=steps, progress=False,
                                       spacing=args.spacing, batch_size=args.batch_size,
                                       autocast=args.autocast)
                errors.append(((back - part.cpu()) / 2).square().mean(dim=(1, 2, 3)))
            errors = torch.cat(errors).double()
            rows.append({"S": steps, "convention": convention, "spacing": args.spacing,
                         "mse": float(f"{errors.mean():.3g}"),
                         "standard_error": float(f"{errors.std() / len(errors)**0.5:.2g}"),
                         "median": float(f"{errors.median():.3g}")})
            yield {"seeds": None, "rows": rows}


def consistency(args, model, schedule):
    """The first of --steps, with eta 0, against each row: same x_T, same picture?

    The distance is the root of the mean squared difference of two pictures' pixels, in [-1, 1],
    averaged over the pairs; "unrelated" pairs each picture with the next seed's.
    """
    classifier = load_classifier(DEVICE)
    reference = pictures(args, model, schedule, args.steps[0], 0.0)
    labels, _ = confidence(reference, classifier)

    def row(x, **what):
        found, _ = confidence(x, classifier)
        difference = (x.clamp(-1, 1) - reference.clamp(-1, 1)).square().mean(dim=(1, 2, 3)).sqrt()
        return {**what, "rms": round(difference.mean().item(), 4),
                "same_label": round((found == labels).float().mean().item(), 4)}

    rows = [row(reference.roll(1, 0), S=args.steps[0], eta="unrelated")]
    yield {"against": {"S": args.steps[0], "eta": 0.0}, "spacing": args.spacing}
    for steps in args.steps[1:]:
        for eta in args.eta:
            rows.append(row(pictures(args, model, schedule, steps, eta), S=steps, eta=eta))
            yield {"rows": rows}


def halfway(args, model, schedule):
    """The classifier's distance half way along straight lines, and at their first ends, in hundreds
    of pairs, a seed and that seed plus 1000: by the network, and by the best guess from all
    training digits (chapter 2), which makes no error."""
    exact = best_guess(schedule)

    def drawn(network, x_T):
        return distance(ddim_lib.sample(network, schedule, x_T=x_T, steps=args.steps[0],
                                        spacing=args.spacing, progress=False,
                                        autocast=args.autocast))

    distance, rows = FrechetDistance(classifier=load_classifier(DEVICE)), []
    yield {"S": args.steps[0], "eta": 0.0, "spacing": args.spacing, "pairs": 100}
    for first in range(args.seed, args.seed + args.n, 100):
        a, b = (ddim_lib.noise_from_seeds(range(seed, seed + 100), model.image_shape)
                for seed in (first, first + 1000))
        for name, network in (("network", model), ("best guess", exact)):
            rows.append({"by": name, "first_seed": first, "start": round(drawn(network, a), 2),
                         "half_way": round(drawn(network, torch.lerp(a, b, 0.5)), 2)})
            yield {"rows": rows}


def levels(args, model, schedule):
    """The three judges, with eta 0, where the best guess from all training digits answers above a
    level in place of the network, or below it: what the network costs there.

    Below, the best guess ends at a training digit, so that row says what the network costs above
    only where it leads to no digit at all, or to another share of each.
    """
    pictures_of_data, exact, rows = real(args, "train"), best_guess(schedule), []
    for S in args.steps:
        for above, below in ((exact, exact), (exact, model), (model, exact), (model, model)):
            def answer(x, t, above=above, below=below):
                return (above if int(t[0]) > args.level else below)(x, t)

            x = pictures(args, answer, schedule, S, 0.0, shape=model.image_shape, device=DEVICE)
            rows.append({"S": S, "spacing": args.spacing, "level": args.level,
                         "above": "best guess" if above is exact else "network",
                         "below": "best guess" if below is exact else "network",
                         **judge(x, pictures_of_data, DEVICE)})
            yield {"eta": 0.0, "rows": rows}


def best_guess(schedule):
    """The noise that goes with the mean of x_0 given x_t, over all training digits (chapter 2)."""
    images = load("mnist")[0].to(DEVICE)

    def exact(x, t):
        alpha = schedule.at(int(t[0]))
        return noise_in(x, posterior_mean(x, alpha, images), alpha)

    return exact


def texture(args, model, schedule):
    """Two numbers that a short training shows in, of samples and of the training pictures.

    spread: the standard deviation over pictures of a picture's mean (pixels in [0, 1]); colour
    that has drifted makes it large. grain: the mean difference of a pixel from the mean of its
    3x3 neighbourhood; specks make it large.
    """
    def row(x, **what):
        x = (x.clamp(-1, 1) + 1) / 2
        blurred = torch.nn.functional.avg_pool2d(x, 3, 1)
        return {**what, "spread": round(x.mean(dim=(1, 2, 3)).std().item(), 4),
                "grain": round((x[..., 1:-1, 1:-1] - blurred).abs().mean().item(), 4)}

    rows = []
    if args.images:
        images, _ = load_uint8(args.images)
        images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
        rows.append(row(images[:2000].float() / 127.5 - 1, pictures="training", n=2000))
    for eta in args.eta:
        x = pictures(args, model, schedule, args.steps[0], eta)
        rows.append(row(x, pictures="samples", n=args.n, S=args.steps[0], eta=eta))
        yield {"spacing": args.spacing, "rows": rows}


def prediction(args, model, schedule):
    """Mean squared errors of x_0-predictions, in [-1, 1], of each network of the command on n of
    its training pictures, with levels drawn from each range of --levels, beside the error of the
    pictures' mean and, from the second network on, what the error is above the first one's."""
    rows, firsts = [], {}
    for name in args.names:
        if name != args.names[0]:
            model, schedule = loaded(name)
        images = to_float(load_uint8(PRESETS[Path(name).stem].data)[0])
        generator = torch.Generator().manual_seed(args.seed)
        x0 = images[torch.randperm(len(images), generator=generator)[:args.n]]
        noise = ddim_lib.noise_from_seeds(range(args.seed, args.seed + len(x0)), model.image_shape)
        for low, high in pairwise(args.levels):
            t = torch.randint(low + 1, high + 1, (len(x0),), generator=generator)
            x_t = schedule.add_noise(x0, t, noise)
            with torch.no_grad():
                parts = zip(x_t.split(args.batch_size), t.split(args.batch_size), strict=True)
                eps = torch.cat([model(x.to(DEVICE), at.to(DEVICE)).cpu() for x, at in parts])
            signal, error = schedule.roots(t, 4, torch.float32)
            network, mean = ((x0 - y).square().mean((1, 2, 3)).double()
                             for y in ((x_t - error * eps) / signal, images.mean(0)))
            row = {"weights": name, "levels": f"{low + 1}..{high}",
                   "error": round(network.mean().item(), 5),
                   "error_of_the_mean_picture": round(mean.mean().item(), 4),
                   **apart(mean - network, "difference", "standard_error")}
            if name == args.names[0]:
                firsts[low] = network
            else:
                row |= apart(network - firsts[low], "above_the_first", "standard_error_above")
            rows.append(row)
            yield {"n": args.n, "weights": args.names, "images": "training pictures of each",
                   "rows": rows}


def apart(differences: torch.Tensor, *names: str) -> dict:
    """The mean of paired differences, and its standard error, under these names."""
    found = differences.mean(), differences.std() / len(differences) ** 0.5
    return {name: round(value.item(), 5) for name, value in zip(names, found, strict=True)}


def pixels(args, model, schedule):
    """The third judge alone, for pictures that no classifier here knows: its components fitted on
    5,000 of the training pictures, all of them the reference, n others the floor. For photographs
    their classifier instead, with --classifier."""
    images, _ = load_uint8(args.images)
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    if args.classifier:
        found, extractor = classifier_facts("photos"), load_classifier(space="photos")
        called = (f"cifar10-classifier, 128 features, {found['test_accuracy']:.2%} on "
                  f"{found['test_images']:,} photographs kept apart")
    else:
        extractor = PixelComponents.fit(to_float(images[:5000])).eval()
        called = "60 principal components of the pixels of 5,000 training pictures"

    def features(x):
        return in_batches(lambda part: extractor.features(part.clamp(-1, 1)), x)

    distance = FrechetDistance(to_float(images), extractor)
    first, second = to_float(images[-2 * args.n:]).split(args.n)
    yield {"n": args.n, "extractor": called,
           "reference": f"{len(images):,} training pictures",
           "floor": round(distance(first), 3)}
    rows = []
    for steps in args.steps:
        for eta in args.eta:
            x = pictures(args, model, schedule, steps, eta)
            precision, recall = precision_recall(features(second), features(x))
            rows.append({"S": steps, "eta": eta, "spacing": args.spacing,
                         "distance": round(distance(x), 3), "precision": round(precision, 4),
                         "recall": round(recall, 4)})
            yield {"rows": rows}


def loaded(name: str):
    """A network and its schedule, by name or from a file."""
    path = Path(name)
    return (ddim_lib.load_weights(path, DEVICE) if path.suffix else
            ddim_lib.load_pretrained(name, DEVICE))


def pictures(args, model, schedule, steps, eta, **options):
    x = ddim_lib.sample(model, schedule, seeds=range(args.seed, args.seed + args.n), steps=steps,
                        eta=eta, spacing=args.spacing, order=args.order,
                        batch_size=args.batch_size, progress=False, autocast=args.autocast,
                        **options)
    return x.to(DEVICE)


def floor(args, distance, split) -> float:
    """The distance of n real digits: what a perfect generator would reach at this n."""
    return round(distance(real(args, split)), 3)


def real(args, split, draw=0):
    """n real digits; another draw shares none with the first."""
    images, _ = load("mnist", split)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(args.seed))
    return images[order[draw * args.n:(draw + 1) * args.n]].to(DEVICE)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["statistics", "quality", "table", "where", "guidance",
                                         "labels", "speed", "encode", "consistency", "texture",
                                         "pixels", "prediction", "halfway", "levels", "merge",
                                         "floor"])
    parser.add_argument("names", nargs="*", help="a network's name or file; files to merge")
    parser.add_argument("--out", required=True)
    parser.add_argument("--images", help="texture, pixels: the data set with the training pictures")
    parser.add_argument("--classifier", action="store_true",
                        help="pixels: by the classifier of photographs instead")
    parser.add_argument("--autocast", default="fp32", choices=PRECISIONS,
                        help="what the network computes in")
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--steps", type=int, nargs="+", default=[50])
    parser.add_argument("--eta", nargs="+", default=[0.0],
                        type=lambda text: text if text == "hat" else float(text))
    parser.add_argument("--guidance", type=float, nargs="+", default=[0.0, 1.0, 2.0, 4.0, 8.0])
    parser.add_argument("--shares", type=int, nargs="+",
                        help="guidance: how often each label, instead of as often")
    parser.add_argument("--spacing", default="trailing")
    parser.add_argument("--order", type=int, default=1)
    parser.add_argument("--levels", type=int, nargs="+", default=[800, 1000],
                        help="prediction: where ranges of levels end, from above the first on")
    parser.add_argument("--level", type=int, default=450, help="levels: where the answer changes")
    parser.add_argument("--convention", nargs="+", default=["source", "destination"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-last", action="store_true",
                        help="the network's tensors pixel by pixel: float32 too, faster on a CPU")
    parser.add_argument("--no-floor", action="store_true",
                        help="table: without the distances of real digits, which need MNIST")
    parser.add_argument("--commit")
    return parser.parse_args()


if __name__ == "__main__":
    main()
