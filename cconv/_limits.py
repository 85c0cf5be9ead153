"""A limit on threads for one thread of the caller's: `cconv.thread_limit`."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from ._run.threads import limit_here

if TYPE_CHECKING:
    from collections.abc import Iterator


def thread_limit(n: int) -> AbstractContextManager[None]:
    """
    Limit the calls of the current thread alone, within a ``with`` block; for a task that is one of many at a time.

    `set_num_threads` is for the whole process. A limit within another one can only lower it, and neither exceeds what
    `set_num_threads` allows. Results do not depend on it.

    Parameters
    ----------
    n : int
        At least 1 and at most 1024: threads that a call from this thread may use.

    Returns
    -------
    context manager

    Raises
    ------
    TypeError, ValueError
        If `n` is not an integer from 1 to 1024.

    Examples
    --------
    >>> import cconv
    >>> with cconv.thread_limit(1):
    ...     cconv.get_num_threads()
    1
    """
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"thread_limit: n must be an int, got {n!r}")
    n = n.__index__()
    if not 1 <= n <= 1024:
        raise ValueError(f"thread_limit: n must be from 1 to 1024, got {n}")
    return _limited(n)


@contextmanager
def _limited(n: int) -> Iterator[None]:
    last = limit_here(n)
    if 0 < last < n:
        limit_here(last)
    try:
        yield
    finally:
        limit_here(last)
