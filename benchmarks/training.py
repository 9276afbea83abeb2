"""One LoRA job of supervised fine-tuning beside LLaMA-Factory and beside transformers' Trainer: CPU seconds and the clock of whole processes.

    python -m benchmarks.training                       # some 15 minutes on two cores, once LLaMA-Factory is installed
    python -m benchmarks.training --rounds 1 --rows 64  # whether it works

The same rows (benchmarks/material.py), the same model (Qwen2's architecture, random weights, 11 M parameters unless told otherwise), the same passes over the
rows by steps of 8 rows, in fp32: LoRA of rank 8 on all linear layers, AdamW, a cosine schedule. On a machine with a GPU everything runs there, in bf16, and the
output says so: give it a larger model by `--hidden 2048 --layers 24`.

    defaults  LLaMA-Factory as its examples have it: padded batches, gradient checkpointing.
    tuned     LLaMA-Factory with neat_packing, without gradient checkpointing: blocks of `cutoff_len`, so that a step of it is one block.
    trainer   transformers' Trainer with PEFT, padded batches.
    ours      `prepare` and `train`, one process after the other, as a pod runs them; a second figure is `train` alone, which is what each further job costs.

Each is a process of its own, started in alternating order; what it costs is what the kernel says of it and of all its children. The goals: ours at most 0.6 of
LLaMA-Factory's defaults, and not more than tuned.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.material import LLAMA_FACTORY_VERSION, installed_llama_factory, make_rows, make_tokenizer

GOALS = {"defaults": 0.6, "tuned": 1.0}
CUTOFF_LEN = 1024
BATCH_SIZE = 8
LLAMA_FACTORY = "import json, sys; from llamafactory.train.tuner import run_exp; run_exp(json.loads(sys.argv[1]))"
TRAINER = """
import json, sys
from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments
given = json.loads(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(given["base"])
def encode(row):
    asked = "\\n".join(part for part in (row["instruction"], row["input"]) if part)
    system = "<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n"
    prompt = tokenizer(f"{system}<|im_start|>user\\n{asked}<|im_end|>\\n<|im_start|>assistant\\n")["input_ids"]
    answer = tokenizer(f"{row['output']}<|im_end|>\\n")["input_ids"]
    return {"input_ids": (prompt + answer)[:given["cutoff_len"]], "labels": ([-100] * len(prompt) + answer)[:given["cutoff_len"]]}
rows = load_dataset("json", data_files=given["rows"], split="train")
rows = rows.map(encode, remove_columns=rows.column_names)
model = AutoModelForCausalLM.from_pretrained(given["base"])
model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear"))
collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
Trainer(model, TrainingArguments(**given["arguments"]), collator, rows).train()
model.save_pretrained(given["out"])
"""


@dataclass(frozen=True)
class Cost:
    """What processes needed.

    Attributes:
        cpu_s: Seconds of CPU, of them and of their children.
        wall_s: Seconds by the clock.
    """

    cpu_s: float
    wall_s: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu_s + other.cpu_s, self.wall_s + other.wall_s)


@dataclass(frozen=True)
class Bench:
    """What is compared.

    Attributes:
        folder: Where everything lies.
        name: Of the rows.
        steps: Of 8 rows.
        llama_factory: The Python of its environment.
        on_gpu: Whether this machine has one.
        threads: Of each process, on a CPU.
    """

    folder: Path
    name: str
    steps: int
    llama_factory: Path
    on_gpu: bool
    threads: int

    def run(self, contender: str) -> dict[str, Cost]:
        """One run; ours counts twice."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        if contender == "ours":
            return self._ours()
        if contender == "trainer":
            return {contender: self._cost([sys.executable, "-c", TRAINER, json.dumps(self._trainer(out))])}
        return {contender: self._cost([str(self.llama_factory), "-c", LLAMA_FACTORY, json.dumps(self._llama_factory(out, contender))])}

    def _ours(self) -> dict[str, Cost]:
        store = self.folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        uris = self._plan(store)
        self._cost(_stage("fetch", uris["base"]))
        prepare = self._cost(_stage("prepare", uris["prepare"]))
        train = self._cost(_stage("train", uris["pack"]))
        return {"ours": prepare + train, "ours, train alone": train}

    def _plan(self, store: Path) -> dict[str, str]:
        from dtx_tasks.entrypoints.documents import write_plan
        from dtx_tasks.entrypoints.planning import plan_document
        from dtx_tasks.resolve import Origin
        from dtx_tasks.spec import SpecDocument

        group = {
            "name": "lora",
            "max_steps": self.steps,
            "global_batch_size": BATCH_SIZE,
            "cutoff_len": CUTOFF_LEN,
            "learning_rate": 1e-4,
            "compute_type": "bf16" if self.on_gpu else "fp32",
        }
        matrix = {
            "llms": [{"name": "base", "source": "base", "template": "qwen"}],
            "datasets": [json.loads((self.folder / f"{self.name}.yaml").read_text())],
            "hyperparameters": [group],
        }
        spec = {"kind": "FinetuneExperiment", "name": "speed", "matrix": matrix, "resources": {"cpus": self.threads}}
        uris = write_plan(plan_document(SpecDocument("the benchmark's spec", spec), Origin(self.folder)), str(store))
        return {"base": uris.bases[0], "prepare": uris.prepare[0], "pack": uris.packs[0]}

    def _cost(self, command: list[str]) -> Cost:
        """Runs a command to its end.

        Raises:
            SystemExit: It failed.
        """
        places = {"HF_HOME": "hf", "DTX_CACHE": "cache", "DTX_SCRATCH": "scratch"}
        environment = {name: str(self.folder / place) for name, place in places.items()} | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(self.threads)}
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        ended = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if ended.returncode:
            raise SystemExit(f"{ended.stdout[-3000:]}\n{command[:4]} ended with {ended.returncode}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - began)

    def _shared(self, out: Path) -> dict[str, object]:
        """Under transformers' names."""
        return {
            "output_dir": str(out),
            "max_steps": self.steps,
            "per_device_train_batch_size": BATCH_SIZE,
            "learning_rate": 1e-4,
            "lr_scheduler_type": "cosine",
            "logging_steps": 5,
            "save_strategy": "no",
            "report_to": "none",
            "use_cpu": not self.on_gpu,
            "bf16": self.on_gpu,
            "disable_tqdm": True,
        }

    def _trainer(self, out: Path) -> dict[str, object]:
        rows = self.folder / f"{self.name}.jsonl"
        return {"base": str(self.folder / "base"), "rows": str(rows), "cutoff_len": CUTOFF_LEN, "out": str(out), "arguments": self._shared(out)}

    def _llama_factory(self, out: Path, contender: str) -> dict[str, object]:
        (self.folder / "dataset_info.json").write_text(json.dumps({self.name: {"file_name": f"{self.name}.jsonl"}}))
        values: dict[str, object] = {
            **self._shared(out),
            "model_name_or_path": str(self.folder / "base"),
            "dataset_dir": str(self.folder),
            "dataset": self.name,
            "template": "qwen",
            "cutoff_len": CUTOFF_LEN,
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "lora_rank": 8,
            "lora_target": "all",
            "overwrite_cache": True,
        }
        if contender == "tuned":
            del values["max_steps"]
            values |= {"neat_packing": True, "packing": True, "disable_gradient_checkpointing": True, "per_device_train_batch_size": 1, "num_train_epochs": 1}
        return values


def main() -> int:
    """Prints every run and the ratios; fails where a goal is missed."""
    options = _options()
    bench = _bench(options)
    where = "on a GPU, bf16" if bench.on_gpu else "on the CPU, fp32"
    print(f"{options.rows} rows, {bench.steps} steps of {BATCH_SIZE}, {_num_parameters(bench.folder / 'base'):,} parameters, {where}", flush=True)
    costs: dict[str, list[Cost]] = {}
    contenders = ("ours", "defaults", "tuned", "trainer")
    for number in range(options.rounds):
        for contender in contenders[:: -1 if number % 2 else 1]:
            for name, cost in bench.run(contender).items():
                costs.setdefault(name, []).append(cost)
                print(f"round {number + 1}: {name}: {cost.cpu_s:.1f} s of CPU, {cost.wall_s:.1f} s", flush=True)
    told = [_tell(costs, other) for other in contenders[1:]]
    return int(not all(told))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=192, help="rows to learn from, a multiple of 8")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    parser.add_argument("--hidden", type=int, default=256, help="width of the model, a multiple of 64")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each process, on a CPU")
    parser.add_argument("--llamafactory", default=LLAMA_FACTORY_VERSION, help="its version")
    parser.add_argument("--folder", default="/var/tmp/dtx-training", help="kept: the rows, the model and LLaMA-Factory's environment")
    return parser.parse_args()


