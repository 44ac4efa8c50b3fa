"""A sweep of two methods on a tiny model, in which the run of LoRA meets with a fault of `fault_workers`."""

from pathlib import Path

from bench.config import Budget, Launch, Measure, Model, Run, Task, Train
from bench.launch import launch
from bench.launch.sweep import folder_of
from bench.method import get
from bench.records import store
from bench.records.schema import Record, Status

HERE = Path(__file__).parent
FINAL = {Status.OK, Status.OOM, Status.DIVERGED}


class Faults:
    """A sweep of LoRA and prompt tuning in which something goes wrong."""

    def __init__(self, tiny: str, results: Path, view) -> None:
        self.tiny, self.results, self.view = tiny, results, view

    def run(self, method: str, steps: int = 4, train: dict | None = None, forgetting: bool = False, **settings) -> Run:
        return Run(
            get(method)(),
            model=Model(name="tiny", path=self.tiny),
            task=Task(
                name="sums", source="arithmetic", kind="generation", train_examples=16, validation_examples=3,
                test_examples=2, max_length=64, max_new_tokens=2,
            ),
            budget=Budget(name="few", steps=steps),
            train=Train(**({"batch_size": 4, "precision": "float32"} | (train or {}))),
            measure=Measure(warmup_steps=1, general_tokens=512, forgetting=forgetting),
            launch=Launch(predict=False, **settings),
            results=str(self.results),
        )  # fmt: skip

    def plan(self, *words: str) -> None:
        """What shall go wrong from now on; nothing without words."""
        folder = folder_of(self.run("lora")).parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fault.txt").write_text(" ".join(words))

    def launch(self, worker: str, **settings) -> dict[str, Record]:
        runs = [self.run("lora", **settings), self.run("prompt", **settings)]
        found = launch(runs, self.view, worker=f"fault_workers:{worker}", preload="bench.launch.preload", grace=2.0)
        return {record.method: record for record in found}

    def meet(self, worker: str, *words: str, **settings) -> Record:
        """Launch with a fault in LoRA's run, see that the other runs are done, and return LoRA's record."""
        self.plan(*words)
        found = self.launch(worker, **settings)
        assert {found["base"].status, found["prompt"].status} == {Status.OK}
        assert found["lora"] == store.read(folder_of(self.run("lora")) / store.RECORD)
        self.one_record_each()
        return found["lora"]

    def make_good(self, worker: str = "untouched", **settings) -> None:
        """Launch again without the fault: what is final stays, the rest is done."""
        before = {path: path.stat().st_mtime_ns for path in self.results.rglob(store.RECORD)}
        kept = {path for path in before if store.read(path).status in FINAL}
        self.plan()
        found = self.launch(worker, **settings)
        assert {record.status for record in found.values()} <= FINAL
        assert {path for path in before if path.stat().st_mtime_ns == before[path]} == kept
        self.one_record_each()

    def one_record_each(self) -> None:
        records, damaged = store.load([self.results])
        assert damaged == []
        assert sorted(record.method for record in records) == ["base", "lora", "prompt"]
