# cython: language_level=3, cdivision=True
"""Convolutions: a strategy's steps filled into C structs, run for functions, prepacked weights and other languages."""
from cconv._plan.machine import Kernel

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from cconv._run.drive cimport INTERRUPTED, OK, Share, Status, drive, multiply_adds, share, useful
from cconv._run.memory cimport (Workspace, delivered, give_workspace, new_output, new_workspace,
                                take_workspace)
from cconv._run.operand cimport Operand, hold_none, release, take_dense, take_input
from cconv._run.runner cimport Program, fields, raise_set, table_of
from cconv._run.threads cimport Task, allowed_threads, crowded, enter_call, leave_call, start_threads, watch
from cconv.kernels.items cimport lines
from cconv.kernels.job cimport ConvJob, KernelTable, Watch, item_run

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

stamp = CCONV_STAMP_STRING.decode()

cdef enum:
    PHASES_MOST = 8                 # jobs that run as one, as in _plan/direct.py
    MOVED = 32768                   # weights that are worth a thread, and a chunk of them: about 30 us

# ---------------------------------------------------------------- weights

ctypedef fused element:
    uint32_t
    uint64_t


cdef struct Gather:
    ConvCode *code
    const void *w
    char *block
    char *scratch


cdef void gather_taps(const element *w, const Gather *here, Py_ssize_t g, Py_ssize_t c0) noexcept nogil:
    """to[g, o, c, t] = w[g, c, o, taps[t]] of 16 channels: they are read once for all slots with taps."""
    cdef const ConvCode *code = here.code
    cdef Py_ssize_t o, _c, c1 = min(c0 + 16, code.C), t
    cdef const element *from_
    cdef element *to
    cdef Slot *slot
    cdef int i
    for o in range(code.O):
        for i in range(code.slot_count):
            slot = &code.slots[i]
            if slot.taps == NULL:
                continue
            to = <element *>(here.scratch + slot.raw if slot.raw >= 0 else here.block + slot.at)
            to += ((g * code.O + o) * code.C + c0) * slot.count
            from_ = w + ((g * code.C + c0) * code.O + o) * code.K
            for _c in range(c0, c1):
                for t in range(slot.count):
                    to[t] = from_[slot.taps[t]]
                to += slot.count
                from_ += code.O * code.K


