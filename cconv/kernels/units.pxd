# cython: cdivision=True
# The slab of int8, whose elements are units (int8.h). A unit's terms are neighbouring channels of one position, or,
# where channels are few, every hop-th column of one channel, which the window reads anyway: unit j of a row then holds
# columns j, j + hop, ...
#
# A slab row is joined from TERMS byte rows, each a copy of what one term reads, padding included; the slab is filled
# in the order of memory, and a row may run over into the next. Padding is 0, also where signed bytes are turned. Depths
# and rows may be gathered tap by tap (slab.pxd), columns never are.
from cconv.kernels.box cimport Box
from cconv.kernels.items cimport lines
from cconv.kernels.job cimport PAD_ZEROS, ConvJob
from cconv.kernels.simd cimport real
from cconv.kernels.slab cimport lies, source


cdef extern from "int8.h" nogil:
    const int TERMS
    const int JOINED
    void join_bytes(real *to, const unsigned char *const *rows, Py_ssize_t n, bint is_signed)
    real weight_unit(const unsigned char *x, Py_ssize_t step, int some, bint is_signed)
    int sum_bytes(const unsigned char *x, Py_ssize_t n, bint is_signed)
    int turn_of(bint is_signed)
    void zero_bytes(unsigned char *to, Py_ssize_t n)
    void copy_bytes(unsigned char *to, const unsigned char *x, Py_ssize_t step, Py_ssize_t n)


cdef enum:
    BATCH = 8


cdef struct Joint:
    # how the byte rows of a job become its units, the same for all of its rows
    Py_ssize_t hop                  # columns from one position of a strand to the next
    Py_ssize_t row                  # bytes from one byte row to the next
    Py_ssize_t batch                # strands that are copied before they are joined
    Py_ssize_t reach                # positions from the first term of a unit of columns to the last; 0: nothing shared
    int like[4]                     # units of columns: the term whose byte row serves this one too, itself if none
    Py_ssize_t shift[4]             # and so many positions further


cdef struct ByteLine:
    # position j of a row stands for input column at + j*hop, which exists for a <= j < b
    Py_ssize_t at, hop, a, b, n


cdef inline Py_ssize_t column_reach(const ConvJob *job) noexcept nogil:
    """Of units of columns, where one byte row serves several terms; else 0."""
    cdef Py_ssize_t reach = (TERMS - 1) * job.units.hop // (job.t.strands * job.t.step[2])
    return reach if reach <= job.t.slab[2] else 0


cdef inline Py_ssize_t byte_row(const ConvJob *job) noexcept nogil:
    """Bytes of a byte row, which whole blocks run past."""
    return lines(job.t.slab[2] + column_reach(job) + JOINED)


