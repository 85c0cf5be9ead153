"""What the processor can run."""

compiler: str
stamp: str

def extensions() -> list[str]: ...
def supported() -> list[str]: ...
