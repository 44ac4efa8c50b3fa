"""Vega: its JavaScript for the page, and its pictures for papers, both from vl-convert, which needs no browser."""

import contextlib
from importlib.metadata import version
from typing import Any

from bench.records.cache_dir import cache_dir
from bench.records.store import replace

VERSION = "6.4"  # of Vega-Lite


def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, kept in the user's cache folder, as bundling takes seconds."""
    folder = cache_dir()
    if folder is None:
        return _bundle()
    path = folder / f"vega-{VERSION}-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8")
    text = _bundle()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace(path, text)
    return text


def _bundle() -> str:
    import vl_convert

    return str(vl_convert.javascript_bundle(vl_version=VERSION))  # type: ignore[call-arg]  # its stub asks for a snippet


def svg(spec: dict[str, Any], config: dict[str, Any]) -> str:
    """A Vega-Lite plot as SVG."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec, vl_version=VERSION, config=config, allowed_base_urls=[]))


def png(spec: dict[str, Any], config: dict[str, Any], scale: float) -> bytes:
    """A Vega-Lite plot as PNG, `scale` times the size of the SVG in pixels."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(spec, vl_version=VERSION, config=config, scale=scale, allowed_base_urls=[]))
