"""Loss of the BLIP-2 critic: acceptance, and each part by its own labels (LSKD, section 3)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

PART_WEIGHT = 0.5
"""Weight of each part's squared error, beside the cross entropy of acceptance."""


def critic_loss(
    accept_logits: Tensor, part_probabilities: Tensor, accepted: Tensor, part_targets: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of acceptance plus weighted squared errors of the parts.

    `accept_logits` has shape (triples, 2), `part_probabilities` (triples, 2) for question-answer
    and rationale, `accepted` (triples,) with values from 0 to 1, and `part_targets` (triples, 2)
    with values 0, 1, or nan where a part has no label. Returns the total and each unweighted term.
    """
    soft_targets = torch.stack([1 - accepted, accepted], dim=1).float()
    entropy = cross_entropy(accept_logits.float(), soft_targets)
    is_labelled = ~torch.isnan(part_targets)
    differences = part_probabilities.float() - torch.nan_to_num(part_targets)
    errors = torch.where(is_labelled, differences, 0.0).square()
    qa, rationale = errors.sum(0) / is_labelled.sum(0).clamp(min=1)
    terms = {"accept": entropy, "qa": qa, "rationale": rationale}
    total = entropy + PART_WEIGHT * (qa + rationale)
    return total, {name: float(term.detach()) for name, term in terms.items()}
