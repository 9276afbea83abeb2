"""What benchmarks work on: rows as LLaMA-Factory's demonstration files have them, a tokenizer of real size, and LLaMA-Factory itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

LLAMA_FACTORY_VERSION = "0.9.5"
VOCAB_SIZE, VOCAB_ROWS = 32_000, 20_000
MADE_AT_ONCE = 1000


def make_tokenizer(folder: Path) -> None:
    """A tokenizer as large as real ones, in the folder of a model that has no weights yet."""
    if folder.exists():
        return
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    # The pattern is Qwen's (tokenizer.json of Qwen2.5).
    words = Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[AddedToken(mark, special=True, normalized=False) for mark in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(("\n".join(row.values()) for row in islice(_rows(seed=1), VOCAB_ROWS)), trainer)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2"}))


def make_rows(folder: Path, num_rows: int) -> str:
    """The name of a Dataset of so many rows, and of ten to score on."""
    name = f"rows-{num_rows}"
    for stem, count, seed in ((name, num_rows, 0), ("test", 10, 2)):
        path = folder / f"{stem}.jsonl"
        if not path.exists():
            with path.with_suffix(".part").open("w", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in islice(_rows(seed), count))
            path.with_suffix(".part").rename(path)
    (folder / f"{name}.yaml").write_text(json.dumps({"name": name, "train": f"{name}.jsonl", "test": "test.jsonl"}))
    return name


def _rows(seed: int) -> Iterator[dict[str, str]]:
    """English and Chinese in turn, without end; of each hundred rows one is repeated, and one almost."""
    rng = np.random.default_rng(seed)
    english, chinese = Language.english(), Language.chinese()
    while True:
        made = [language.row(rng) for _ in range(MADE_AT_ONCE // 2) for language in (english, chinese)]
        for number in range(0, MADE_AT_ONCE, 100):
            made[number + 50] = made[number]
            made[number + 51] = {**made[number + 1], "output": made[number + 1]["output"] + "!"}
        yield from made


@dataclass(frozen=True)
class Language:
    """Words, the first of them the most frequent, and how long rows are.

    Attributes:
        words: Of the lexicon.
        between: What separates them, and sentences.
        medians: Words of instruction, input and output.
        spreads: Standard deviations of the logarithms of the same.
        input_share: Rows that have an input.
    """

    words: NDArray[np.str_]
    between: tuple[str, str]
    medians: tuple[int, int, int]
    spreads: tuple[float, float, float]
    input_share: float

    @classmethod
    def english(cls) -> Language:
        """Words of one to four syllables, the frequent ones short."""
        rng = np.random.default_rng(3)
        syllables = [first + vowel + last for first in "bcdfghlmnprst" for vowel in ("a", "e", "i", "o", "u", "ea") for last in ("", "n", "r", "s", "t")]
        words = dict.fromkeys("".join(rng.choice(syllables, 1 + min(3, int(number**0.1 * rng.random())))) for number in range(40_000))
        return cls(np.array(list(words)), (" ", ". "), (10, 9, 80), (0.4, 0.8, 0.9), 0.4)

    @classmethod
    def chinese(cls) -> Language:
        """Words of one to three of the 3,500 characters that follow U+4E00."""
        rng = np.random.default_rng(4)
        words = dict.fromkeys("".join(map(chr, 0x4E00 + rng.integers(3500, size=rng.choice((1, 2, 2, 2, 3))))) for _ in range(40_000))
        return cls(np.array(list(words)), ("", "。"), (8, 9, 75), (0.4, 0.8, 0.6), 0.14)

    def row(self, rng: np.random.Generator) -> dict[str, str]:
        """One row of alpaca."""
        sizes = np.minimum(rng.lognormal(np.log(self.medians), self.spreads) + 1, 6 * np.array(self.medians)).astype(int)
        instruction, asked, output = (self._text(rng, size) for size in sizes)
        return {"instruction": instruction, "input": asked if rng.random() < self.input_share else "", "output": output}

    def _text(self, rng: np.random.Generator, num_words: int) -> str:
        """Words whose frequency is inverse to their rank, in sentences of twelve."""
        ranks = (len(self.words) ** rng.random(num_words)).astype(int) - 1
        words = self.words[ranks]
        return self.between[1].join(self.between[0].join(words[start : start + 12]).capitalize() for start in range(0, num_words, 12)) + self.between[1].strip()


def installed_llama_factory(folder: Path, number: str) -> Path:
    """The Python of an environment with LLaMA-Factory."""
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        subprocess.run(["uv", "venv", "--clear", "--python", sys.executable, str(folder)], check=True)
        # The torch that is here has been downloaded before.
        subprocess.run(["uv", "pip", "install", "--python", str(python), f"llamafactory=={number}", f"torch=={version('torch').partition('+')[0]}"], check=True)
        (folder / "ready").touch()
    return python
