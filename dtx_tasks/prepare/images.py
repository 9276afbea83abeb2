"""The images of a Dataset: copied beside the prepared rows, under the digest of what they hold."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from dtx_tasks.dataset import said_place
from dtx_tasks.errors import DataError
from dtx_tasks.prepare.encode import can_be_scored, encoded_rows, num_trained_tokens, told_with_place
from dtx_tasks.prepare.layouts import IDS, PreparedRow, RowLayout
from dtx_tasks.sight import open_image
from dtx_tasks.storage import bring_images, read_images, sha256_of
from dtx_tasks.template import IGNORED_LABEL, encode, refuse_placeholders, with_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dtx_tasks.dataset import Row
    from dtx_tasks.records import EncodeOptions, FileSource, ImageSource
    from dtx_tasks.sight import Sight
    from dtx_tasks.template.render import Tokenizer


def with_kept_images(rows: Iterable[Row], file: FileSource, folder: Path) -> Iterator[Row]:
    """Rows that name their images by digest, which are in a folder by then: wherever an image comes from, the row is the same.

    Args:
        rows: Of one split.
        file: What the plan knows of their images.
        folder: Where the images go.

    Raises:
        DataError: An image, or the list of them, has changed since the plan was made.
    """
    if file.images is None:
        yield from rows
        return
    known = {image.written: image for image in read_images(file.images)}
    here = bring_images(file.images)
    for row in rows:
        images = [known[path] for path in row.files.get("images", ())]
        for image in images:
            _keep(image, Path(here.uri_of(image)), folder, said_place(file.label, row.line))
        yield replace(row, files={"images": [image.sha256 for image in images]}, digests=()) if images else row


def _keep(image: ImageSource, path: Path, folder: Path, place: str) -> None:
    target = folder / image.sha256
    if target.exists():
        return
    folder.mkdir(exist_ok=True)
    try:
        shutil.copyfile(path, target)
    except FileNotFoundError:
        raise DataError(f"{place}: row: {image.written} is not there any more.", "Put it back, or start the experiment again.") from None
    if sha256_of(target) != image.sha256:
        raise DataError(f"{place}: row: {image.written} has changed since the experiment was planned.", "Start the experiment again.")


def seen_layout(sight: Sight, folder: Path) -> RowLayout:
    """How conversations with images lie in a PreparedDataset: tokens and labels, and the files of the images in their order.

    Args:
        sight: How the model takes in images.
        folder: With the images of the split.
    """

    def encode(tokenizer: Tokenizer, rows: Sequence[Row], options: EncodeOptions) -> Iterator[PreparedRow]:
        for row in rows:
            yield _seen(tokenizer, row, options, sight, folder)

    return RowLayout(pa.schema([("input_ids", IDS), ("labels", IDS), ("image_files", pa.list_(pa.string()))]), encode)


def _seen(tokenizer: Tokenizer, row: Row, options: EncodeOptions, sight: Sight, folder: Path) -> PreparedRow:
    texts = _texts(row, sight, folder)
    (encoded,) = encoded_rows(tokenizer, [replace(row, messages=with_images(row.messages, texts))], options)
    sight.refuse_unseen(texts, encoded.input_ids, options.cutoff_len)
    labels = sight.masked(encoded.input_ids, encoded.labels, IGNORED_LABEL)
    files = [f"{folder.name}/{name}" for name in row.files.get("images", [])]
    num_learned = num_trained_tokens(replace(encoded, labels=labels))
    return PreparedRow((encoded.input_ids, labels, files), len(labels), num_learned, encoded.is_truncated)


def _texts(row: Row, sight: Sight, folder: Path) -> list[str]:
    return sight.texts([open_image(folder / name) for name in row.files.get("images", [])])


class ScoredSight:
    """Looks at rows as they will be scored, so that no training is paid for before it is known that they can be.

    Attributes:
        longest_tokens: Of the rows with images that it has seen, the longest one; 0 where there was none.

    Args:
        tokenizer: After `adapt`.
        sight: How the model takes in images; None where no row has any.
        cutoff_len: The scoring's length limit; None where it has none.
    """

    def __init__(self, tokenizer: Tokenizer, sight: Sight | None, cutoff_len: int | None) -> None:
        self._tokenizer, self._sight, self._limits = tokenizer, sight, (sys.maxsize, cutoff_len or sys.maxsize)
        self.longest_tokens = 0

    def passed(self, rows: Iterable[Row], label: str, folder: Path) -> Iterator[Row]:
        """The same rows.

        Args:
            rows: Of one split.
            label: What messages call its file.
            folder: With its images.

        Raises:
            DataError: One of them cannot be seen: an image cannot be read, or is not whole at the limit; or there is a word for an image, and none.
        """
        for row in rows:
            if can_be_scored(row):
                with told_with_place(label, row):
                    self._look(row, folder)
            yield row

    def _look(self, row: Row, folder: Path) -> None:
        if not row.files:
            refuse_placeholders(self._tokenizer, [*row.asked, *filter(None, (row.answer_message, row.rejected))])
            return
        assert self._sight is not None
        texts = _texts(row, self._sight, folder)
        messages = with_images(row.messages, texts)
        whole, kept = (encode(self._tokenizer, messages, row.tools, cutoff_len=limit, mask_history=True).input_ids for limit in self._limits)
        self._sight.refuse_unseen(texts, kept, self._limits[1], "scoring.cutoff_len")
        self.longest_tokens = max(self.longest_tokens, len(whole))
