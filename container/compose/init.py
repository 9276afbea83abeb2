"""What must be there before Airflow and MLflow start: buckets, the login, the tables. It may run again at any time."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError


def main() -> None:
    """Makes what is missing, then becomes `airflow db migrate`."""
    if unchanged := sorted(name for name, value in os.environ.items() if "CHANGE-ME" in value):
        sys.exit(f"{', '.join(unchanged)}: still CHANGE-ME. Write .env as .env.example says, then `docker compose down --volumes` and start again.")
    for uri in (os.environ["DTX_ROOT"], os.environ["ARTIFACTS"]):
        make_bucket(urlsplit(uri).netloc)
    passwords = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    passwords.touch(mode=0o600)
    passwords.write_text(json.dumps({"admin": os.environ["ADMIN_PASSWORD"]}))
    os.execvp("airflow", ["airflow", "db", "migrate"])  # noqa: S606, S607 - the one of the image


def make_bucket(name: str) -> None:
    """Makes a bucket unless it is there."""
    client = boto3.client("s3")
    try:
        client.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
        client.create_bucket(Bucket=name)


if __name__ == "__main__":
    main()
