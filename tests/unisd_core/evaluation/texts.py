"""Random texts, a model without a network, and naive float64 versions through full logits."""

from __future__ import annotations

import copy

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.unisd_core.objective.reference import naive_divergence
from unisd_core.evaluation.forward_pass import ForwardPass
from unisd_core.evaluation.texts import PromptCompletion, TextLimits

# Above the special tokens of every family and below the smallest vocabulary.
TOKENS = st.integers(11, 250)

texts = st.lists(
    st.builds(
        PromptCompletion,
        st.lists(TOKENS, min_size=1, max_size=12),
        st.lists(TOKENS, min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=6,
)

limits = st.builds(TextLimits, st.integers(1, 90), st.integers(1, 30))


def random_texts(lengths: list[tuple[int, int]], seed: int = 0) -> list[PromptCompletion]:
    """Texts of the given lengths of prompt and completion."""
    generator = torch.Generator().manual_seed(seed)

    def ids(count: int) -> list[int]:
        return torch.randint(11, 250, (count,), generator=generator).tolist()

    return [PromptCompletion(ids(prompt), ids(completion)) for prompt, completion in lengths]


def same_everywhere(logits_V: list[float]) -> ForwardPass:
    """Predicts every token from the same logits, whatever it reads."""
    head_V1 = torch.tensor(logits_V, dtype=torch.float32).unsqueeze(1)
    return ForwardPass(lambda _, wanted_BT: torch.ones(int(wanted_BT.sum()), 1), head_V1)


@torch.no_grad()
def naive_logprobs(model: nn.Module, text: PromptCompletion) -> Tensor:
    """Log-probs (T, V) that predict the completion of one text, unpadded and in float64."""
    ids_BT = torch.tensor([[*text.prompt_ids, *text.completion_ids]])
    logits_TV = copy.deepcopy(model).double()(input_ids=ids_BT, use_cache=False).logits[0]
    return logits_TV.log_softmax(-1)[len(text.prompt_ids) - 1 : -1]


def naive_sum(log_q_TV: Tensor, text: PromptCompletion) -> float:
    """Log-prob of the whole completion."""
    return float(log_q_TV.gather(1, torch.tensor(text.completion_ids)[:, None]).sum())


def naive_jsd(log_q_TV: Tensor, log_p_TV: Tensor) -> float:
    """Jensen-Shannon divergence, summed over the tokens."""
    return float(naive_divergence(log_q_TV, log_p_TV, 0.5).sum())
