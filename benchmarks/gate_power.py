"""How often the gate refuses a challenger that is worse, harmless or better by so much, by simulation.

    python -m benchmarks.gate_power --runs 200

A champion that is right 85 times in a hundred, 20 labels in 5 groups, at least 6 % of the emails changing
sides; all three figures are gated. A wrong answer is a sibling half the time and among the first five four
times in five. Without a loss every refusal is a false one. The standard error of a share from 200 runs is
3.5 points at most.
"""

import argparse
from collections.abc import Sequence

from mailroom.config import GateSettings
from mailroom.evaluate.answers import Answer
from mailroom.evaluate.gate import Contender, judge
from tests.evaluate.simulated import World, are_siblings

# Changes of top-1 as shares of the emails.
CHANGES = (0.02, 0.0, -0.01, -0.02, -0.03, -0.05, -0.10)
LEAST_CHURN, BESIDE = 0.06, 0.02


def refused(
    champion: Sequence[Answer], challenger: Sequence[Answer], confidences: Sequence[float]
) -> list[bool]:
    """Whether the gate refuses, at each confidence."""
    contender = [Contender("retrieval", challenger)]
    settings = [GateSettings(confidence=one) for one in confidences]
    return [not judge(champion, contender, {}, are_siblings, one).passed for one in settings]


def shares(emails: int, change: float, confidences: Sequence[float], runs: int) -> list[float]:
    """The share of runs in which the gate refuses, at each confidence."""
    churn = max(LEAST_CHURN, abs(change) + BESIDE)
    counts = [0] * len(confidences)
    for seed in range(runs):
        champion, challenger = World(emails, -change, churn, seed=seed).play()
        for place, was_refused in enumerate(refused(champion, challenger, confidences)):
            counts[place] += was_refused
    return [count / runs for count in counts]


def main() -> None:
    """Print a row for each number of emails and confidence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--emails", type=int, nargs="+", default=[50, 100, 200, 500])
    parser.add_argument("--confidence", type=float, nargs="+", default=[0.8, 0.9])
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    heads = " | ".join(f"{100 * change:+.0f}" if change else "0" for change in CHANGES)
    print(f"| gold emails | `confidence` | {heads} |\n|---|---|{'---|' * len(CHANGES)}")
    for emails in arguments.emails:
        columns = [shares(emails, change, arguments.confidence, arguments.runs) for change in CHANGES]
        for place, confidence in enumerate(arguments.confidence):
            row = " | ".join(f"{column[place]:.0%}".replace("%", " %") for column in columns)
            print(f"| {emails} | {confidence} | {row} |", flush=True)


if __name__ == "__main__":
    main()
