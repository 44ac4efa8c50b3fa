"""What stands above and below a section: the facts its rows share, and how its numbers are to be read."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.records.schema import Evaluation, Record
from bench.records.store import DamagedRecord
from bench.report import imported
from bench.report.cells import DISTURBED, FALLBACK, TIED, Cell
from bench.report.columns import GIB
from bench.report.sections import LIBRARIES, Group, Section
from bench.report.statistics.bootstrap import MOST
from bench.report.statistics.scores import FORMULA

RESAMPLED = f"bootstrap, Student's t beyond {MOST:,} examples"
NAMED = 6  # rows that a caption names one by one; more that share a value are "all others"
CAPTIONED = ("model", "task", "hardware", "budget", "versions")  # of what may be mixed
METERS = {
    "cuda": "peak in use by torch's CUDA allocator",
    "mps": "peak in use by the Metal driver",
    "glibc": "peak of bytes in use on the process's heap, memory-mapped weights included",
    "resident": "peak resident set of the process, which also counts memory that is free for reuse",
}


def caption(section: Section) -> dict[str, str]:
    """The facts that the rows of a section share, by their name."""
    records = section.records
    found = {
        "Imported": imported.origin(records),
        "Model": _model(section),
        "Task": _task(section),
        "Hardware": _hardware(section),
        "Budget": section.heading("budget"),
        "Learning rates": _learning_rates(section.groups),
        "Seeds": ", ".join(map(str, sorted({g.seed for g in records if g.method != "base"}))),
        "Precision": _precision(section.groups),
        "Batch": _by_value(section.groups, _batch),
        "Decoding": "; ".join(dict.fromkeys(_decoding(r.evaluation) for r in records if r.evaluation)),
        "Metrics": _metrics(section),
        "Versions": _versions(section),
    }
    found |= {name.capitalize(): "; ".join(values) for name, values in section.mixed.items() if name in CAPTIONED}
    return {name: text for name, text in found.items() if text}


def notes(section: Section, cells: Sequence[Cell], damaged: Iterable[DamagedRecord]) -> list[str]:
    """How to read the shown `cells`, each sentence only where it applies."""
    found = _mixture(section) + _uncertainty(section, cells)
    if any(cell.fallback for cell in cells):
        found.append(f"{FALLBACK}: on validation; the run left the test split alone.")
    found += imported.notes(section.records, {cell.column.key for cell in cells})
    own = [r for r in section.records if r.source is None]
    kinds = {cell.column.kind for cell in cells} if own else set()
    if "memory" in kinds:
        found += _memory(own)
    warmup = sorted({r.training.warmup_steps for r in own if r.training})
    skipped = f"the first {' or '.join(map(str, warmup))} steps left out"
    if "throughput" in kinds:
        found.append(f"tokens/s: non-padding tokens of the training batches per second of step time, {skipped}.")
    if "timing" in kinds:
        found.append(f"step: median of forward, backward and optimizer, {skipped}; train: all steps, nothing else.")
    if any(cell.disturbed for cell in cells):
        found.append(f"{DISTURBED}: other processes kept more than 0.2 CPU cores busy; do not trust this timing.")
    if any(cell.column.key == "forgetting_nats" for cell in cells):
        found.append("forgetting: loss on general text minus that of the base model; above 0 it forgot.")
    scored = next((cell.column for cell in cells if cell.column.key == "pscp"), None)
    if scored is not None:
        found.append(
            f"PSCP: score of PEFT-Bench (arXiv 2511.21285), {FORMULA}, with P the test score, p the trainable "
            "parameters and m the measured peak of training memory in GB; its factor for operations added to inference "
            "is left out, since they are not measured, which favours methods that lengthen the prompt."
        )
    return found + _provenance(section, damaged)


def _mixture(section: Section) -> list[str]:
    """What was put together on request although it differs."""
    parts = (f"{name} ({', '.join(values)})" for name, values in section.mixed.items())
    said = "; best and ties are taken across these unlike things" if section.mixed else ""
    return [f"mixed: {', '.join(parts)}{said}."] if section.mixed else []


def _uncertainty(section: Section, cells: Sequence[Cell]) -> list[str]:
    over_seeds = any(cell.interval and not cell.over_examples for cell in cells)
    over_examples = any(cell.over_examples for cell in cells)
    size = _test_examples(section)
    ways = ["over the n seeds (Student's t)"] * over_seeds
    ways += [f"where n is 1, over the {size}test examples (Wilson for shares, else {RESAMPLED})"] * over_examples
    sides = "; the larger side where they differ; none where too little varies"
    found = [f"±: 95% confidence interval {'; '.join(ways)}{sides}."] if ways else []
    if any(cell.best for cell in cells):
        found.append("Bold: the best of its column; the base takes part in what a method gives, not in what it costs.")
    return found + _tests(section, cells, size)


def _tests(section: Section, cells: Sequence[Cell], size: str) -> list[str]:
    """What was tested, how, and what was not."""
    found = []
    if any(cell.p is not None for cell in cells):
        own = [not group.imported for group in section.groups]
        single = (
            f"Two rows with n = 1: a paired test over the {size}test examples (McNemar for shares, else {RESAMPLED})"
        )
        ways = [
            f"{single}, and so of these trained models alone. Two with n > 1: a t test over the seeds, and over the "
            "test examples where outcomes are kept, paired where both have the same seeds."
        ] * any(own)
        ways += ["Two imported rows: a test of two independent shares."] * (not all(own))
        found.append(
            f"{TIED}: cannot be told apart from the best at the 5% level. {' '.join(ways)} The p-values are adjusted "
            "for all pairs of rows, as any might have been the best: step by step as Holm's, but with m rows not yet "
            "told apart the smallest is multiplied by m (m + 1) / 2."
        )
    rivals = {cell.column.key for cell in cells if cell.best and cell.column.quality and not cell.fallback}
    bare = {cell.column.key for cell in cells if not cell.best and not cell.fallback and cell.p is None} & rivals
    if bare:
        untested = dict.fromkeys(cell.column.title for cell in cells if cell.column.key in bare)
        found.append(
            "No test in some rows or in all, for want of seeds, of outcomes of examples, or of such that differ, or "
            f"since one run stands against several: {', '.join(untested)}."
        )
    return found


def _test_examples(section: Section) -> str:
    """Number of test examples, with a blank behind it; empty if the records differ in it or have none."""
    sizes = {r.evaluation.test.examples for r in section.records if r.evaluation and r.evaluation.test}
    return f"{sizes.pop():,} " if len(sizes) == 1 else ""


def _memory(records: Iterable[Record]) -> list[str]:
    sources: dict[str, set[str]] = {}
    for record in records:
        for phase in record.phases:
            sources.setdefault(phase.memory_source, set()).add(record.method)
    if len(sources) == 1:
        source = next(iter(sources))
        return [f"mem.: {METERS.get(source, source)}, inside the phase (meter: {source})."]
    each = (f"{source} ({METERS.get(source, source)}) for {', '.join(sorted(who))}" for source, who in sources.items())
    return [f"mem.: read by different meters, which do not compare: {'; '.join(each)}."]


def _provenance(section: Section, damaged: Iterable[DamagedRecord]) -> list[str]:
    found = []
    base = next((g.runs[0].record for g in section.groups if g.base), None)
    if base and base.environment and section.facts["libraries"]:
        theirs = {name: base.environment.libraries.get(name) for name in LIBRARIES}
        if theirs != section.facts["libraries"]:
            found.append(f"The base row was measured with other versions: {_named(theirs)}.")
    if base and base.config.get("measure") != section.facts["measure"]:
        found.append("The base row was measured with other settings of `measure`.")
    if section.duplicates:
        many = "s" if section.duplicates > 1 else ""
        found.append(
            f"Left out: {section.duplicates} record{many} of a configuration and seed that is here already; the newest "
            "that came to its end counts."
        )
    return found + [f"Not used: {error}." for error in damaged]


def _model(section: Section) -> str:
    settings = section.facts["model"]
    parts = [settings[key] for key in ("path", "revision", "weights", "dtype") if settings.get(key)]
    total = next((r.parameters.total for r in section.records if r.method == "base" and r.parameters), None)
    parts += [f"{total:,} parameters"] if total else []
    return section.heading("model") + (f" ({', '.join(parts)})" if parts else "")


def _task(section: Section) -> str:
    data = next((r.data for r in section.records if r.data), None)
    parts = []
    if data is not None:
        parts += [f"{name} {size:,}" for name, size in data.sizes.items()]
        if data.majority_accuracy is not None:
            parts.append(f"always guessing the commonest answer scores {data.majority_accuracy:.3f}")
        parts += [f"{count:,} rows of {what}" for what, count in data.skipped.items()]
        parts += [f"{count:,} training examples overlap {name}" for name, count in data.leaked.items() if count]
        parts += [f"data {data.fingerprint[:8]}"] if data.fingerprint else []
    size = _test_examples(section)
    parts += [f"n = {size}test examples"] if size else []
    return section.heading("task") + (f" ({', '.join(parts)})" if parts else "")


def _hardware(section: Section) -> str:
    found = next((r.environment for r in section.records if r.environment), None)
    if found is None:
        return section.heading("hardware")
    parts = [found.device_name]
    if found.device != "cpu" and found.device_memory_bytes:
        parts.append(f"{found.device_memory_bytes / GIB:.0f} GiB")
    if found.cpu_cores and found.threads:
        parts.append(f"{_count(found.cpu_cores, 'core')}, {_count(found.threads, 'thread')}")
    if found.host_memory_bytes:
        parts.append(f"{found.host_memory_bytes / GIB:.0f} GiB host memory")
    return ", ".join(parts)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _learning_rates(groups: Sequence[Group]) -> str:
    """Whether the rates are the methods' defaults: a table must say so, since it decides how methods compare."""
    default, other, unknown = [], [], []
    for group in groups:
        if group.imported:
            continue  # the column learning_rate has them
        training = next((r.training for r in group.records if r.training), None)
        if training is None:
            continue
        rate, own = training.learning_rate, training.default_learning_rate
        if own is None:
            unknown.append(f"{group.label} {rate:g}")
        elif rate == own:
            default.append(f"{group.label} {rate:g}")
        else:
            other.append(f"{group.label} {rate:g} (default {own:g})")
    named = (("default of each method", default), ("tuned or set", other), ("of unknown origin", unknown))
    return "; ".join(f"{name}: {', '.join(rates)}" for name, rates in named if rates)


