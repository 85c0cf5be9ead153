"""Which kernel, which blocks: integers in, a strategy out. No array comes near this package.

`choose` is the only door: everything that is decided about a call is decided there, and what it returns is what runs
and what `explain` prints. The other files size the blocks of one kernel each, for a `Machine`; their records bear the
field names of the structs in kernels/job.pxd, which they fill. How a kernel lays out its workspace is its own affair.
"""
