/* The same from C: one image through a convolution, maxima with their indices, and an adaptive average. */
#include "cconv.h"

static const cconv_api *cconv;

static PyObject *run(PyObject *self, PyObject *args)
{
    Py_ssize_t c, h, w, o, k;
    unsigned long long x, weight, y, pooled, indices, average;
    void *plan = NULL, *pool = NULL, *adaptive = NULL;
    int status;
    cconv_conv_spec spec = {0};
    cconv_pool_spec window = {0}, bins = {0};
    if (!PyArg_ParseTuple(args, "nnnnnKKKKKK", &c, &h, &w, &o, &k, &x, &weight, &y, &pooled, &indices, &average))
        return NULL;
    spec.dtype = window.dtype = bins.dtype = CCONV_FLOAT32;
    spec.rank = window.rank = bins.rank = 2;
    spec.batch = window.batch = bins.batch = spec.groups = 1;
    spec.in_channels = c;
    spec.out_channels = window.channels = bins.channels = o;
    spec.input[0] = h, spec.input[1] = w;
    window.op = CCONV_POOL_MAX, window.indices = 1;
    bins.op = CCONV_POOL_AVERAGE;
    for (int a = 0; a < 2; a++) {
        spec.kernel[a] = k;
        spec.stride[a] = spec.dilation[a] = window.dilation[a] = 1;
        window.kernel[a] = window.stride[a] = 2;
        bins.output[a] = 3;
    }
    Py_BEGIN_ALLOW_THREADS
    status = cconv->conv_init(&spec, &plan);
    for (int a = 0; a < 2; a++) window.input[a] = bins.input[a] = spec.output[a];
    if (!status) status = cconv->pool_init(&window, &pool);
    if (!status) status = cconv->adaptive_pool_init(&bins, &adaptive);
    if (!status) status = cconv->conv_run(plan, (void *)x, (void *)weight, NULL, (void *)y, 2);
    if (!status) status = cconv->pool_run(pool, (void *)y, (void *)pooled, (long long *)indices, 2);
    if (!status) status = cconv->pool_run(adaptive, (void *)y, (void *)average, NULL, 2);
    cconv->conv_free(plan);
    cconv->pool_free(pool);
    cconv->pool_free(adaptive);
    Py_END_ALLOW_THREADS
    if (status) return PyErr_Format(PyExc_ValueError, "%s", cconv->status_text(status));
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"run", run, METH_VARARGS, "All sizes as integers, all arrays as addresses."}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "capi_c", NULL, -1, methods};

PyMODINIT_FUNC PyInit_capi_c(void)
{
    cconv = cconv_import();
    return cconv ? PyModule_Create(&definition) : NULL;
}
