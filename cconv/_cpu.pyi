"""What the processor can run."""

compiler: str
stamp: str

def supported() -> list[str]: ...
