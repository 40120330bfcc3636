"""Time, memory and false merges of near-duplicate search: `python -m benchmarks.near_duplicates`.

Reads the train parts in $MAILROOM_DATA (default ../shared/data). A pair whose labels differ counts as
a false merge: an upper bound, since cross-posts and label noise are among them. The large run repeats 20
Newsgroups with a share of words replaced, so that every copy is either a near-duplicate or a text of its own.
"""

import argparse
import json
import os
import random
import resource
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from mailroom.curate.near_duplicates import SAME_SHARE, find_near_duplicates

DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
SETS = ("clinc150", "bitext", "multilang_tickets", "cfpb", "20news")
# Below and above what makes a near-duplicate of a long text.
CHANGED_SHARES = (0.02, 0.5)


def rows(name: str) -> list[tuple[str, str]]:
    """Text and label of a set's train part."""
    with (DATA / name / "train.jsonl").open(encoding="utf-8") as file:
        return [(f"{row['subject']}\n{row['body']}".strip(), row["label"]) for row in map(json.loads, file)]


def varied(texts: list[str], count: int) -> Iterator[str]:
    """`count` texts: the given ones, then copies with words replaced."""
    rng = random.Random(0)
    yield from islice(texts, count)
    for number in range(count - len(texts)):
        words = texts[number % len(texts)].split(" ")
        share = CHANGED_SHARES[number % 2]
        yield " ".join(f"w{rng.random()}" if rng.random() < share else word for word in words)


def quality(same_share: float) -> None:
    """A line a set: copies, near-duplicates, and how many of them have another label."""
    heads = ("texts", "copies", "other label", "pairs", "other label", "largest")
    print(f"{'set':18}" + "".join(f"{head:>13}" for head in heads))
    for name in SETS:
        texts, labels = zip(*rows(name), strict=True)
        found = find_near_duplicates(texts, same_share)
        copies = [(place, first) for place, first in enumerate(found.first.tolist()) if first != place]
        pairs = list(zip(found.later.tolist(), found.earlier.tolist(), strict=True))
        wrong = [sum(labels[one] != labels[other] for one, other in group) for group in (copies, pairs)]
        largest = max(Counter(found.groups().tolist()).values())
        counts = (len(texts), len(copies), wrong[0], len(pairs), wrong[1], largest)
        print(f"{name:18}" + "".join(f"{count:13,}" for count in counts))


def speed(count: int, same_share: float) -> None:
    """Processor seconds and peak memory of one large run."""
    texts = list(varied([text for text, _ in rows("20news")], count))
    megabytes = sum(map(len, texts)) / 1e6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    found = find_near_duplicates(texts, same_share)
    seconds = time.process_time() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    groups = len(set(found.groups().tolist()))
    print(f"{count:,} texts ({megabytes:,.0f} MB) → {groups:,} groups")
    print(f"{seconds:.1f} s of one core, {grown:,.0f} MB beside the texts")


def main() -> None:
    """Print the table of false merges, then one large run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="texts of the large run")
    parser.add_argument("--same-share", type=float, default=SAME_SHARE)
    arguments = parser.parse_args()
    quality(arguments.same_share)
    speed(arguments.count, arguments.same_share)


if __name__ == "__main__":
    main()
