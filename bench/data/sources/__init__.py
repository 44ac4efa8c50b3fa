"""Rows from wherever they lie: files and folders, URLs, buckets and the Hugging Face Hub."""

from bench.data.sources.fetch import LOCATIONS, Fetched, content, fetch, is_remote
from bench.data.sources.hub import hub_rows
from bench.data.sources.rows import rows

__all__ = ["LOCATIONS", "Fetched", "content", "fetch", "hub_rows", "is_remote", "rows"]
