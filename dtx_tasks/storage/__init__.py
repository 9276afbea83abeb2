"""Reading and writing by URI, so that a reader sees a whole file or none; today on local paths."""

from dtx_tasks.storage.claim import Claim, claim, claim_within, is_claimed
from dtx_tasks.storage.files import (
    append_line,
    copy_folder,
    create,
    exists,
    link_folder,
    list_names,
    local_path,
    manifest,
    read_bytes,
    read_lines,
    read_record,
    remove,
    sha256_of,
    verify,
    write_bytes,
    write_record,
)

__all__ = [
    "Claim",
    "append_line",
    "claim",
    "claim_within",
    "copy_folder",
    "create",
    "exists",
    "is_claimed",
    "link_folder",
    "list_names",
    "local_path",
    "manifest",
    "read_bytes",
    "read_lines",
    "read_record",
    "remove",
    "sha256_of",
    "verify",
    "write_bytes",
    "write_record",
]
