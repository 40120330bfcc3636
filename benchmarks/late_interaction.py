"""Late interaction without training: does each word of a label's name find one like it in the email?

    python -m benchmarks.late_interaction [SET …] [--start 0] [--limit 300] [--layers 5 6] [--weights 0.33]

Ranks the 20 nearest labels by retrieval's cosine + weight × the mean, over a name's tokens, of the highest
cosine with any of the email's tokens, both read apart, after one of the encoder's layers. Prints the points
of top-1 gained over retrieval, with one standard error of the paired difference. Reads training parts only.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from benchmarks.cold_start import JUDGED
from benchmarks.token_reading import Reader, Values, max_sim
from mailroom.train.cold_start import PUBLIC_SETS
from mailroom.train.cold_start_figures import TOP_K
from mailroom.train.label_sets import LabelSet, read_label_set

DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data"))


def main() -> None:
    """Print a line a set, layer and weight, and the mean of the sets."""
    options = _arguments()
    torch.set_num_threads(options.threads)
    reader = Reader(options.layers)
    parts = {public.name: public.path_parts for public in PUBLIC_SETS}
    gained: dict[tuple[int, float], list[tuple[float, float]]] = {}
    for name in options.sets or JUDGED:
        labels = read_label_set(DATA / name, "train", parts.get(name))
        order = np.random.default_rng(0).permutation(len(labels.texts))
        labels = labels.subset(order[options.start : options.start + options.limit].tolist())
        similarities, matches = _scores(labels, reader)
        first = _hits(similarities, similarities, labels)
        print(f"{name}: retrieval {100 * first.mean():.1f}", flush=True)
        for layer, match in zip(options.layers, matches, strict=True):
            for weight in options.weights:
                difference = 100 * (_hits(similarities, similarities + weight * match, labels) - first)
                error = float(difference.std() / len(difference) ** 0.5)
                gained.setdefault((layer, weight), []).append((float(difference.mean()), error))
                print(
                    f"  layer {layer}, weight {weight:g}: {difference.mean():+.1f} ± {error:.1f}", flush=True
                )
    for (layer, weight), gains in gained.items():
        mean, errors = np.mean([gain for gain, _ in gains]), np.array([error for _, error in gains])
        spread = float((errors**2).sum() ** 0.5 / len(gains))
        print(f"mean, layer {layer}, weight {weight:g}: {mean:+.2f} ± {spread:.2f}")


def _scores(labels: LabelSet, reader: Reader) -> tuple[Values, list[Values]]:
    """Retrieval's cosines (texts, labels), from the mean of name and path, and late interaction by layer."""
    names = [reader(reader.encode.label_ids(text)) for text in labels.wordings("name")]
    paths = [reader(reader.encode.label_ids(text))[0] for text in labels.wordings("path")]
    centres = torch.stack([name + path for (name, _), path in zip(names, paths, strict=True)])
    centres = normalize(centres, dim=-1)
    similarities, matches = [], []
    for text in labels.texts:
        pooled, tokens = reader(reader.encode.email_ids(text))
        similarities.append((centres @ pooled).numpy())
        matches.append([max_sim(email, [name[i] for _, name in names]) for i, email in enumerate(tokens)])
    by_layer = [np.stack(rows) for rows in zip(*matches, strict=True)]
    return np.stack(similarities), by_layer


def _hits(similarities: Values, ranked_by: Values, labels: LabelSet) -> Values:
    """(texts,): 1 where the best of retrieval's first labels is right."""
    near = np.argsort(-similarities, axis=1, kind="stable")[:, :TOP_K]
    place = np.take_along_axis(ranked_by, near, axis=1).argmax(axis=1)
    best = np.take_along_axis(near, place[:, None], axis=1)[:, 0]
    return np.asarray(best == np.array(labels.targets), dtype=np.float32)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"default: {' '.join(JUDGED)}")
    parser.add_argument("--start", type=int, default=0, help="first text of a fixed random order")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--layers", type=int, nargs="+", default=[5, 6])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.33])
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
