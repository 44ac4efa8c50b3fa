"""Makes `bench/advise/closed_form.json`: coefficients of the closed form, from traces of small models.

    python -m tests.advise.fit_closed_form      (some minutes on one core, no GPU, no weights)

The methods are those of the default sweep: some others need several times what any formula of these terms says, and
all would be told worse for their sake. The coefficients make the relative errors smallest, squared and summed, and none
is below 0. The spread of a kind is the largest error of its traces, each told by coefficients that were fitted without
its method.
"""

import json
from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.optimize import nnls

from bench.advise.closed_form import FITTED, Terms, terms
from bench.advise.questions import question
from bench.advise.trace import NotTraceable, Question, Workload
from bench.advise.tracer import traces
from bench.config import Model, Run, Task, Train, to_dict
from bench.method import get
from tests.benchmarks.jobs import SEVEN

SHAPES = ((256, 2, 704, 32000), (512, 4, 1408, 4096), (768, 3, 3072, 16384))
WORKLOADS = (Workload(4, 200, 512, 0.5), Workload(8, 100, 192, 0.1), Workload(2, 500, 1024, 0.9))
Point = tuple[str, Terms, int]


def main() -> None:
    asked = list(_questions())
    answers = traces([question for _, question in asked], lambda done, of: print(f"{done} of {of}"), workers=1)
    points: list[Point] = []
    for (method, each), answer in zip(asked, answers, strict=True):
        found = terms(each)
        if isinstance(answer, NotTraceable) or found is None:
            print(method, answer)
        else:
            points.append((method, found, answer.allocated_bytes))
    kinds = {kind: _kind([p for p in points if p[1].kind == kind]) for kind in sorted({p[1].kind for p in points})}
    about = "of tests/advise/fit_closed_form.py: bytes for each of the features of bench/advise/closed_form.py"
    FITTED.write_text(json.dumps({"about": about, "kinds": kinds}, indent=1) + "\n", encoding="utf-8")


def _questions() -> list[tuple[str, Question]]:
    found = []
    for name, again, at in product(SEVEN, (False, True), range(len(SHAPES))):
        method = get(name)
        if name.startswith("prefix") and again:
            continue  # it has no meaning there
        hidden, layers, inner, vocabulary = SHAPES[at]
        facts = {
            "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": inner,
            "vocab_size": vocabulary, "num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 128,
            "max_position_embeddings": 4096, "tie_word_embeddings": True,
        }  # fmt: skip
        run = Run(
            method(), model=Model("m", "m", weights="random", architecture=facts), task=Task(kind="generation"),
            train=Train(batch_size=8, gradient_checkpointing=again),
        )  # fmt: skip
        workload = WORKLOADS[(at + len(found)) % len(WORKLOADS)]
        found.append((name, question(to_dict(run), workload, "cuda", "bfloat16")))
    return found


def _kind(points: Sequence[Point]) -> dict[str, object]:
    coefficients = _coefficients(points)
    spread = _spread(points)
    print(points[0][1].kind, [f"{error:+.1%}" for error in _errors(points, coefficients)], f"{spread:.1%}")
    return {"coefficients": [round(c, 3) for c in coefficients], "spread": round(spread, 3), "traces": len(points)}


def _spread(points: Sequence[Point]) -> float:
    """The largest error on a method that the coefficients were not fitted to."""
    found = 0.0
    for method in sorted({point[0] for point in points}):
        part = [p for p in points if p[0] == method]
        errors = _errors(part, _coefficients([p for p in points if p[0] != method]))
        print(f"  without {method}:", [f"{error:+.1%}" for error in errors])
        found = max(found, *map(abs, errors))
    return found


def _coefficients(points: Sequence[Point]) -> list[float]:
    sizes = np.array([size for _, _, size in points], dtype=float)
    features = np.array([found.features for _, found, _ in points])
    rest = sizes - [found.known for _, found, _ in points]
    return [float(c) for c in nnls(features / sizes[:, None], rest / sizes)[0]]


def _errors(points: Sequence[Point], coefficients: Sequence[float]) -> list[float]:
    return [(f.known + float(np.dot(coefficients, f.features))) / size - 1 for _, f, size in points]


if __name__ == "__main__":
    main()
