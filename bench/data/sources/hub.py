"""Rows of a data set on the Hugging Face Hub."""

from collections.abc import Iterator

from bench.data.rows import Row


def hub_rows(path: str, subset: str, split: str, revision: str) -> Iterator[Row]:
    """The rows of one split of a data set, read by `datasets`.

    Args:
        path: its id, `ORG/NAME`.
        subset: its configuration; empty: the only or the default one.
        split: such as `train`, or a slice of it such as `train[:95%]`.
        revision: branch, tag or commit; empty: the main branch.

    Raises:
        ValueError: there is no such data set, subset or split, or the Hub cannot be reached.
    """
    import datasets

    where = f"{path}{f' ({subset})' if subset else ''}"
    # a Parquet branch, and some data sets, have folders in place of configurations
    folder = "/" in subset or revision == "refs/convert/parquet"
    chosen = {"data_dir": subset} if subset and folder else {"name": subset or None}
    try:
        loaded = datasets.load_dataset(path, **chosen, split=split, revision=revision or None)
    except (OSError, ValueError, RuntimeError) as error:  # all of datasets' and the Hub's errors are one of these
        message = str(error).strip().splitlines()
        key = "task.subset" if "config" in str(error).lower() and "name" in str(error).lower() else "task.path"
        raise ValueError(f"{key}: cannot load {where}, split {split}: {message[0] if message else error!r}") from error
    for number, fields in enumerate(loaded, start=1):
        yield Row(f"{where}, {split}", number, dict(fields))
