# The contract between plan, runner and kernels. Letters: N batch, G groups, C input and O output channels of ONE group,
# (D, H, W) space. All strides count elements. Sizes and tilings hold integers and arrays of them, under the field names
# of the plan's records, which fill them; jobs add the pointers.

cpdef enum PadMode:
    PAD_ZEROS
    PAD_REFLECT
    PAD_REPLICATE
    PAD_CIRCULAR

cpdef enum PoolOp:
    POOL_MAX
    POOL_SUM
    POOL_AVERAGE

cdef struct Watch:
    # The looks at signals of one call. The pool looks between items, and items that may take long look themselves.
    unsigned long owner             # the thread that called, which alone asks
    long long due                   # nanoseconds
    int stop                        # whether to give up: a signal's handler has raised
    int (*look)(Watch *here) noexcept nogil     # `stop`, after asking where that is due
    int (*ask)(void *context) noexcept nogil
    void *context

# ---------------------------------------------------------------- convolutions

cdef struct ConvSizes:
    Py_ssize_t N, G, C, O
    Py_ssize_t size[3]              # input D, H, W
    Py_ssize_t kernel[3]
    Py_ssize_t stride[3]
    Py_ssize_t dilation[3]
    Py_ssize_t before[3]            # padding; negative crops
    Py_ssize_t out[3]
    int mode                        # PadMode

cdef struct ConvTiling:
    # The slab of the padded input holds every `step`-th row, so stride and dilation shrink to ss and sd; of dilations
    # longer than a box only the rows that a tap touches, tap behind tap: `apart` is the dilation, sd a tap's rows.
    Py_ssize_t step[3]
    Py_ssize_t ss[3]
    Py_ssize_t sd[3]
    Py_ssize_t apart[3]
    Py_ssize_t box[3]               # output positions of one item
    Py_ssize_t boxes[3]
    Py_ssize_t slab[3]              # slab rows in D and H, columns of one strand in W
    Py_ssize_t strands              # the columns lie de-interleaved by ss[2]
    Py_ssize_t row_strands          # the rows, too, by ss[1], or 1: in order
    Py_ssize_t strand, row_strand   # slab strides: from strand to strand of columns and of rows,
    Py_ssize_t row, plane, channel
    Py_ssize_t c_block              # channels of one k block
    Py_ssize_t t_block              # taps of one k block (all of them unless c_block == 1)
    Py_ssize_t o_block              # output channels whose weights stay in L2
    Py_ssize_t panels               # filled panels of one item
    int panelled                    # 0: vectors are read where they lie in the slab, no panels
    int flat                        # unpanelled: vectors run on from a slab row into the next
    Py_ssize_t samples, sample      # samples of one item, and slab elements between them
    int in_place                    # one tap, no padding, stride 1: panels are filled from the input itself
    int packed                      # weights lie tile by tile, as pack() leaves them
    int kw_first                    # order of summation c, kd, kw, kh
    int phases                      # this and the next phases - 1 jobs interleave along W (1: none)
    Py_ssize_t dense                # phases: elements of one channel's sums

cdef struct WinogradTiling:
    Py_ssize_t patch                # columns of a patch: 6 for F(4,3) and F(2,5), 4 for F(2,3), 1 for a column of taps
    Py_ssize_t high                 # rows of a patch: as many, or 1 for one row of taps
    Py_ssize_t patches[2]           # along H and W
    Py_ssize_t panels               # panels of patches of one item
    Py_ssize_t blocks               # items of a group, before output channels are split
    Py_ssize_t plane                # elements from one position of the transformed weights to the next
    int fused                       # weights are read as they lie, and transformed by every item as it needs them
    Py_ssize_t at_once              # channels whose terms are transformed at once; all where weights are packed

cdef struct ConvJob:
    ConvSizes p
    ConvTiling t
    WinogradTiling wino
    void *x
    void *w
    void *bias
    void *y
    Py_ssize_t xn, xc
    Py_ssize_t xs[3]
    Py_ssize_t yn, yc
    Py_ssize_t ys[3]
    Py_ssize_t o_splits             # output channels are also split between items
    Py_ssize_t workspace_bytes      # of one thread, whole cache lines; this and the offsets are set by lay_out()
    Py_ssize_t slab_at, panels_at, dense_at     # byte offsets in the workspace

cdef struct WeightGradTiling:
    int by_lanes                    # 1: outer products, lanes are output channels; 0: dot products along rows
    int across                      # dot products run across the rows of a plane
    int in_place                    # no padding: outer products may read the input where it lies
    int swapped                     # 1x1: x is the output's gradient and y the input
    Py_ssize_t chunks               # the boxes of all samples are summed in so many chunks, which are summed in order
    Py_ssize_t c_blocks, o_blocks
    Py_ssize_t run                  # elements of one run of the copied gradient

