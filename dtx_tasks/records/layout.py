"""Where everything is, below the root of a team."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

TRAIN_FILE = "train.arrow"
"""Of a PreparedDataset: the rows to learn from."""

VALIDATION_FILE = "validation.arrow"
"""Of a PreparedDataset: those whose loss is measured on the way."""


def image_folder(split: str) -> str:
    """Of a PreparedDataset: the images of a split, named by their digests; the name begins as those of the split's other files do.

    Args:
        split: The split.
    """
    return f"{split}.images"


def slug(name: str, length: int = 40) -> str:
    """A name as a path or label can hold it: lower-case ASCII, and a hash where that loses something.

    Args:
        name: Any text.
        length: The most characters to return, at least 10.
    """
    ascii_text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")
    if plain == name and len(plain) <= length:
        return plain
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain[: length - 9].strip('-')}-{mark}".lstrip("-")


@dataclass(frozen=True)
class Layout:
    """URIs below `<root>/<team>`.

    Attributes:
        root: The storage root, a path or a URI without a slash at its end.
        team: The team's name.
    """

    root: str
    team: str

    @classmethod
    def of(cls, document_uri: str) -> Layout:
        """The layout that a plan's document lies in, so that a store can be moved as a whole."""
        # The id tells the folder from a root, a team or an experiment that is called `experiments` too.
        found = re.fullmatch(r"(.+)/([^/]+)/experiments/[^/]+/[0-9a-f]{16}/.+", document_uri)
        if not found:
            raise ValueError(f"{document_uri!r} is no document of a plan: it must lie below <root>/<team>/experiments/<name>/<plan id>/")
        return cls(found[1], found[2])

    @property
    def base(self) -> str:
        """The team's folder."""
        return f"{self.root}/{self.team}"

    def llm(self, llm_id: str) -> str:
        """The folder of a fetched LLM."""
        return f"{self.base}/models/{llm_id}"

    def prepared(self, prepared_id: str) -> str:
        """The folder of a PreparedDataset."""
        return f"{self.base}/prepared/{prepared_id}"

    def job(self, job_id: str) -> str:
        """The folder of a FinetuneJob."""
        return f"{self.base}/jobs/{job_id}"

    def score(self, checkpoint_id: str, scoring_id: str) -> str:
        """The folder of the ScoreCards of a job, or of a base."""
        return f"{self.base}/scores/{checkpoint_id}/{scoring_id}"

    def experiment(self, name: str, plan_id: str) -> str:
        """The folder of one plan of an experiment."""
        return f"{self.base}/experiments/{slug(name)}/{plan_id}"

    def upload(self, digest: str, file_name: str) -> str:
        """Where a file from an author's machine is put."""
        return f"{self.base}/uploads/{digest}/{file_name}"

    def artifacts(self, experiment_name: str) -> str:
        """Where MLflow finds the artifacts of an experiment's runs."""
        return f"{self.base}/mlflow/{slug(experiment_name)}"

    def run_reference(self, dag_id: str, run_id: str) -> str:
        """The record that leads from a DAG run to its plan."""
        return f"{self.base}/runs/{slug(dag_id)}/{slug(run_id, 80)}.json"
