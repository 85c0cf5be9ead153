"""What `explain` returns."""

from __future__ import annotations

from typing import Any


class Explanation(dict[str, Any]):
    """What a call would do, as a dict that prints as text."""

    def __str__(self) -> str:
        width = max(map(len, self))
        return "\n".join(f"{key:<{width}}  {value}" for key, value in self.items())
