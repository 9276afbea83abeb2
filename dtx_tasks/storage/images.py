"""The images that rows name, and the list of them: here, and on storage by what they hold."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dtx_tasks.errors import DataError
from dtx_tasks.records import FileEntry, ImageList, ImageSource
from dtx_tasks.storage.files import exists, is_remote, read_bytes
from dtx_tasks.storage.folders import at_once, bring, bring_file, put_aside, put_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtx_tasks.records import Layout

NAME = "images.jsonl"
BESIDE = f".{NAME}"
"""Hidden: a folder of an upload holds one thing to be named."""

UPLOAD = re.compile(r"(?P<folder>(?P<uploads>.+/uploads)/[0-9a-f]{16})/[^/]+")
"""Where Layout puts rows."""

AGAIN = "Start the experiment again."


def list_images(images: Iterable[ImageSource], folder: Path) -> ImageList:
    """Writes a list of images, which stays in this machine's cache until it is put on storage with the plan.

    Args:
        images: Each once.
        folder: What their paths count from.
    """
    lines = [f"{image.model_dump_json()}\n" for image in images]
    content = "".join(lines).encode()
    return ImageList(path=str(put_aside(content, NAME)), sha256=hashlib.sha256(content).hexdigest(), folder=str(folder), num_images=len(lines))


def read_images(images: ImageList) -> list[ImageSource]:
    """The images of a list.

    Args:
        images: As the plan names it.

    Raises:
        DataError: It is not the list that the plan was made with.
    """
    try:
        content = bring_file(images.path, images.sha256).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{images.path} is not there any more.", AGAIN) from None
    if hashlib.sha256(content).hexdigest() != images.sha256:
        raise DataError(f"{images.path} has changed since the experiment was planned.", AGAIN)
    try:
        # A name may hold what other ways to split lines take for the end of one.
        return [ImageSource.model_validate_json(line) for line in content.decode().rstrip("\n").split("\n")]
    except ValueError:
        raise DataError(f"{images.path} is no list of images.", AGAIN) from None


def bring_images(images: ImageList) -> ImageList:
    """A list whose images are on this machine: brought together, since each one by itself costs two requests and a place in the cache.

    Raises:
        DamagedError: An image is missing on storage, or is not what its digest says.
    """
    if not is_remote(images.folder):
        return images
    sizes = {image.sha256: image.num_bytes for image in read_images(images)}
    folder = bring(images.folder, [FileEntry(path=sha256, sha256=sha256, num_bytes=num_bytes) for sha256, num_bytes in sizes.items()])
    return images.model_copy(update={"folder": str(folder)})


def hand_over_images(images: ImageList, rows_uri: str, layout: Layout) -> None:
    """Puts images on storage for rows that are handed over, and the list of them beside those, where `images_handed_over` finds it.

    Args:
        images: On this machine.
        rows_uri: Where the rows are, in a folder that is named by what they and their images are.
        layout: Of the team.
    """
    put_images(images, layout)
    put_file(Path(images.path), f"{rows_uri.rpartition('/')[0]}/{BESIDE}", images.sha256)


def images_handed_over(rows_uri: str) -> ImageList | None:
    """The images of rows that were handed over; None for rows of another place, and where no image was.

    Args:
        rows_uri: A file or a folder.
    """
    found = UPLOAD.fullmatch(rows_uri)
    uri = f"{found['folder']}/{BESIDE}" if found else ""
    if found is None or not exists(uri):
        return None
    content = read_bytes(uri)
    num_images = content.count(b"\n")
    return ImageList(path=uri, sha256=hashlib.sha256(content).hexdigest(), folder=f"{found['uploads']}/images", num_images=num_images, is_by_digest=True)


def put_list(images: ImageList, layout: Layout) -> ImageList:
    """Puts a list on storage, and leaves its images where they are.

    Args:
        images: On this machine.
        layout: Of the team.
    """
    return images.model_copy(update={"path": put_file(Path(images.path), layout.upload(images.sha256[:16], NAME), images.sha256)})


def put_images(images: ImageList, layout: Layout) -> ImageList:
    """Puts a list and its images on storage, each in a place that is named by its content.

    Args:
        images: On this machine.
        layout: Of the team.

    Raises:
        DataError: An image is gone.
        TransientError: An image is another one by now.
    """
    paths = {image.sha256: Path(images.uri_of(image)) for image in read_images(images)}
    gone = next((path for path in paths.values() if not path.is_file()), None)
    if gone:
        raise DataError(f"{gone} is not there any more.", "Put it back, and try again.")
    # By the digest alone: the last part of a path is what it is brought under.
    list(at_once(lambda sha256: put_file(paths[sha256], layout.upload("images", sha256), sha256), paths))
    return put_list(images, layout).model_copy(update={"folder": layout.upload("images", "").rstrip("/"), "is_by_digest": True})
