"""Base models that are made on the spot, so that the example needs no hub.

A made base is a Llama of about 0.9 M parameters that reads the documents of
`shop_language` for a minute on two cores. It is a real model folder: whatever loads a
fetched model loads this one.

Shapes: B sequences of a batch, T tokens of the longest of them, V entries of the vocabulary.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dtx_tasks.fetch import shop_language
from dtx_tasks.fetch.shop_language import Document, Question

END_OF_TEXT: Final = "<|endoftext|>"
START_OF_TURN: Final = "<|im_start|>"
END_OF_TURN: Final = "<|im_end|>"

CHAT_TEMPLATE: Final = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' %}"
    "{% generation %}{{- message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{%- else %}"
    "{{- message['content'] + '<|im_end|>' }}"
    "{%- endif %}"
    "{{- '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""ChatML whose generation marks hold the assistant's text with the end of its turn."""


QUESTION_WEIGHT: Final = 0.3
"""A question's tokens in the loss, an answer's being 1: a base that learned to copy items in 320 steps did not at weight 1 (measured)."""

BATCHES_SORTED_TOGETHER: Final = 8
"""Documents of like length share a batch: a quarter fewer tokens than padding at random."""


@dataclass(frozen=True)
class Recipe:
    """How one base is made. Every field changes the weights."""

    version: int
    """Raised by hand when the code or the language makes other weights from the same fields."""
    num_steps: int
    batch_size: int
    learning_rate: float
    """The highest one, reached after a tenth of the steps."""
    num_tokenizer_documents: int
    """How many documents the tokenizer's merges are counted on."""
    vocab_size: int = 1024
    hidden_size: int = 128
    intermediate_size: int = 256
    num_layers: int = 4
    num_heads: int = 4
    seed: int = 0


RECIPES: Final = {
    "tiny-bilingual": Recipe(version=1, num_steps=400, batch_size=32, learning_rate=3e-3, num_tokenizer_documents=4000),
    "tiny-test": Recipe(version=1, num_steps=5, batch_size=8, learning_rate=3e-3, num_tokenizer_documents=500),
}


def make(recipe: str, folder: Path, *, on_progress: Callable[[int, int, float], None]) -> None:
    """Write the model folder of one recipe.

    The weights follow from the recipe's seed, on one kind of processor.

    Args:
        recipe: A key of `RECIPES`.
        folder: Where the Hugging Face model folder goes; made when missing.
        on_progress: Called after each step with its number from 1, the number of steps and
            the loss.

    Raises:
        ValueError: `recipe` is unknown.
    """
    if recipe not in RECIPES:
        known = ", ".join(sorted(RECIPES))
        raise ValueError(f"no recipe for a made base (got {recipe!r}). Known recipes: {known}.")
    chosen = RECIPES[recipe]
    tokenizer = _train_tokenizer(chosen)
    model = _init_model(chosen, tokenizer)
    with _one_thread():
        _pretrain(model, tokenizer, chosen, on_progress)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: the weights then do not depend on how many there are.

    Beside busy neighbours two threads wait for each other: 325 s, where one thread took 48 s (measured).
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _train_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    # A Chinese item must be cut the same way in a sentence and in an answer, or it cannot be copied:
    # every character stands alone before merging.
    alone = pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([alone, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    bpe.decoder = decoders.ByteLevel()
    marks = [END_OF_TEXT, START_OF_TURN, END_OF_TURN]
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        special_tokens=[AddedToken(mark, special=True, normalized=False) for mark in marks],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = islice(shop_language.documents(recipe.seed), recipe.num_tokenizer_documents)
    bpe.train_from_iterator((_plain(document) for document in texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def _init_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        # Three times the usual: at 0.02 so narrow a model had not learned to copy after 400 steps (measured).
        initializer_range=0.06,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = LlamaForCausalLM(config)
    # A head that begins as the embedding can say what it reads: after 300 steps 100 % of English items were copied, not 34 % (measured).
    model.lm_head.weight.data.copy_(model.model.embed_tokens.weight.data)
    return model


def _pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, on_progress: Callable[[int, int, float], None]) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.01)
    schedule = OneCycleLR(optimizer, max_lr=recipe.learning_rate, total_steps=recipe.num_steps, pct_start=0.1, cycle_momentum=False)
    model.train()
    for step, (input_ids_BT, weights_BT) in enumerate(islice(_batches(tokenizer, recipe), recipe.num_steps), start=1):
        # Padding is on the right and causal attention never looks right: no mask is needed.
        logits_BTV = model(input_ids=input_ids_BT).logits
        loss = _weighted_loss(logits_BTV[:, :-1], input_ids_BT[:, 1:], weights_BT[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        on_progress(step, recipe.num_steps, loss.item())
    model.eval()


def _weighted_loss(logits_BTV: torch.Tensor, targets_BT: torch.Tensor, weights_BT: torch.Tensor) -> torch.Tensor:
    losses_BT = functional.cross_entropy(logits_BTV.transpose(1, 2), targets_BT, reduction="none")
    return (losses_BT * weights_BT).sum() / weights_BT.sum()


def _batches(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Cut the documents into batches, without end.

    Returns:
        Token ids (B, T) of int64, padded on the right, and the weight (B, T) of each in the loss, 0 for padding.
    """
    stream = shop_language.documents(recipe.seed + 1)
    rng = random.Random(recipe.seed)
    while True:
        texts = islice(stream, BATCHES_SORTED_TOGETHER * recipe.batch_size)
        rows = sorted((_weighted_tokens(tokenizer, document) for document in texts), key=len)
        starts = list(range(0, len(rows), recipe.batch_size))
        rng.shuffle(starts)
        for start in starts:
            yield _padded(rows[start : start + recipe.batch_size], tokenizer.pad_token_id)


def _padded(rows: list[list[tuple[int, float]]], pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    num_tokens = max(map(len, rows))
    padded = [row + [(pad_token_id, 0.0)] * (num_tokens - len(row)) for row in rows]
    ids_BT = torch.tensor([[token_id for token_id, _ in row] for row in padded])
    weights_BT = torch.tensor([[weight for _, weight in row] for row in padded])
    return ids_BT, weights_BT


def _weighted_tokens(tokenizer: PreTrainedTokenizerFast, document: Document) -> list[tuple[int, float]]:
    if isinstance(document, str):
        return [(token_id, 1.0) for token_id in tokenizer(document + END_OF_TURN).input_ids]
    turns = [{"role": "user", "content": document.user}, {"role": "assistant", "content": document.answer}]
    chat: Any = tokenizer.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    return [(token_id, 1.0 if answers else QUESTION_WEIGHT) for token_id, answers in zip(chat["input_ids"], chat["assistant_masks"], strict=True)]


def _plain(document: Document) -> str:
    if isinstance(document, Question):
        return f"user\n{document.user}\nassistant\n{document.answer}"
    return document
