# cython: cdivision=True
# Groups of the phases of a transposed convolution: which taps and inputs each phase of an axis has, and which phases
# read the same inputs (phases.pyx).
from cconv.kernels.box cimport Box
from cconv.kernels.job cimport ConvJob
from cconv.kernels.simd cimport real


cdef struct Axis:
    # of each phase: how many taps, the one that reads the foremost input, and which of the inputs that is
    Py_ssize_t phases
    Py_ssize_t *count
    Py_ssize_t *tap
    Py_ssize_t *at
    Py_ssize_t *kind                # phases of one kind read the same inputs; -1: none
    Py_ssize_t kinds
    Py_ssize_t hop, step            # between its taps, and between their inputs

cdef struct Phase:
    Py_ssize_t row                  # its number among all
    Py_ssize_t tap                  # its first tap in the weights

cdef struct Group:
    Py_ssize_t phases, taps
    Py_ssize_t before               # taps of all phases of the groups in front of this one
    Phase *phase
    Py_ssize_t *input               # of each tap: which of the inputs
    Py_ssize_t *back                # and the taps to it from the first

cdef struct Groups:
    Axis axes[3]
    Group *group
    Py_ssize_t count, total         # groups; phases

cdef struct Work:
    ConvJob *job
    Box box
    char *lists
    Groups all
    Py_ssize_t positions
    bint panelled
    Py_ssize_t o0, channels         # the block of output channels
    Py_ssize_t c0, c1               # the k block
    Py_ssize_t *off                 # of each term: from a position, in slab, panel or input
    Py_ssize_t *rows                # of each row of a group: where its sums lie
    real *start                     # and what they start from
    real *slab
    real *panels
    real *sums
    real *merged                    # rows of sums of one channel, phases along W interleaved
    const real *from_               # where rows are read in place
    Py_ssize_t hop[3]               # its strides: D, H, channels
    const real *w


