# The structs that _run hands to the kernels. Letters: N batch, G groups, C input and O output channels of ONE
# group, (D, H, W) space, k kernel, s stride, d dilation, p padding before (negative crops). All strides count elements.

cdef struct Watch:
    unsigned long owner             # the thread that called
    double due
    int stop
    int (*look)(Watch *here) noexcept nogil     # whether to give up: a signal's handler has raised

cdef struct ConvJob:
    void *x
    void *w
    void *bias
    void *y
    void *workspace
    Py_ssize_t workspace_bytes      # of one thread
    int threads
    int kernel                      # 0 gemm, 1 rows, 2 taps, 3 winograd
    int packed                      # weights lie tile by tile, see pack_weights
    int mode                        # padding: 0 zeros, 1 reflect, 2 replicate, 3 circular
    Py_ssize_t N, G, C, O
    Py_ssize_t size[3]              # input D, H, W
    Py_ssize_t out[3]
    Py_ssize_t k[3]
    Py_ssize_t s[3]
    Py_ssize_t d[3]
    Py_ssize_t p[3]
    Py_ssize_t xn, xc
    Py_ssize_t xs[3]
    Py_ssize_t yn, yc
    Py_ssize_t ys[3]
    # The plan: the slab of the padded input holds every `step`-th row, so stride and dilation shrink to ss and sd.
    Py_ssize_t step[3]
    Py_ssize_t ss[3]
    Py_ssize_t sd[3]
    Py_ssize_t box[3]               # output positions of one item
    Py_ssize_t boxes[3]
    Py_ssize_t slab[3]              # slab rows in D and H, columns of one phase in W
    Py_ssize_t phases               # the columns lie de-interleaved by ss[2]
    Py_ssize_t row, plane, channel  # slab strides
    Py_ssize_t c_block              # channels of one k block
    Py_ssize_t t_block              # taps of one k block (all of them unless c_block == 1)
    Py_ssize_t o_block              # output channels whose weights stay in L2
    Py_ssize_t o_splits             # output channels are also split between items
    int tile                        # Winograd: 6 for F(4), 4 for F(2)
    Py_ssize_t tiles[3]             # Winograd: tiles along H and W (the first is not used)
    Py_ssize_t slab_at, panels_at   # byte offsets in the workspace
    Py_ssize_t samples, sample      # gemm: samples of one item, and slab elements between them
    int in_place                    # one tap, no padding, stride 1: panels are packed from the input itself
    Py_ssize_t panels               # packed panels of one item (0: not packed)
    int group                       # this and the next group - 1 jobs are phases whose columns interleave
    Py_ssize_t dense_at, dense      # phases: byte offset of their sums, elements of one channel's

cdef struct WeightGradJob:
    Watch *watch                    # asked at every box, for an item may have many
    ConvJob conv                    # y is read: the gradient of the output; w is written: (G, O, C, taps), contiguous
    void *partial                   # (chunks, G, O, C, taps), or w where there is one chunk
    int by_lanes                    # 1: outer products, lanes are output channels; 0: dot products along rows
    int flat                        # dot products run across the rows of a plane
    int in_place                    # no padding: outer products may read the input where it lies
    int swapped                     # 1x1: x is the output's gradient and y the input
    Py_ssize_t hop                  # elements between the inputs of neighbouring outputs (1 in the slab)
    Py_ssize_t samples, sample      # samples of one box, and elements between them in the slab
    Py_ssize_t chunks               # the boxes of all samples are summed in so many chunks, which are summed in order
    Py_ssize_t c_blocks, o_blocks
    Py_ssize_t run                  # elements of one run of the copied gradient, and runs of one box
    Py_ssize_t grads_at, sums_at    # byte offsets in the workspace

cdef struct PoolJob:
    void *x
    void *y
    void *index                     # int64, or NULL
    void *workspace
    Py_ssize_t workspace_bytes
    int threads
    int op                          # 0 max, 1 sum, 2 average
    int indexed
    Py_ssize_t planes
    Py_ssize_t channels             # planes = batch * channels, for strided inputs
    Py_ssize_t size[3]
    Py_ssize_t out[3]
    Py_ssize_t k[3]
    Py_ssize_t s[3]
    Py_ssize_t d[3]
    Py_ssize_t p[3]
    Py_ssize_t xn, xc
    Py_ssize_t xs[3]
    Py_ssize_t yn, yc
    Py_ssize_t ys[3]
    int adaptive                    # windows from first/count instead of k, s, p
    Py_ssize_t *first[3]            # first valid tap of each output, an axis
    Py_ssize_t *count[3]            # valid taps of each output
    Py_ssize_t *divisor[3]          # divisor factor of each output (average)
    double divide                   # divisor_override, or 0
    int doubled[3]                  # windows of this axis by doubling
    Py_ssize_t rows                 # output rows of one item
    Py_ssize_t blocks               # items of one plane

cdef struct PoolGradJob:
    Watch *watch                    # asked at every block of output rows, for an item may have many
    PoolJob pool                    # x is the input (maxima only); y is read: the gradient of the output
    void *gx                        # contiguous
    int pairs                       # maxima: along H by doubling
    Py_ssize_t rows, blocks         # input rows of one item, items of one plane
    Py_ssize_t outs                 # maxima: output rows whose reduced input rows are held at once
    Py_ssize_t *start[2]            # outputs whose windows hold an input row of D or H: list[start[i]:start[i + 1]]
    Py_ssize_t *list[2]

ctypedef void (*conv_run)(ConvJob *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil
ctypedef void (*conv_pack)(ConvJob *job, void *packed) noexcept nogil
ctypedef void (*halves)(void *half, void *real, Py_ssize_t n) noexcept nogil
ctypedef void (*weight_grad_run)(WeightGradJob *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil
ctypedef void (*weight_grad_reduce)(WeightGradJob *job) noexcept nogil
ctypedef void (*pool_run)(PoolJob *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil

ctypedef void (*pool_grad_run)(PoolGradJob *job, Py_ssize_t first, Py_ssize_t last) noexcept nogil

cdef struct ConvTable:
    int lanes
    int rows
    int openmp
    conv_run run
    conv_pack pack
    halves load_halves              # NULL: NumPy converts
    halves store_halves

cdef struct PoolTable:
    int lanes
    pool_run run

cdef struct WeightGradTable:
    int lanes
    int rows
    weight_grad_run run
    weight_grad_reduce reduce

cdef struct PoolGradTable:
    int lanes
    pool_grad_run run
