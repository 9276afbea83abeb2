"""Where this machine keeps what, from the environment; the same for the command, the DAG and the pages."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

SQLITE = "sqlite:///"

OWN_FOLDERS = ("uploads", "jobs", "models")
"""Of a team, below the storage root: what any request of the team may name."""


def home() -> Path:
    """The folder of the embedded stack and its storage: DTX_HOME, else .dtx in the current folder."""
    return Path(os.environ.get("DTX_HOME", ".dtx")).resolve()


def root() -> str:
    """The storage root: DTX_ROOT, else inside the home folder."""
    named = os.environ.get("DTX_ROOT", "")
    return named if "://" in named else str(Path(named).resolve()) if named else str(home() / "store")


def data_roots(team: str) -> tuple[Path | str, ...]:
    """Folders that the paths of a request may lead into: the team's uploads, checkpoints and their bases, and those of DTX_DATA_ROOTS (separated by colons).

    Args:
        team: Whose request it is.

    Returns:
        Paths, and URIs of folders on S3 as they were written.
    """
    named = [item.rstrip("/") for item in re.split(r":(?!//)", os.environ.get("DTX_DATA_ROOTS", "")) if item]
    return tuple(item if "://" in item else Path(item).resolve() for item in (*(f"{root()}/{team}/{folder}" for folder in OWN_FOLDERS), *named))


def schedules_folder() -> Path:
    """Experiments that run by the clock: DTX_SCHEDULES, else `schedules` in the home folder."""
    return Path(os.environ.get("DTX_SCHEDULES") or home() / "schedules")


def catalog_url() -> str:
    """The database of the user's own named resources: DTX_CATALOG_URL, else a SQLite file in the home folder.

    Returns:
        An address for SQLAlchemy; a relative SQLite path counts from the current folder and is made absolute, since other processes have another one.
    """
    named = os.environ.get("DTX_CATALOG_URL") or f"{SQLITE}{home() / 'catalog.db'}"
    path = named.removeprefix(SQLITE)
    return f"{SQLITE}{Path(path).resolve()}" if named != path and path else named


def bundled_folder(name: str) -> Path:
    """A folder that comes with the project: beside the package in a checkout, inside it in a wheel.

    Args:
        name: `config`, `dags` or `plugins`; DTX_CONFIG, DTX_DAGS and DTX_PLUGINS name others.
    """
    named = os.environ.get(f"DTX_{name.upper()}")
    if named:
        return Path(named).resolve()
    package = Path(__file__).resolve().parent
    beside = package.parent / name
    return beside if beside.is_dir() else package / name


def backend_name() -> str:
    """Where stages run: DTX_BACKEND names a file of config/backends; else `local`."""
    return os.environ.get("DTX_BACKEND") or "local"


def grace_s() -> float:
    """Seconds from the request to stop until processes are killed: DTX_GRACE_S, else 75.

    The ranks have two thirds of it for a last checkpoint, their parent the rest for its way to storage.
    """
    return float(os.environ.get("DTX_GRACE_S", "75"))


def retry_delay_s() -> float:
    """Seconds between two attempts of a task: DTX_RETRY_DELAY_S, else 10."""
    return float(os.environ.get("DTX_RETRY_DELAY_S", "10"))


def cache_folder() -> Path:
    """What is downloaded once for each machine, shared by all processes of it: DTX_CACHE, else beside temporary files."""
    return Path(os.environ.get("DTX_CACHE") or Path(tempfile.gettempdir()) / "dtx-cache")


def max_download_bytes() -> int:
    """The most rows that are downloaded at once, a file from the web or a folder from the hub: DTX_MAX_DOWNLOAD_BYTES, else 20 GiB."""
    return int(os.environ.get("DTX_MAX_DOWNLOAD_BYTES", str(20 << 30)))


def max_model_bytes() -> int:
    """The largest model that is downloaded from a hub: DTX_MAX_MODEL_BYTES, else 2 TiB."""
    return int(os.environ.get("DTX_MAX_MODEL_BYTES", str(2 << 40)))


def max_upload_bytes() -> int:
    """The largest file that is taken by a request: DTX_MAX_UPLOAD_BYTES, else 5 GiB."""
    return int(os.environ.get("DTX_MAX_UPLOAD_BYTES", str(5 << 30)))


def max_unpacked_bytes() -> int:
    """The most that a compressed file of rows may hold: DTX_MAX_UNPACKED_BYTES, else 100 GiB."""
    return int(os.environ.get("DTX_MAX_UNPACKED_BYTES", str(100 << 30)))


def hub_endpoint() -> str:
    """The Hugging Face hub: HF_ENDPOINT names a mirror."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def modelscope_endpoint() -> str:
    """ModelScope: MODELSCOPE_ENDPOINT names a mirror."""
    return (os.environ.get("MODELSCOPE_ENDPOINT") or "https://modelscope.cn").rstrip("/")


def hub_token() -> str:
    """Who asks the hub, for what is not public: HF_TOKEN; empty for nobody."""
    return os.environ.get("HF_TOKEN", "").strip()


def scratch_folder() -> Path:
    """Where work for remote storage is done: DTX_SCRATCH, else beside temporary files."""
    return Path(os.environ.get("DTX_SCRATCH") or Path(tempfile.gettempdir()) / "dtx-scratch")


def claim_ttl_s() -> float:
    """Seconds after which a claim on S3 that nobody renews is free: DTX_CLAIM_TTL_S, else 60."""
    return float(os.environ.get("DTX_CLAIM_TTL_S", "60"))
