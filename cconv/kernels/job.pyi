from enum import IntEnum

class PadMode(IntEnum):
    PAD_ZEROS = 0
    PAD_REFLECT = 1
    PAD_REPLICATE = 2
    PAD_CIRCULAR = 3

class PoolOp(IntEnum):
    POOL_MAX = 0
    POOL_SUM = 1
    POOL_AVERAGE = 2

stamp: str

def sizes(capsule: object) -> tuple[int, int]: ...
