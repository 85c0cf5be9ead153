# The enums of job.pxd as Python's.
