"""Takes files over from whoever has them: stored under the digest of their content; rows are checked at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.dataset import Part, check_dataset, detect, labelled
from dtx_tasks.spec import Tags, reading_of
from dtx_tasks.storage import digest_of_files, manifest, put_path, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.dataset import DatasetReport
    from dtx_tasks.records import Layout


def check_rows(path: Path) -> DatasetReport:
    """What is wrong with rows whose format nobody has named: as `dtx dataset check FILE` says it.

    Images, videos and sounds that they name are not looked for: they are not handed over with them.

    Args:
        path: A file or a folder.
    """
    row_format, kind, columns = detect(path)
    # Nothing is held out of it, so that any seed will do.
    return check_dataset(path.name, {"train": Part(path, labelled(path, path.name), may_look=None)}, reading_of(row_format, kind, columns, Tags()), 0)


def store(path: Path, layout: Layout) -> str:
    """Puts rows or a model on storage, unless the same ones are there already.

    Args:
        path: A file or a folder.
        layout: Of the team that may name them from then on.

    Returns:
        The URI, to be named in a Dataset or an LLM.
    """
    files = manifest(path) if path.is_dir() else ()
    sha256 = digest_of_files(files) if files else sha256_of(path)
    return put_path(path, files, layout.upload(sha256[:16], path.name), sha256)
