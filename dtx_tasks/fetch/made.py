"""Base models that are made on the spot, so that the example needs no hub.

A made base is a Llama of about 0.9 M parameters that reads the documents of
`shop_language` for a minute on two cores. It is a real model folder: whatever loads a
fetched model loads this one.

Shapes: B sequences of a batch, T tokens of the longest of them.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
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
    "tiny-bilingual": Recipe(version=1, num_steps=620, batch_size=48, learning_rate=4e-3, num_tokenizer_documents=4000),
    "tiny-test": Recipe(version=1, num_steps=5, batch_size=8, learning_rate=4e-3, num_tokenizer_documents=500),
}


def make(recipe: str, folder: Path, *, on_progress: Callable[[int, int, float], None]) -> None:
    """Write the model folder of one recipe.

    The weights follow from the recipe's seed, for one machine and number of threads.

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
    _pretrain(model, tokenizer, chosen, on_progress)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _train_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    # A Chinese item must be cut the same way in a sentence and in an answer, or it cannot be
    # copied: every character stands alone before merging.
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
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
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.num_heads,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return LlamaForCausalLM(config)


def _pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    on_progress: Callable[[int, int, float], None],
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.01)
    schedule = OneCycleLR(
        optimizer,
        max_lr=recipe.learning_rate,
        total_steps=recipe.num_steps,
        pct_start=0.1,
        cycle_momentum=False,
    )
    model.train()
    batches = islice(_batches(tokenizer, recipe), recipe.num_steps)
    for step, input_ids_BT in enumerate(batches, start=1):
        # Padding is on the right and causal attention never looks right: no mask is needed.
        labels_BT = input_ids_BT.masked_fill(input_ids_BT == tokenizer.pad_token_id, -100)
        loss = model(input_ids=input_ids_BT, labels=labels_BT).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        on_progress(step, recipe.num_steps, loss.item())
    model.eval()


def _batches(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Iterator[torch.Tensor]:
    """Cut the documents into batches (B, T) of int64 token ids, padded on the right."""
    stream = shop_language.documents(recipe.seed + 1)
    rng = random.Random(recipe.seed)
    while True:
        num_documents = BATCHES_SORTED_TOGETHER * recipe.batch_size
        texts = [_rendered(tokenizer, document) for document in islice(stream, num_documents)]
        rows = sorted(tokenizer(texts).input_ids, key=len)
        starts = list(range(0, num_documents, recipe.batch_size))
        rng.shuffle(starts)
        for start in starts:
            yield _padded(rows[start : start + recipe.batch_size], tokenizer.pad_token_id)


def _padded(rows: Sequence[Sequence[int]], pad_token_id: int) -> torch.Tensor:
    num_tokens = max(map(len, rows))
    return torch.tensor([[*row, *[pad_token_id] * (num_tokens - len(row))] for row in rows])


def _rendered(tokenizer: PreTrainedTokenizerFast, document: Document) -> str:
    if isinstance(document, str):
        return document + END_OF_TURN
    turns = [
        {"role": "user", "content": document.user},
        {"role": "assistant", "content": document.answer},
    ]
    return tokenizer.apply_chat_template(turns, tokenize=False).rstrip("\n")


def _plain(document: Document) -> str:
    if isinstance(document, Question):
        return f"user\n{document.user}\nassistant\n{document.answer}"
    return document
