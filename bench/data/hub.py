"""Text data sets of the Hugging Face Hub (or a local folder of the same form), for language modelling.

The data set must have splits named train, validation and test and a column of text.
"""

from bench.config import Task
from bench.data.example import Example, TaskData


def load(task: Task) -> TaskData:
    """The non-empty texts of each split, as examples without a prompt.

    Raises:
        ValueError: a split or the text column is missing.
    """
    import datasets

    whole = datasets.load_dataset(task.path, task.subset or None)
    splits = {}
    for name in ("train", "validation", "test"):
        if name not in whole:
            raise ValueError(f"task.path: the data set {task.path} has no split {name!r}, only {', '.join(whole)}")
        if task.text_column not in whole[name].column_names:
            columns = ", ".join(whole[name].column_names)
            raise ValueError(f"task.text_column: {task.path} has no column {task.text_column!r}, only {columns}")
        texts = whole[name][task.text_column]
        splits[name] = tuple(
            Example(id=f"{name}-{i}", prompt="", completion=text) for i, text in enumerate(texts) if text.strip()
        )
    return TaskData("Continue the text.", splits["train"], splits["validation"], splits["test"])