def _by_value(groups: Sequence[Group], read: Callable[[Record], str | None]) -> str:
    """A value that all share, once; else every value with the rows that have it."""
    found: dict[str, list[str]] = {}
    for group in groups:
        for value in dict.fromkeys(v for v in map(read, group.records) if v):
            found.setdefault(value, []).append(group.label)
    if len(found) < 2:
        return next(iter(found), "")
    usual = max(found, key=lambda value: len(found[value]))
    if len(found[usual]) > NAMED:
        found[usual] = ["all others"]
        found = {value: labels for value, labels in found.items() if value != usual} | {usual: found[usual]}
    return "; ".join(f"{value}: {', '.join(labels)}" for value, labels in found.items())


def _precision(groups: Sequence[Group]) -> str:
    def read(record: Record) -> str | None:
        training = record.training
        if training is None:
            return None
        return f"computation {training.precision}, trained weights {training.trainable_dtype}"

    return _by_value(groups, read)


def _batch(record: Record) -> str | None:
    """How the examples of a step were divided; None where one process took them all at once."""
    found = record.training
    if found is None or found.micro_batch_size is None or found.gradient_accumulation is None:
        return None
    if found.processes == found.gradient_accumulation == 1:
        return None
    each = f" in each of {found.processes} processes" if found.processes > 1 else ""
    step = found.micro_batch_size * found.gradient_accumulation * found.processes
    smaller = ", after running out of memory" if any(line.startswith("oom in train") for line in record.history) else ""
    return f"{found.micro_batch_size} at once{each}, {step} a step{smaller}"


