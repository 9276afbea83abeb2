"""The secrets of an embedded stack: made once, kept where only their owner can read them."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

from dtx_tasks.stack.environment import USERNAME, passwords_path
from dtx_tasks.stack.state import StackError, write_private


def ensure_credentials(folder: Path) -> str:
    """Make the keys and the password of the stack where they are missing.

    They are in files, not in the environment, since every task and training inherits the latter.

    Args:
        folder: The stack's folder.

    Returns:
        The password of the user `admin`.

    Raises:
        StackError: The file of passwords is there without a password for `admin`.
    """
    config_path = folder / "airflow" / "airflow.cfg"
    if not config_path.exists():
        write_private(config_path, _airflow_config())
    if not passwords_path(folder).exists():
        write_private(passwords_path(folder), json.dumps({USERNAME: secrets.token_urlsafe(12)}))
    return _read_password(passwords_path(folder))


def _airflow_config() -> str:
    """Return a configuration of nothing but keys, without the % that configparser would expand."""
    fernet_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return (
        "# The keys of this embedded Airflow; its settings come from the environment, see dtx_tasks.stack.\n"
        f"[core]\nfernet_key = {fernet_key}\n\n"
        f"[api]\nsecret_key = {secrets.token_urlsafe(32)}\n\n"
        f"[api_auth]\njwt_secret = {secrets.token_urlsafe(64)}\n"
    )


def _read_password(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())[USERNAME])
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(f"{path}: it has no password for {USERNAME!r}. Delete it; `dtx up` makes a new one.") from error
