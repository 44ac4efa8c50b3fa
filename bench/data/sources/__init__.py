"""Rows from wherever they lie: files and folders, URLs, buckets and the Hugging Face Hub."""

from bench.data.sources.fetch import Fetched, content, fetch
from bench.data.sources.hub import hub_rows
from bench.data.sources.rows import rows

__all__ = ["Fetched", "content", "fetch", "hub_rows", "rows"]