cdef void gather_item(void *job, Py_ssize_t item, char *_workspace) noexcept nogil:
    """Item = (group, 16 channels)."""
    cdef const Gather *here = <const Gather *>job
    cdef Py_ssize_t blocks = (here.code.C + 15) // 16
    if here.code.itemsize == 4:
        gather_taps(<const uint32_t *>here.w, here, item // blocks, item % blocks * 16)
    else:
        gather_taps(<const uint64_t *>here.w, here, item // blocks, item % blocks * 16)


cdef Task moving(item_run run, void *job, Py_ssize_t items, double elements, ConvCall *call) noexcept nogil:
    """A task that moves so many elements, without a workspace; the tracer is not told."""
    cdef Task task
    task.name, task.dtype = NULL, NULL
    task.run, task.job, task.items = run, job, items
    task.chunk = <Py_ssize_t>(MOVED * items / elements)
    task.threads = useful(MOVED, items, elements, call.threads)
    task.workspace, task.workspace_bytes, task.signals = NULL, 0, call.signals
    return task


cdef Status prepare(ConvCode *code, ConvCall *call, bint keep) noexcept nogil:
    """The weights as the steps read them, in the block, to `keep` also those that could be read where they lie.

    The workspace holds what is gathered to be packed."""
    cdef Py_ssize_t size
    cdef Gather taken
    cdef ConvJob job
    cdef Slot *slot
    cdef Task task
    cdef int i
    if code.gathers:
        taken.code, taken.w, taken.block, taken.scratch = code, call.w, call.block, call.workspace
        task = moving(gather_item, &taken, code.G * ((code.C + 15) // 16), <double>code.G * code.C * code.O * code.K,
                      call)
        if drive(&task) != OK:
            return INTERRUPTED
    for i in range(code.slot_count):
        slot = &code.slots[i]
        size = code.G * code.O * code.C * slot.count
        if size == 0:
            continue
        if slot.packer != NULL:
            job = code.jobs[slot.step]
            job.w = call.w if slot.taps == NULL else call.workspace + slot.raw
            task = moving(slot.packer.pack_item, &job, slot.packer.pack_items(&job), size, call)
            task.workspace = call.block + slot.at
            if drive(&task) != OK:
                return INTERRUPTED
        elif slot.lies and keep:
            memcpy(call.block + slot.at, call.w, size * code.itemsize)
    return OK


# ---------------------------------------------------------------- steps

cdef size_t workspace_bytes(ConvCode *code, int threads) noexcept nogil:
    """What run() needs of them."""
    cdef Share shared
    cdef size_t most = 0
    cdef int i = 0
    while i < code.count:
        if computes(&code.jobs[i]):
            shared = share(code.steps[i].table, &code.jobs[i], code.work, threads, False)
            most = max(most, <size_t>(shared.threads * code.jobs[i].workspace_bytes))
        i += max(1, code.jobs[i].t.phases)
    return most


cdef int conv_threads(ConvCode *code, int allowed) noexcept nogil:
    """Threads that run() uses of them."""
    cdef Share shared
    cdef int most = 1, i = 0
    while i < code.count and most < allowed:
        if computes(&code.jobs[i]):
            shared = share(code.steps[i].table, &code.jobs[i], code.work, allowed, False)
            most = max(most, shared.threads)
        i += max(1, code.jobs[i].t.phases)
    return most


cdef bint computes(ConvJob *job) noexcept nogil:
    return job.p.N * job.p.out[0] * job.p.out[1] * job.p.out[2] != 0


cdef void point(ConvCode *code, int i, ConvCall *call, ConvJob *job) noexcept nogil:
    """Sets a step's job on its part of the arrays."""
    cdef Step *step = &code.steps[i]
    cdef Slot *slot = &code.slots[step.slot]
    cdef Py_ssize_t itemsize = code.itemsize
    cdef int a
    job.x, job.y, job.bias = call.x, call.y, call.bias
    job.w = call.w if slot.lies and call.w != NULL else call.block + slot.at
    job.xn, job.xc, job.yn, job.yc = call.xn, call.xc, call.yn, call.yc
    for a in range(3):
        job.y = <char *>job.y + step.first[a] * call.ys[a] * itemsize
        job.ys[a] = call.ys[a] * step.step[a]
        job.x = <char *>job.x + step.x_first[a] * call.xs[a] * itemsize
        job.xs[a] = call.xs[a] * step.x_step[a]


cdef Status run_step(ConvCode *code, int i, int n, ConvCall *call) noexcept nogil:
    """Step i, which is one job with the n - 1 behind it."""
    cdef ConvJob jobs[PHASES_MOST]
    cdef KernelTable *table = code.steps[i].table
    cdef Share shared = share(table, &code.jobs[i], code.work, call.threads, crowded())
    cdef Task task
    cdef int j
    for j in range(n):
        jobs[j] = code.jobs[i + j]
        point(code, i + j, call, &jobs[j])
        jobs[j].o_splits = shared.splits
    task.name, task.dtype = table.name, code.dtype
    task.run, task.job, task.items, task.chunk = table.run_item, jobs, shared.items, table.chunk
    task.threads = shared.threads
    task.workspace, task.workspace_bytes = call.workspace, jobs[0].workspace_bytes
    task.signals = call.signals
    return drive(&task)


cdef Status run(ConvCode *code, ConvCall *call) noexcept nogil:
    cdef Status status
    cdef int i = 0, n
    while i < code.count:
        n = <int>max(1, code.jobs[i].t.phases)
        if computes(&code.jobs[i]):
            status = run_step(code, i, n, call)
            if status != OK:
                return status
        i += n
    return OK


# ---------------------------------------------------------------- programs

cdef class ConvProgram(Program):
    """A convolution of given shapes, as its strategy's steps. The arrays of go() are (x, weight, bias or None)."""

    def __cinit__(self):
        memset(&self.code, 0, sizeof(ConvCode))

    def __dealloc__(self):
        PyMem_Free(self.code.jobs)
        PyMem_Free(self.code.steps)
        PyMem_Free(self.code.slots)
        PyMem_Free(self.code.taps)

    def __init__(self, strategy, int rank, bint batched, out_shape, weight_shape):
        cdef ConvCode *code = &self.code
        cdef int i, count = len(strategy.steps)
        self.shape_up(strategy, rank, batched, out_shape)
        self.form.line = strategy.flat
        if strategy.machine.real:
            table_of(strategy.machine, Kernel.WINOGRAD)  # loaded now: when it is needed, memory may be short
        self.weight_shape = weight_shape
        whole = strategy.whole
        code.G, code.C, code.O = whole.G, whole.C, whole.O
        code.K = whole.kernel[0] * whole.kernel[1] * whole.kernel[2]
        code.itemsize = self.form.itemsize
        code.dtype = <PyObject *>strategy.machine.dtype
        code.jobs = <ConvJob *>PyMem_Calloc(max(1, count), sizeof(ConvJob))
        code.steps = <Step *>PyMem_Calloc(max(1, count), sizeof(Step))
        code.slots = <Slot *>PyMem_Calloc(max(1, count), sizeof(Slot))
        if code.jobs == NULL or code.steps == NULL or code.slots == NULL:
            raise MemoryError("cconv: no memory for a plan")
        self.slot_keys = []
        for i in range(count):
            self.fill_step(i, strategy.steps[i])
            code.count = i + 1
        i = 0
        while i < count:
            code.steps[i].table.lay_out(&code.jobs[i])
            i += max(1, code.jobs[i].t.phases)
        self.list_taps()
        self.fill_slots()

    cdef int fill_step(self, int i, step) except -1:
        """One job, its places in the arrays, and the slot of its weights."""
        cdef ConvJob *job = &self.code.jobs[i]
        cdef Step *to = &self.code.steps[i]
        cdef Slot *slot
        cdef int a
        plan = step.plan
        job.p = fields(step.problem, job.p)
        if step.kernel is Kernel.WINOGRAD:
            job.wino = fields(plan, job.wino)
            job.t.packed = not job.wino.fused
        else:
            job.t = fields(plan, job.t)
            if not 1 <= job.t.phases <= PHASES_MOST:
                raise ValueError(f"cconv: {job.t.phases} phases in one step")
        job.o_splits = 1
        to.table = table_of(self.strategy.machine, step.kernel)
        for a in range(3):
            to.first[a], to.step[a] = step.first[a], step.step[a]
            to.x_first[a], to.x_step[a] = step.x_first[a], step.x_step[a]
        # steps that read the same taps in the same order share them
        key = (self.strategy.weights[step.weights],
               (step.kernel.value, job.wino.patch, job.wino.high) if job.t.packed else None)
        if key in self.slot_keys:
            to.slot = self.slot_keys.index(key)
        else:
            to.slot = self.code.slot_count
            self.slot_keys.append(key)
            slot = &self.code.slots[to.slot]
            slot.step = i
            slot.packer = to.table if job.t.packed else NULL
            self.code.slot_count += 1
        self.code.work += multiply_adds(job) / max(1, job.t.phases)
        return 0

    cdef int list_taps(self) except -1:
        """Where the taps of each slot lie in the caller's weights."""
        cdef Py_ssize_t total = 0, place
        cdef Py_ssize_t *at
        cdef Slot *slot
        cdef int i
        for taps, _ in self.slot_keys:
            total += 0 if taps is None else len(taps)
        self.code.taps = at = <Py_ssize_t *>PyMem_Calloc(max(1, total), sizeof(Py_ssize_t))
        if at == NULL:
            raise MemoryError("cconv: no memory for a plan")
        for i in range(self.code.slot_count):
            slot = &self.code.slots[i]
            taps = self.slot_keys[i][0]
            if taps is None:
                slot.count = self.code.K
                continue
            self.code.gathers = True
            slot.taps = at
            slot.count = len(taps)
            for place in taps:
                at[0] = place
                at += 1
        return 0

    cdef int fill_slots(self) except -1:
        """Where each slot's weights lie in a block; behind the others those that a plain call reads where they are."""
        cdef ConvCode *code = &self.code
        cdef Py_ssize_t size, at = 0, raw = 0
        cdef Slot *slot
        cdef int i
        for i in range(code.slot_count):
            slot = &code.slots[i]
            size = code.G * code.O * code.C * slot.count * code.itemsize
            slot.raw = -1
            slot.lies = slot.packer == NULL and slot.taps == NULL
            if slot.packer != NULL and slot.taps != NULL:
                slot.raw = raw
                raw += lines(size)
            if slot.packer != NULL:
                size = slot.packer.packed_size(&code.jobs[slot.step]) * code.itemsize
            if not slot.lies:
                slot.at = at
                at += lines(size)
        code.block_bytes = code.kept_bytes = at
        code.scratch_bytes = raw
        for i in range(code.slot_count):
            slot = &code.slots[i]
            if slot.lies:
                slot.at = code.kept_bytes
                code.kept_bytes += lines(code.G * code.O * code.C * slot.count * code.itemsize)
        return 0

    def layout(self):
        """What prepared weights depend on beside the weights: programs of equal layouts can share them."""
        return self.dtype, self.weight_shape, tuple(self.slot_keys)

    cpdef Workspace prepare(self, weight):
        """The weights in the kernels' own order, in one block, for run_prepared."""
        cdef ConvCode *code = &self.code
        cdef Workspace block = new_workspace(code.kept_bytes)
        cdef Workspace scratch = take_workspace(code.scratch_bytes)
        cdef Status status
        cdef Watch signals
        cdef ConvCall call
        cdef Operand w
        hold_none(&w, 1)
        watch(&signals)
        call.block, call.workspace, call.signals = block.data, scratch.data, &signals
        call.threads = allowed_threads()
        call.threads = enter_call(call.threads)
        try:
            take_dense(&w, weight, code.itemsize)
            call.w = w.view.buf
            with nogil:
                status = prepare(code, &call, True)
        finally:
            leave_call()
            release(&w)
        give_workspace(scratch)
        if status == INTERRUPTED:
            raise_set()
        return block

    cdef object go(self, tuple arrays, out):
        return self.call(arrays[0], arrays[1], None, arrays[2], out)

    def run_prepared(self, x, Workspace prepared not None, bias, out=None):
        """The result with weights of prepare(), of this program or one of its layout."""
        return self.call(x, None, prepared, bias, out)

    cdef object call(self, x, weight, Workspace prepared, bias, out):
        cdef Operand all[4]
        cdef int i, allowed
        if self.empty:
            return new_output(self.out_shape, self.dtype, self.out_bytes) if out is None else out
        hold_none(all, 4)
        allowed = allowed_threads()
        allowed = enter_call(allowed)
        try:
            take_input(&all[0], x, &self.form)
            if weight is not None:
                take_dense(&all[1], weight, self.form.itemsize)
            if bias is not None:
                take_dense(&all[2], bias, self.form.itemsize)
            y = self.take_result(all, 3, out)
            self.compute(all, prepared, allowed)
        finally:
            leave_call()
            for i in range(4):
                release(&all[i])
        return delivered(y, out)

    cdef int compute(self, Operand *all, Workspace prepared, int allowed) except -1:
        cdef ConvCode *code = &self.code
        cdef Workspace space
        cdef ConvCall call
        cdef Status status
        cdef Watch signals
        cdef size_t block = 0, size
        cdef bint raw = prepared is None
        cdef int a
        # before the workspace: a thread that cannot be started should cost none
        call.threads = allowed if allowed == 1 else start_threads(conv_threads(code, allowed))
        size = workspace_bytes(code, call.threads)
        call.x, call.w, call.y = all[0].view.buf, all[1].view.buf, all[3].view.buf
        call.bias = all[2].view.buf if all[2].held else NULL
        call.xn, call.xc, call.yn, call.yc = all[0].n, all[0].c, all[3].n, all[3].c
        for a in range(3):
            call.xs[a], call.ys[a] = all[0].s[a], all[3].s[a]
        if raw:
            # the scratch lies where the kernels work afterwards
            block = code.block_bytes
            size = max(size, code.scratch_bytes)
        space = take_workspace(block + size)
        call.block = space.data if raw else prepared.data
        call.workspace = space.data + block
        call.signals = &signals
        watch(&signals)
        with nogil:
            status = prepare(code, &call, False) if raw else OK
            if status == OK:
                status = run(code, &call)
        give_workspace(space)
        if status == INTERRUPTED:
            raise_set()
        return 0

    def report(self):
        """What explain prints of it, with the threads that a call would use now."""
        cdef ConvCode *code = &self.code
        cdef ConvJob *job = &code.jobs[0]
        cdef Share shared
        cdef int i = 0, threads = 1, limit = allowed_threads()
        step = self.strategy.steps[0]
        box = job.t.box
        if step.kernel is Kernel.WINOGRAD:
            m = self.strategy.machine
            box = (job.wino.panels * 2 * m.lanes, job.wino.high - job.p.kernel[1] + 1,
                   job.wino.patch - job.p.kernel[2] + 1)
        while i < code.count:
            if computes(&code.jobs[i]):
                shared = share(code.steps[i].table, &code.jobs[i], code.work, limit, False)
                threads = max(threads, shared.threads)
            i += max(1, code.jobs[i].t.phases)
        return {
            "kernel": step.kernel.value,
            "tile": (code.steps[0].table.tile_rows, 2 * code.steps[0].table.lanes),
            "box": tuple(box),
            "workspace": workspace_bytes(code, limit),
            "threads": threads,
        }
