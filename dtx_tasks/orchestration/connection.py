"""The key to storage from an Airflow connection, where the platform keeps it there and not in the environment."""

from __future__ import annotations

import os

from airflow.sdk import Connection


def use_connection() -> None:
    """Has this task's process read and write storage by the connection that DTX_S3_CONN_ID names, if it names one.

    Its login and password are the access key; its extra may have `endpoint_url` and `region_name`, as in Amazon's provider.
    """
    name = os.environ.get("DTX_S3_CONN_ID")
    if not name:
        return
    found = Connection.get(name)
    extra = found.extra_dejson
    values = {
        "AWS_ACCESS_KEY_ID": found.login,
        "AWS_SECRET_ACCESS_KEY": found.password,
        "AWS_ENDPOINT_URL": extra.get("endpoint_url"),
        "AWS_DEFAULT_REGION": extra.get("region_name"),
    }
    os.environ.update({key: str(value) for key, value in values.items() if value})