def _bench(options: argparse.Namespace) -> Bench:
    folder = Path(options.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer(folder / "base")
    on_gpu = _make_model(folder / "base", options.hidden, options.layers)
    python = installed_llama_factory(folder / f"llamafactory-{options.llamafactory}", options.llamafactory)
    return Bench(folder, make_rows(folder, options.rows), options.rows // BATCH_SIZE, python, on_gpu, options.threads)


def _make_model(folder: Path, hidden: int, layers: int) -> bool:
    """Writes random weights beside the tokenizer, and says whether there is a GPU."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=32_000,
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 128),
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return torch.cuda.is_available()


def _num_parameters(folder: Path) -> int:
    return (folder / "model.safetensors").stat().st_size // 4


def _stage(name: str, uri: str) -> list[str]:
    return [sys.executable, "-m", "dtx_tasks.entrypoints", name, "--document", uri, "--run-key", "benchmark"]


def _tell(costs: dict[str, list[Cost]], other: str) -> bool:
    """Prints the ratios of ours to another one, and whether they are as good as wanted."""
    medians = []
    for name in ("ours", "ours, train alone"):
        for unit in ("cpu_s", "wall_s"):
            ratios = [getattr(one, unit) / getattr(its, unit) for one, its in zip(costs[name], costs[other], strict=True)]
            medians.append(statistics.median(ratios))
            print(f"{name} / {other}: {medians[-1]:.2f} by {unit} ({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} rounds)", flush=True)
    return medians[0] <= GOALS.get(other, 1.0)


if __name__ == "__main__":
    sys.exit(main())
