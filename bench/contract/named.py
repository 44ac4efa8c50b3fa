"""Methods by the names that one types: registered ones with their defaults, and the named variants of `conf/method`."""

from bench.app.compose import composed
from bench.listing import named as files
from bench.method import Method, discover, get


def every() -> list[str]:
    """All names that `method=NAME` takes."""
    return [*discover(), *(name for name, _ in files("method"))]


def named(name: str) -> Method:
    """The method, with its defaults or as its variant says.

    Raises:
        ValueError: there is none of this name.
    """
    if name in discover() or name not in every():
        return get(name)()
    method = composed([f"method={name}"]).method
    assert method is not None
    return method
