"""The images that rows name, told apart by what they hold,."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from dtx_tasks.dataset import said_place
from dtx_tasks.errors import Mistake
from dtx_tasks.records import ImageSource
from dtx_tasks.storage import at_once, images_handed_over, is_remote, read_images, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dtx_tasks.dataset import Part
    from dtx_tasks.records import ImageList
    from dtx_tasks.spec import Split

Named = dict[str, int]
"""Paths as the rows of a file have them, each with the line where it stands first."""


def uri_of(part: Part) -> str:
    """Where rows are that may have been brought here: their file or folder on S3 or on this machine."""
    return str(part.label).rstrip("/") if is_remote(part.label) else str(part.path)


def told_apart(part: Part) -> Part:
    """A part whose images are told apart by what they hold, each read when a row first names it; those that cannot be read by their paths.

    Args:
        part: Rows on this machine.
    """
    handed = images_handed_over(uri_of(part))
    if handed:
        return told_apart_by(read_images(handed), replace(part, may_look=None))

    @cache
    def digest(written: str) -> str:
        try:
            return _read(part.folder / written, part).sha256
        except (OSError, ValueError):
            return written

    return replace(part, told_apart=digest)


def told_apart_by(images: Iterable[ImageSource], part: Part) -> Part:
    """A part whose images are told apart by a list of them.

    Args:
        images: Those that are known.
        part: Rows on this machine.
    """
    known = {image.written: image.sha256 for image in images}
    return replace(part, told_apart=lambda written: known.get(written, written))


def images_of(parts: Mapping[Split, Part], named: Mapping[Split, Named], handed: Mapping[Split, ImageList]) -> dict[Split, list[ImageSource]] | list[Mistake]:
    """The images of each file, every one read once and several at the same time; or what cannot be read, the first of each file.

    Args:
        parts: Where the rows are.
        named: What they name, by the split of the file.
        handed: Lists of those that were handed over with the rows.
    """
    read = _all_read(parts, {split: names for split, names in named.items() if split not in handed})
    read |= {(split, image.written): image for split, images in handed.items() for image in read_images(images)}
    found: dict[Split, list[ImageSource]] = {split: [] for split in named}
    wrong: dict[Split, Mistake] = {}
    for split, written in ((split, written) for split, names in named.items() for written in names):
        image = read.get((split, written), "it was not handed over with the rows")
        if isinstance(image, ImageSource):
            found[split].append(image)
        else:
            problem = f"{said_place(parts[split].label, named[split][written])}: row: the image {written!r} cannot be read: {image}"
            wrong.setdefault(split, Mistake(f".{split}", problem, "Put it there, as a file that whoever plans the experiment may read."))
    return list(wrong.values()) or found


def _all_read(parts: Mapping[Split, Part], named: Mapping[Split, Named]) -> dict[tuple[Split, str], ImageSource | str]:
    """What is there under each path, or why it cannot be read."""
    places = {(split, written): parts[split].folder / written for split, names in named.items() for written in names}
    part_of = {place: parts[split] for (split, _), place in places.items()}
    read = dict(zip(part_of, at_once(lambda place: _tried(place, part_of[place]), part_of), strict=True))
    return {key: image if isinstance(image := read[place], str) else image.model_copy(update={"written": key[1]}) for key, place in places.items()}


def _tried(place: Path, part: Part) -> ImageSource | str:
    try:
        return _read(place, part)
    except OSError as error:
        return error.strerror or str(error)


def _read(place: Path, part: Part) -> ImageSource:
    """What is there by now: since it was looked for it may have been exchanged for a link out of the folders that may be read."""
    path = place.resolve()
    if part.may_look is None or not part.may_look(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return ImageSource(written=str(place), sha256=sha256_of(path), num_bytes=path.stat().st_size)
