"""Rows that are almost the same, by MinHash: densified one-permutation hashing of character shingles.

Source: Shrivastava and Li, "Densifying One Permutation Hashing via Rotation", ICML 2014. A signature costs one hash of each shingle,
and the share of bins in which two signatures agree estimates the Jaccard similarity of the shingles, with a standard error of at most 0.06.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from dtx_tasks.dataset.repeats import LeakedRow
from dtx_tasks.records import digest_of
from dtx_tasks.spec import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from dtx_tasks.dataset.splits import Scan
    from dtx_tasks.spec import Split

    Hashes = NDArray[np.uint64]
    Signature = NDArray[np.uint32]

SHINGLE = 5
NUM_BINS, NUM_BANDS = 64, 8
"""Eight bands of eight bins: a pair of similarity 0.9 shares a band with probability 0.99, one of 0.5 with 0.03."""

NEAR = 0.9
BATCH_ROWS, BATCH_CHARACTERS = 256, 1 << 18
"""Rows are taken together until they are so many, or so long: a character of them needs some 60 bytes until its hash is taken."""

LOOKED_AT_CHARACTERS = 100_000
"""Of a row: what stands behind them is not compared."""

EMPTY = np.uint32(0xFFFFFFFF)
BASE, MIX = np.uint64(0x100000001B3), np.uint64(0xFF51AFD7ED558CCD)
"""The primes of FNV-1a and of MurmurHash3's finaliser."""


class Signatures:
    """The signatures of rows, as they come: 256 bytes a row.

    Attributes:
        num_rows: How many came.
    """

    def __init__(self) -> None:
        self._done: list[Signature] = []
        self._waiting: list[str] = []
        self._apart: list[int] = []
        self._num_characters = 0
        self.num_rows = 0

    def add(self, texts: Sequence[str], images: Sequence[str] = ()) -> None:
        """Takes a row by what is written in it, up to LOOKED_AT_CHARACTERS.

        Args:
            texts: What is written in it.
            images: What tells its images from others: rows whose images differ are never almost the same.
        """
        text = "\n".join(text[:LOOKED_AT_CHARACTERS] for text in texts)[:LOOKED_AT_CHARACTERS]
        self._waiting.append(text)
        self._apart.append(int(digest_of(list(images), 8), 16) if images else 0)
        self._num_characters += len(text)
        self.num_rows += 1
        if len(self._waiting) >= BATCH_ROWS or self._num_characters >= BATCH_CHARACTERS:
            self._flush()

    def array(self) -> Signature:
        """The signatures in the order of the rows: (rows, NUM_BINS) of uint32."""
        self._flush()
        self._done = [np.concatenate(self._done)] if self._done else [np.empty((0, NUM_BINS), np.uint32)]
        return self._done[0]

    def _flush(self) -> None:
        if self._waiting:
            # With other bits turned over, no bin of two rows agrees but by chance.
            self._done.append(_signatures(self._waiting) ^ np.array(self._apart, np.uint32)[:, None])
            self._waiting, self._apart, self._num_characters = [], [], 0


def near_pairs(known: Signature, asked: Signature) -> Iterator[tuple[int, int, float]]:
    """For each row that is asked about the first known one found that is almost the same.

    Args:
        known: Signatures, (rows, NUM_BINS).
        asked: The same.

    Yields:
        The index of the asked row, that of the known one, and their estimated similarity; of `asked is known` the later and the earlier.
    """
    found: dict[int, tuple[int, float]] = {}
    for band in range(NUM_BANDS):
        for index, other in _same_band(known, asked, band):
            similarity = float(np.mean(asked[index] == known[other]))
            if similarity >= NEAR and similarity > found.get(index, (0, 0.0))[1]:
                found[index] = (other, similarity)
    yield from ((index, *found[index]) for index in sorted(found))