cdef inline Py_ssize_t largest(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """Their greatest common divisor."""
    cdef Py_ssize_t rest
    while b:
        rest = a % b
        a = b
        b = rest
    return a


cdef inline Py_ssize_t *deal_axis(const ConvJob *job, int a, Axis *to, Py_ssize_t *space) noexcept nogil:
    """The taps of one axis to its phases; returns the space behind."""
    cdef Py_ssize_t s = job.up.stride[a], d = job.up.dilation[a], gap = job.p.dilation[a], g = largest(s, d)
    cdef Py_ssize_t first = -job.p.before[a], value = -job.up.shift[a], f, t, e
    to.phases = s
    to.count, to.tap, to.at, to.kind = space, space + s, space + 2 * s, space + 3 * s
    to.hop, to.step, to.kinds = s // g, d // g // gap if gap else 1, 0
    for f in range(s):
        to.count[f] = 0
        to.kind[f] = -1
    for t in range(job.up.kernel[a]):
        # value = t*d - shift
        f = value % s
        if f < 0:
            f += s
        to.count[f] += 1
        to.tap[f] = t
        to.at[f] = ((f - value) // s - first) // gap
        value += d
    for f in range(s):
        if to.count[f] == 0:
            continue
        for e in range(f - 1, -1, -1):
            # neighbours mostly are of one kind
            if to.count[e] == to.count[f] and to.at[e] == to.at[f]:
                to.kind[f] = to.kind[e]
                break
        if to.kind[f] < 0:
            to.kind[f] = to.kinds
            to.kinds += 1
    return space + 4 * s


cdef inline Py_ssize_t first_of(const Axis *axis, Py_ssize_t kind) noexcept nogil:
    """The first phase of a kind."""
    cdef Py_ssize_t f = 0
    while axis.kind[f] != kind:
        f += 1
    return f


cdef inline Py_ssize_t *group_taps(const ConvJob *job, Groups *all, Group *to, const Py_ssize_t *first,
                                   Py_ssize_t *space) noexcept nogil:
    """The taps of a group, in which `first` are the first phases; returns the space behind."""
    cdef Axis *az = &all.axes[0]
    cdef Axis *ay = &all.axes[1]
    cdef Axis *ax = &all.axes[2]
    cdef Py_ssize_t f = first[0], g = first[1], h = first[2], z, y, x, n = 0
    to.taps = az.count[f] * ay.count[g] * ax.count[h]
    to.input, to.back = space, space + to.taps
    for z in range(az.count[f]):
        for y in range(ay.count[g]):
            for x in range(ax.count[h]):
                to.input[n] = (((az.at[f] + z * az.step) * job.p.kernel[1] + ay.at[g] + y * ay.step) * job.p.kernel[2]
                               + ax.at[h] + x * ax.step)
                to.back[n] = (z * az.hop * job.up.kernel[1] + y * ay.hop) * job.up.kernel[2] + x * ax.hop
                n += 1
    return space + 2 * n


cdef inline Py_ssize_t *group_phases(const ConvJob *job, Groups *all, Group *to, const Py_ssize_t *first,
                                     Py_ssize_t *space) noexcept nogil:
    """The phases of a group, which are of the kinds of the first ones; returns the space behind."""
    cdef Axis *az = &all.axes[0]
    cdef Axis *ay = &all.axes[1]
    cdef Axis *ax = &all.axes[2]
    cdef Py_ssize_t z, y, x, n = 0
    to.phase = <Phase *>space
    for z in range(first[0], az.phases):
        if az.kind[z] != az.kind[first[0]]:
            continue
        for y in range(first[1], ay.phases):
            if ay.kind[y] != ay.kind[first[1]]:
                continue
            for x in range(first[2], ax.phases):
                if ax.kind[x] == ax.kind[first[2]]:
                    to.phase[n].row = (z * ay.phases + y) * ax.phases + x
                    to.phase[n].tap = (az.tap[z] * job.up.kernel[1] + ay.tap[y]) * job.up.kernel[2] + ax.tap[x]
                    n += 1
    to.phases = n
    return space + 2 * n


cdef inline void list_groups(ConvJob *job, Groups *all, Py_ssize_t *space) noexcept nogil:
    """All groups of phases, into the space that lists_size() says."""
    cdef Py_ssize_t first[3]
    cdef Py_ssize_t before = 0, z, y, x
    cdef Group *to = <Group *>space
    cdef int a
    all.group, all.count = to, 0
    all.total = job.up.stride[0] * job.up.stride[1] * job.up.stride[2]
    space += job.up.groups * (sizeof(Group) // sizeof(Py_ssize_t))
    for a in range(3):
        space = deal_axis(job, a, &all.axes[a], space)
    for z in range(all.axes[0].kinds):
        first[0] = first_of(&all.axes[0], z)
        for y in range(all.axes[1].kinds):
            first[1] = first_of(&all.axes[1], y)
            for x in range(all.axes[2].kinds):
                first[2] = first_of(&all.axes[2], x)
                to.before = before
                space = group_phases(job, all, to, first, group_taps(job, all, to, first, space))
                before += to.phases * to.taps
                all.count += 1
                to += 1


cdef inline Py_ssize_t taps_up(const ConvJob *job) noexcept nogil:
    """Taps of the transposed convolution."""
    return job.up.kernel[0] * job.up.kernel[1] * job.up.kernel[2]


cdef inline Py_ssize_t lists_size(const ConvJob *job) noexcept nogil:
    """Numbers of the lists of list_groups(), as _plan/phases.py counts them."""
    cdef Py_ssize_t n = 4 * (job.up.stride[0] + job.up.stride[1] + job.up.stride[2])
    n += 2 * job.up.stride[0] * job.up.stride[1] * job.up.stride[2] + 2 * taps_up(job)
    return n + job.up.groups * <Py_ssize_t>(sizeof(Group) // sizeof(Py_ssize_t))
