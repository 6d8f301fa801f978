"""What the BLIP-2 critic learns by: acceptance, and each part by its own judgement."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

PARTS = 0.5
"""Weight of each part's squared error beside the cross entropy of acceptance (LSKD, section 3)."""


def loss(
    accept_logits: Tensor, parts: Tensor, accepted: Tensor, sound: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of acceptance, and the squared errors of both parts where they are judged.

    `accept_logits` has shape (triples, 2); `parts` the heads' shares for question-and-answer and
    rationale, shape (triples, 2); `accepted` (triples,), 0 or 1; `sound` (triples, 2), 0, 1, or nan
    where nobody judged that part. Returns the sum and each term.
    """
    entropy = cross_entropy(accept_logits.float(), accepted)
    judged = ~torch.isnan(sound)
    errors = torch.where(judged, parts.float() - torch.nan_to_num(sound), 0.0).square()
    qa, rationale = errors.sum(0) / judged.sum(0).clamp(min=1)
    terms = {"accept": entropy, "qa": qa, "rationale": rationale}
    total = entropy + PARTS * (qa + rationale)
    return total, {name: float(term.detach()) for name, term in terms.items()}