def _metrics(section: Section) -> str:
    """The metrics whose value depends on a library's settings, with these and their version."""
    found = {
        (name, metric.version, metric.signature)
        for record in section.records
        if record.evaluation
        for scores in (record.evaluation.validation, record.evaluation.test)
        for name, metric in (scores.metrics if scores else {}).items()
        if metric.signature
    }
    return "; ".join(f"{name} v{version} ({signature})" for name, version, signature in sorted(found))


def _decoding(evaluation: Evaluation) -> str:
    said: dict[str, Any] = dict(evaluation.decoding)
    method = said.pop("method", None)
    return ", ".join([*([str(method)] if method else []), *(f"{key}={value}" for key, value in said.items())])


def _versions(section: Section) -> str:
    if section.facts["source"]:
        return imported.versions(section.records, LIBRARIES)
    parts = [_named(section.facts["libraries"] or {})]
    if section.facts["tunebench_version"]:
        parts.append(f"tunebench {section.facts['tunebench_version']}")
    parts.append(f"records of schema {section.facts['schema_version']}")
    commits = {
        e.git_commit[:10] + ("+" if e.git_dirty else "")
        for e in (record.environment for record in section.records)
        if e and e.git_commit
    }
    if commits:
        parts.append(f"commit {', '.join(sorted(commits))}")
    return ", ".join(part for part in parts if part)


def _named(libraries: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries.items() if version)
