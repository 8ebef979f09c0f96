"""The user's cache is never used, and torch gets its threads back."""

from isolation import _own_cache, _own_threads, cache_folder  # noqa: F401
