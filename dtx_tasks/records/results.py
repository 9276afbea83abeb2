"""The record that each stage leaves behind; a valid one means that the stage is done."""

from __future__ import annotations

from dtx_tasks.records.base import Record
from dtx_tasks.records.documents import FileEntry, PluginSource, ResourceVersion
from dtx_tasks.spec import Split
from dtx_tasks.spec.choices import FinetuningType


class StageRecord(Record):
    """What every record says of how it came to be."""

    code_version: int
    """The stage's hand-raised integer."""
    inputs: dict[str, str]
    """Digest of each input record, by the input's URI relative to the team's folder."""
    digest: str
    """What this record stands for: the content hash of its files or values."""
    libraries: dict[str, str]
    """Versions that took part; recorded, not hashed."""


class FetchedLLM(StageRecord):
    """A base LLM on storage."""

    llm_id: str
    files: tuple[FileEntry, ...]
    num_parameters: int


class SplitStatistics(Record):
    """What a split of a PreparedDataset holds."""

    num_rows: int
    num_tokens: int
    num_trained_tokens: int
    num_truncated: int
    """Rows that were cut off at the length limit."""
    longest_tokens: int


class PreparedDataset(StageRecord):
    """Tokenised train rows with their label mask, and the rows to score on."""

    prepared_id: str
    train_digest: str
    """Of what training reads alone: other rows to score on cost no training."""
    dataset_name: str
    files: tuple[FileEntry, ...]
    train: SplitStatistics
    num_scored_rows: dict[Split, int]
    ignored_columns: tuple[str, ...]
    """Columns of the files that the mapping does not use."""
    longest_seen_tokens: int = 0
    """Of the rows with images that are scored, all tokens of the longest one; 0 where there are none."""
    seen_cutoff_len: int | None = None
    """The scoring's length limit at which their images were found whole; None where it cut nothing off."""
    plugins: tuple[PluginSource, ...] = ()
    """What has rewritten its rows."""

    def is_whole_at(self, cutoff_len: int | None) -> bool:
        """Whether the images of the rows to score on are known to be whole.

        Args:
            cutoff_len: The scoring's length limit; None where it cuts nothing off.
        """
        return cutoff_len is None or cutoff_len == self.seen_cutoff_len or cutoff_len >= self.longest_seen_tokens


class LLMCheckpoint(StageRecord):
    """What training wrote."""

    made_for: str
    """Name and plan id of the experiment that trained it."""
    job_id: str
    finetuning_type: FinetuningType
    files: tuple[FileEntry, ...]
    num_steps: int
    num_trained_tokens: int
    final_loss: float
    best_step: int = 0
    """The step whose weights these are, where the best was asked for; 0 for the last one."""
    validation_loss: float | None = None
    """Of these weights; None where it was not measured."""
    num_trained_parameters: int
    num_parameters: int
    train_s: float
    """Seconds of training in the attempt that finished, without start-up."""
    peak_memory_bytes: int
    epoch: int
    """Of the claim under which it was published."""


class Score(Record):
    """One metric over the rows of a split."""

    metric: str
    value: float | None
    """The mean over the rows; None means unscored, which is not 0."""
    standard_error: float | None
    num_rows: int
    higher_is_better: bool


class ScoreCard(Record):
    """Every score of one checkpoint on one split."""

    split: Split
    num_rows: int
    scores: dict[str, Score]


class ScoreCards(StageRecord):
    """The validation card and the test card of a job or a base, from one model load."""

    checkpoint_id: str
    """The job id, or the llm id of a base."""
    scoring_id: str
    rows_digest: str
    """Which rows were scored: cards with different rows cannot be compared."""
    is_cross_fitted: bool
    """The Datasets had one split only, so that each row was given one role by its hash."""
    left_out_datasets: tuple[str, ...]
    """Datasets whose rows could not be prepared."""
    cards: dict[Split, ScoreCard]
    files: tuple[FileEntry, ...]
    score_s: float


class FailureRecord(Record):
    """Why a job of an experiment has no result; never reused by another experiment."""

    job_id: str
    stage: str
    error_class: str
    message: str
    hint: str
    is_final: bool
    run_key: str
    """The attempt round it belongs to: a new run or a cleared task tries again."""
    count: int = 1
    """How often this class of failure was met in this round."""


class Attempt(Record):
    """One attempt to train a job."""

    number: int
    run_key: str
    micro_batch_size: int
    started_from_step: int
    reached_step: int
    """The last complete checkpoint when the attempt ended."""
    error_class: str
    """Empty when it succeeded; TransientError, as if it had been killed, until it says otherwise."""
    is_over: bool = False
    """Whether it said itself how it ended, or somebody who knows said it."""


class CandidateEvidence(Record):
    """One job or base, and what speaks for it."""

    checkpoint_id: str
    name: str
    is_base: bool
    validation: float | None
    validation_standard_error: float | None
    test: float | None
    difference_to_base: float | None
    """Mean over the validation rows of (job - best base), signed so that positive is better."""
    lower_bound: float | None
    """One-sided 95 % paired-bootstrap bound of that difference."""
    adjusted_p: float | None
    """Holm-corrected over the jobs."""
    beats_base: bool
    unscored_reason: str


class BestVersion(StageRecord):
    """The verdict of an experiment."""

    plan_id: str
    metric: str
    best_id: str
    best_name: str
    is_base: bool
    """Nothing beats the base: the base is the answer."""
    runner_up_name: str
    lead_over_runner_up: float | None
    lead_lower_bound: float | None
    reason: str
    """Why, in plain words."""
    candidates: tuple[CandidateEvidence, ...]
    """Best first; unscored ones last."""
    num_jobs: int
    num_scored_jobs: int
    num_validation_rows: int
    num_test_rows: int
    is_cross_fitted: bool
    left_out_datasets: tuple[str, ...]


class RegisteredLLM(StageRecord):
    """A version in MLflow's registry."""

    registered_name: str
    version: str
    alias: str
    checkpoint_uri: str
    mlflow_run_id: str


class RunReference(Record):
    """Which plan a DAG run carries out."""

    dag_id: str
    run_id: str
    started_at: float
    """Seconds since 1970."""
    team: str
    experiment_name: str
    plan_id: str
    versions: tuple[ResourceVersion, ...] = ()
    """Of the catalog, as this run found them; a later run of the same plan may have found other versions with the same content."""