cdef struct WeightGradJob:
    Watch *watch                    # asked at every box, for an item may have many
    ConvJob conv                    # y is read: the gradient of the output; w is written: (G, O, C, taps), contiguous
    WeightGradTiling t
    void *partial                   # (chunks, G, O, C, taps), or w where there is one chunk
    Py_ssize_t hop                  # elements between the inputs of neighbouring outputs; lay_out(): 1, as in the slab
    Py_ssize_t grads_at, sums_at    # byte offsets in the workspace, set by lay_out()

# ---------------------------------------------------------------- pools

cdef struct PoolSizes:
    Py_ssize_t N, C
    Py_ssize_t size[3]
    Py_ssize_t kernel[3]
    Py_ssize_t stride[3]
    Py_ssize_t dilation[3]
    Py_ssize_t before[3]
    Py_ssize_t after[3]
    Py_ssize_t out[3]
    int adaptive                    # windows from first and count instead of kernel, stride, before
    int include_pad

cdef struct PoolTiling:
    Py_ssize_t rows                 # output rows of one item (1 where neither kept nor tapped)
    Py_ssize_t blocks               # items of one plane and depth
    int doubled[3]                  # windows of this axis by doubling
    int kept                        # reduced rows are kept for all windows of an item; 0: reduced again for each
    int tapped                      # indices by taps, on whole vectors; 0: window by window

cdef struct PoolJob:
    PoolSizes p
    PoolTiling t
    void *x
    void *y
    void *index                     # int64, or NULL
    Py_ssize_t workspace_bytes      # of one thread, set by lay_out()
    int op                          # PoolOp
    int indexed
    double divide                   # divisor_override, or 0
    Py_ssize_t xn, xc
    Py_ssize_t xs[3]
    Py_ssize_t yn, yc
    Py_ssize_t ys[3]
    Py_ssize_t *first[3]            # first valid tap of each output, an axis
    Py_ssize_t *count[3]            # valid taps of each output
    Py_ssize_t *divisor[3]          # divisor factor of each output (average)

cdef struct PoolGradTiling:
    Py_ssize_t rows, blocks         # input rows of one item, items of one plane
    Py_ssize_t outs                 # maxima: output rows whose reduced input rows are held at once
    int pairs                       # maxima: along H by doubling
    int doubled                     # maxima: along W by doubling

cdef struct PoolGradJob:
    Watch *watch                    # asked at every block of output rows, for an item may have many
    PoolJob pool                    # x is the input (maxima only); y is read: the gradient of the output; indexed: the
    #                                 positions of maxima are given in `index`. pool.t is not read
    PoolGradTiling t
    void *gx                        # contiguous
    Py_ssize_t *start[2]            # outputs whose windows hold an input row of D or H: list[start[i]:start[i + 1]]
    Py_ssize_t *list[2]

# ---------------------------------------------------------------- tables

# One item of a job, which depends on nothing but the job: any thread may take it. The workspace is the thread's own,
# starts a cache line and holds nothing from before.
ctypedef void (*item_run)(void *job, Py_ssize_t item, char *workspace) noexcept nogil

cdef struct KernelTable:
    # What a kernel is to the runner, in a capsule "cconv.kernel". Every function takes the kernel's own job; those of
    # `phases` take the first of t.phases neighbouring jobs, pack and packed_size any one of them.
    const char *name
    int lanes, tile_rows
    item_run run_item
    Py_ssize_t (*items)(void *job) noexcept nogil           # before output channels are split by o_splits
    void (*lay_out)(void *job) noexcept nogil               # sets the offsets and workspace_bytes from sizes and tiling
    Py_ssize_t (*packed_size)(void *job) noexcept nogil     # elements that pack() writes
    Py_ssize_t (*pack_items)(void *job) noexcept nogil
    item_run pack_item              # from job.w, where a workspace would be to all that is packed; NULL: weights are
    #                                 read as they lie
    Py_ssize_t (*reduce_items)(void *job) noexcept nogil
    item_run reduce_item            # sums the chunks of a weight gradient, after all items; else NULL
    double grain                    # work that is worth a thread: multiply-adds, of pools elements
    int chunk                       # items that a thread takes at once
    double refill                   # output channels may be split to share items out evenly: filling panels again takes
    #                                 the time of so many of them; 0: they may not
    Py_ssize_t split_least          # a split of output channels has at least so many; 0: never split

ctypedef void (*convert_run)(void *half, void *real, Py_ssize_t n) noexcept nogil

cdef struct ConvertTable:
    # conversion of n elements of one dtype of 16 bits, in a capsule "cconv.convert"
    convert_run load                # half -> real
    convert_run store               # real -> half