def nearly_leaked(datasets: Mapping[str, Mapping[Split, Scan]], signatures: Mapping[str, Mapping[Split, Signature]]) -> list[LeakedRow]:
    """The rows to score on that are almost the same as one of the train split of any Dataset; those that are the same are `leaked_rows`.

    Args:
        datasets: The splits of each Dataset of an experiment.
        signatures: Of the same rows.
    """
    trains = [splits["train"] for splits in datasets.values()]
    starts = [0, *accumulate(len(train.ids) for train in trains)]
    known = np.concatenate([np.empty((0, NUM_BINS), np.uint32), *(signatures[name]["train"] for name in datasets)])
    learned = {row_id for train in trains for row_id in train.ids}
    found: dict[int, LeakedRow] = {}
    for name, split, scan in ((name, split, scan) for name, splits in datasets.items() for split, scan in splits.items() if split in HELD_OUT):
        for row, other, similarity in near_pairs(known, signatures[name][split]):
            if scan.ids[row] not in learned:
                number = bisect_right(starts, other) - 1
                line = trains[number].lines[other - starts[number]]
                found.setdefault(scan.ids[row], LeakedRow(scan.label, scan.lines[row], trains[number].label, line, similarity))
    return list(found.values())


def _same_band(known: Signature, asked: Signature, band: int) -> Iterator[tuple[int, int]]:
    """Each asked row with the first known one that agrees in all bins of a band."""
    if not len(known):
        return
    keys = _band_keys(known, band)
    order = np.argsort(keys, kind="stable")
    wanted = keys if asked is known else _band_keys(asked, band)
    places = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(order) - 1)
    firsts = order[places]
    is_hit = keys[firsts] == wanted
    if asked is known:
        is_hit &= firsts != np.arange(len(asked))
    yield from zip(np.flatnonzero(is_hit).tolist(), firsts[is_hit].tolist(), strict=True)


def _band_keys(signatures: Signature, band: int) -> Hashes:
    width = NUM_BINS // NUM_BANDS
    powers = np.power(MIX, np.arange(1, width + 1, dtype=np.uint64))
    keys: Hashes = (signatures[:, band * width : (band + 1) * width].astype(np.uint64) * powers).sum(axis=1, dtype=np.uint64)
    return keys


def _signatures(texts: Sequence[str]) -> Signature:
    """(rows, NUM_BINS): the least hash among the shingles that fall into each bin."""
    plain = [" ".join(text.casefold().split()).ljust(SHINGLE) for text in texts]
    characters = np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    lengths = np.fromiter(map(len, plain), np.int64, len(plain))
    hashes = _shingle_hashes(characters)
    rows = np.repeat(np.arange(len(plain)), lengths)[: len(hashes)]
    # A shingle that begins in one row and ends in the next belongs to none.
    is_whole = rows == np.repeat(np.arange(len(plain)), lengths)[SHINGLE - 1 :]
    hashes, rows = hashes[is_whole], rows[is_whole]
    flat = np.full(len(plain) * NUM_BINS, EMPTY, np.uint32)
    np.minimum.at(flat, rows * NUM_BINS + (hashes % np.uint64(NUM_BINS)).astype(np.int64), (hashes >> np.uint64(33)).astype(np.uint32))
    return _densified(flat.reshape(len(plain), NUM_BINS))


def _shingle_hashes(characters: Hashes) -> Hashes:
    num_shingles = len(characters) - SHINGLE + 1
    hashes = np.zeros(num_shingles, np.uint64)
    for offset in range(SHINGLE):
        hashes = hashes * BASE + characters[offset : offset + num_shingles]
    hashes = (hashes ^ (hashes >> np.uint64(33))) * MIX
    return hashes ^ (hashes >> np.uint64(29))


def _densified(signatures: Signature) -> Signature:
    """An empty bin takes the value of the next one that is not, moved by the distance, so that short texts compare too."""
    filled = signatures.copy()
    for distance in range(1, NUM_BINS):
        is_empty = filled == EMPTY
        if not is_empty.any():
            break
        following = np.roll(signatures, -distance, axis=1)
        usable = is_empty & (following != EMPTY)
        filled[usable] = following[usable] ^ np.uint32(distance * 0x9E3779B1 & 0x7FFFFFFF)
    return filled
