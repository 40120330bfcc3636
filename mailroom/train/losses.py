"""Listwise losses: scores of one candidate set and what is right → one number to bring down.

Knows no model. A candidate that is absent (padding) has the score −inf and takes no part.
"""

import torch
from torch import Tensor
from torch.nn import functional


def listwise_cross_entropy(scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Softmax cross-entropy over each candidate set with a one-hot target: −log softmax(scores)[target].

    | scores | target | weight |
    |---|---|---|
    | (B, K) logits, −inf where absent | (B,) index of the right candidate | (B,) or None, ≥ 0 |

    The mean over the batch, weighted by `weight`. The target is exactly one-hot: nothing is smoothed,
    and no softmax is taken over the labels (which would leave 0.13 on the right one of twenty).
    """
    losses = functional.cross_entropy(scores.float(), target, reduction="none")
    return _weighted_mean(losses, weight)


def listwise_soft_cross_entropy(scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy of a given distribution over each candidate set: −Σ target · log softmax(scores).

    | scores | target | weight |
    |---|---|---|
    | (B, K) logits, −inf where absent | (B, K) rows that sum to 1, 0 where absent | (B,) or None, ≥ 0 |

    A one-hot row gives `listwise_cross_entropy`; the gradient is that of the KL divergence.
    """
    log_probability = functional.log_softmax(scores.float(), dim=-1)
    # 0 · −inf is NaN: absent candidates carry no target, so their term is dropped, not multiplied.
    terms = torch.where(target > 0, target * log_probability, torch.zeros_like(log_probability))
    return _weighted_mean(-terms.sum(dim=-1), weight)


def _weighted_mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return losses.mean()
    return (losses * weight).sum() / weight.sum().clamp_min(1e-12)
