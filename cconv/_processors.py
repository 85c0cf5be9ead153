"""How many threads to begin with: the environment's word, else the processors that this process may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def quotas(root: Path) -> list[float]:
    """
    Processors that the quotas of this process's cgroup allow, one entry a quota, of versions 1 and 2.

    A quota holds for all groups below it, so that of every parent counts. Where the path is not to be seen (a
    container that mounts its own group as the root), the root's is what there is.
    """
    found = []
    top = root / "sys/fs/cgroup"
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mounts = [top, top / "unified"]
        elif "cpu" in controllers.split(","):
            mounts = [top / controllers, top / "cpu"]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for mount in mounts:
            for n in range(len(parts) + 1):
                found += quota(mount.joinpath(*parts[:n]))
    return found


def quota(group: Path) -> list[float]:
    """The quota of one group: `cpu.max` holds "max 100000" or "150000 100000"; version 1 has two files, -1 is none."""
    try:
        if (group / "cpu.max").exists():
            most, period = (group / "cpu.max").read_text().split()[:2]
        else:
            most = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text()
        return [int(most) / int(period)] if most != "max" and int(most) > 0 else []
    except (OSError, ValueError, ZeroDivisionError):
        return []


def affinity() -> int:
    """Processors that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def quota_processors(root: str = "/") -> int:
    """Processors that its cgroup's quota amounts to, rounded up; 1024 where there is none."""
    from pathlib import Path  # at the first call, not when cconv is imported

    count = 1024
    try:
        for most in quotas(Path(root)):
            count = min(count, max(1, -int(-most // 1)))
    except (OSError, ValueError):
        pass  # no Linux, or /proc is not to be seen
    return count


def processors(root: str = "/") -> int:
    """Processors that this process may use: its affinity, and its cgroup's quota."""
    return min(affinity(), quota_processors(root))


def number(name: str) -> int:
    """A positive number from the environment; OMP_NUM_THREADS may be a list, one a level of nesting. 0: none."""
    value = os.environ.get(name, "").split(",")[0].strip()
    return int(value) if value.isdigit() and value.isascii() else 0


def from_environment() -> int:
    """CCONV_NUM_THREADS, else OMP_NUM_THREADS; 0: neither."""
    count = number("CCONV_NUM_THREADS") or number("OMP_NUM_THREADS")
    return most_threads(count) if count else 0


def most_threads(count: int) -> int:
    """Of so many threads those that may be: never above OMP_THREAD_LIMIT."""
    return max(1, min(count, number("OMP_THREAD_LIMIT") or count, 1024))
