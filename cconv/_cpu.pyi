"""What the processor can run."""

compiler: str

def supported() -> list[str]: ...