cdef inline Py_ssize_t batch_of(const ConvJob *job) noexcept nogil:
    """Strands whose byte rows fit a quarter of L1, for long ones need no more."""
    return max(<Py_ssize_t>1, min(<Py_ssize_t>BATCH, 8192 // (TERMS * byte_row(job))))


cdef inline void find_joint(const ConvJob *job, Joint *joint) noexcept nogil:
    cdef Py_ssize_t hop = job.units.hop
    cdef int q, p
    joint.hop = job.t.strands * job.t.step[2]
    joint.row = byte_row(job)
    joint.batch = batch_of(job)
    joint.reach = column_reach(job)
    for q in range(TERMS):
        joint.like[q] = q
        joint.shift[q] = 0
        for p in range(q):
            if joint.reach and (q - p) * hop % joint.hop == 0:
                joint.like[q] = p
                joint.shift[q] = (q - p) * hop // joint.hop
                break


cdef inline Py_ssize_t up_by(Py_ssize_t a, Py_ssize_t hop) noexcept nogil:
    """a / hop rounded up, mostly without a division."""
    if hop == 1:
        return a
    return (a + 1) >> 1 if hop == 2 else (a + hop - 1) // hop


cdef inline void aim_line(const ConvJob *job, ByteLine *line, Py_ssize_t hop, Py_ssize_t at,
                          Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t L = job.p.size[2]
    line.at = at
    line.hop = hop
    line.n = n
    line.a = 0 if at >= 0 else min(n, up_by(-at, hop))
    line.b = max(line.a, 0 if at >= L else min(n, up_by(L - at, hop)))


cdef inline void pad_bytes(const ConvJob *job, unsigned char *to, const unsigned char *x, const ByteLine *line,
                           Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Positions outside the input."""
    cdef Py_ssize_t j, i
    for j in range(first, last):
        i = source(line.at + j * line.hop, job.p.size[2], job.p.mode)
        to[j] = x[i * job.xs[2]] if i >= 0 else 0


cdef inline void fill_bytes(const ConvJob *job, unsigned char *to, const unsigned char *x,
                            const ByteLine *line) noexcept nogil:
    """One byte row; x is the input row."""
    if job.p.mode == PAD_ZEROS:
        zero_bytes(to, line.a)
    else:
        pad_bytes(job, to, x, line, 0, line.a)
    copy_bytes(to + line.a, x + (line.at + line.a * line.hop) * job.xs[2], line.hop * job.xs[2], line.b - line.a)
    if job.p.mode == PAD_ZEROS:
        zero_bytes(to + line.b, line.n - line.b)
    else:
        pad_bytes(job, to, x, line, line.b, line.n)


cdef inline void copy_terms(const ConvJob *job, const Joint *joint, unsigned char *bytes, const unsigned char *x,
                            Py_ssize_t channels, Py_ssize_t at) noexcept nogil:
    """The byte rows of one strand of one slab row from column `at` on; x is the input row of the first of so many
    channels, or the only one."""
    cdef ByteLine line
    cdef int q
    if not job.units.by_columns:
        aim_line(job, &line, joint.hop, at, job.t.slab[2])
        for q in range(<int>min(<Py_ssize_t>TERMS, channels)):
            fill_bytes(job, bytes + q * joint.row, x + q * job.xc, &line)
        return
    for q in range(TERMS):
        if joint.like[q] == q:
            aim_line(job, &line, joint.hop, at + q * job.units.hop, job.t.slab[2] + joint.reach)
            fill_bytes(job, bytes + q * joint.row, x, &line)


cdef inline void join_terms(const ConvJob *job, const Joint *joint, real *to, const unsigned char *bytes,
                            Py_ssize_t channels) noexcept nogil:
    """Those byte rows into one strand; channels that do not exist, of weights 0, are the first once more."""
    cdef const unsigned char *rows[4]
    cdef int q
    for q in range(TERMS):
        rows[q] = bytes + joint.like[q] * joint.row + joint.shift[q] if q < channels else bytes
    join_bytes(to, rows, job.t.slab[2], job.units.x_signed)


cdef inline void fill_plane(const ConvJob *job, const Box *box, const Joint *joint, real *slab, unsigned char *bytes,
                            const unsigned char *x, Py_ssize_t channels) noexcept nogil:
    """One depth of a unit of so many channels, or of columns of one, whose input begins at x; NULL: only padding.

    A few strands' byte rows are copied, then joined: what has just been stored cannot be read in other pieces."""
    cdef Py_ssize_t ny = (box.extent[1] - 1) * job.t.ss[1] + (job.p.kernel[1] - 1) * job.t.sd[1] + 1
    cdef Py_ssize_t strands = job.t.strands, n = ny * strands, size = TERMS * joint.row, i = 0, j, k, iy
    cdef Py_ssize_t y = 0, r = 0, z = 0, s = 0      # of the strand that is copied, and of that which is joined
    cdef Py_ssize_t known[BATCH]
    while i < n:
        k = min(joint.batch, n - i)
        for j in range(k):
            iy = source((box.start[1] * job.t.ss[1] + lies(job, 1, y)) * job.t.step[1] - job.p.before[1],
                        job.p.size[1], job.p.mode)
            if x == NULL or iy < 0:
                known[j] = 0
                zero_bytes(bytes + j * size, job.t.slab[2])
            else:
                known[j] = channels
                copy_terms(job, joint, bytes + j * size, x + iy * job.xs[1], channels,
                           (box.start[2] * job.t.ss[2] + r) * job.t.step[2] - job.p.before[2])
            r += 1
            if r == strands:
                r = 0
                y += 1
        for j in range(k):
            join_terms(job, joint, slab + z * job.t.row + s * job.t.slab[2], bytes + j * size, known[j])
            s += 1
            if s == strands:
                s = 0
                z += 1
        i += k


cdef inline void fill_units(const ConvJob *job, const Box *box, const Joint *joint, real *slab, unsigned char *bytes,
                            const unsigned char *x, Py_ssize_t c) noexcept nogil:
    """Unit c of the channels of the rows of one sample that a box reads."""
    cdef Py_ssize_t nz = (box.extent[0] - 1) * job.t.ss[0] + (job.p.kernel[0] - 1) * job.t.sd[0] + 1, z, iz
    cdef Py_ssize_t channels = TERMS
    if not job.units.by_columns:
        channels = min(channels, job.units.channels - c * TERMS)
        c *= TERMS
    for z in range(nz):
        iz = source((box.start[0] * job.t.ss[0] + lies(job, 0, z)) * job.t.step[0] - job.p.before[0],
                    job.p.size[0], job.p.mode)
        fill_plane(job, box, joint, slab + z * job.t.plane, bytes,
                   x + c * job.xc + iz * job.xs[0] if iz >= 0 else NULL, channels)
