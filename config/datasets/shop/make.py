"""Write the shop task's data files next to this script, byte for byte from a fixed seed.

`shop-zh` holds the Chinese rows of `shop-bilingual`, so the two have no row in which the one
is validated on what the other is trained on.

    python config/datasets/shop/make.py
"""

import json
import random
from pathlib import Path
from typing import Final

from dtx_tasks.fetch.shop_language import CHINESE, LANGUAGES, task_rows

SEED: Final = 20
NUM_ROWS_PER_LANGUAGE: Final = {"train": 300, "validation": 50, "test": 50}

Row = dict[str, str]


def files() -> dict[str, str]:
    """Return the text of each data file under its name."""
    rows_of: dict[str, list[Row]] = {split: [] for split in NUM_ROWS_PER_LANGUAGE}
    for language in LANGUAGES:
        rows = iter(task_rows(language, sum(NUM_ROWS_PER_LANGUAGE.values()), SEED))
        for split, num_rows in NUM_ROWS_PER_LANGUAGE.items():
            rows_of[split] += [next(rows) for _ in range(num_rows)]
    texts = {}
    for split, rows in rows_of.items():
        random.Random(SEED).shuffle(rows)
        texts[f"shop-bilingual.{split}.jsonl"] = _jsonl(rows)
        texts[f"shop-zh.{split}.jsonl"] = _jsonl(
            [row for row in rows if row["instruction"] == CHINESE.instruction]
        )
    return texts


def _jsonl(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    for name, text in files().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
