/* cconv for C and C++: convolution and pooling on raw pointers, without the GIL, in a program that holds a Python
 * interpreter (an extension module, or one that embeds it). Nothing is linked; cconv.get_include() is the folder.
 *
 *     const cconv_api *cconv = cconv_import();          // with the GIL, once; NULL: a Python error is set
 *     cconv_conv_spec spec = {0};                       // then dtype, rank, batch, channels, input, kernel, ...
 *     void *plan;
 *     int status = cconv->conv_init(&spec, &plan);      // checks, plans; fills spec.output
 *     status = cconv->conv_run(plan, x, w, bias, y, 1);
 *     cconv->conv_free(plan);
 *
 * cconv/capi.pxd says what everything means: these are its functions, with its structs and numbers.
 * ABI rule: functions may be added at the end of cconv_api (a caller that needs them looks at `size`); structs, numbers
 * and signatures never change within a version. cconv_import refuses another version, and a cconv with fewer functions
 * than this header. */
#ifndef CCONV_H
#define CCONV_H
#include <Python.h>

enum { CCONV_ABI_VERSION = 1 };
enum { CCONV_FLOAT32 = 0, CCONV_FLOAT64 = 1 };
enum { CCONV_PAD_ZEROS = 0, CCONV_PAD_REFLECT = 1, CCONV_PAD_REPLICATE = 2, CCONV_PAD_CIRCULAR = 3 };
enum { CCONV_POOL_MAX = 0, CCONV_POOL_AVERAGE = 2 };
enum { CCONV_OK = 0, CCONV_BAD_SPEC = 1, CCONV_NO_MEMORY = 2, CCONV_NULL = 3, CCONV_UNEXPECTED = 4, CCONV_STOPPED = 5 };

typedef struct {
    int dtype;
    int rank;       /* spatial axes, 1 to 3; arrays below have one value for each, in the first places */
    int transposed;
    int padding_mode;
    Py_ssize_t batch, in_channels, out_channels, groups;
    Py_ssize_t input[3], kernel[3], stride[3];
    Py_ssize_t before[3], after[3]; /* padding */
    Py_ssize_t dilation[3];
    Py_ssize_t output_padding[3];   /* transposed only */
    Py_ssize_t output[3];           /* set by conv_init */
} cconv_conv_spec;

typedef struct {
    int dtype;
    int rank;
    int op;
    int ceil_mode;
    int count_include_pad;
    int indices;    /* maxima: whether pool_run is given a place for them */
    Py_ssize_t batch, channels;
    Py_ssize_t input[3], kernel[3], stride[3];
    Py_ssize_t before[3], after[3];
    Py_ssize_t dilation[3];
    Py_ssize_t divisor_override;    /* 0: none */
    Py_ssize_t output[3];           /* set by pool_init; given to adaptive_pool_init */
} cconv_pool_spec;

typedef struct {
    int abi_version;
    int size;       /* of this struct, as cconv was built */
    const char *(*status_text)(int status);
    int (*conv_init)(cconv_conv_spec *spec, void **plan);
    int (*conv_run)(void *plan, const void *x, const void *weight, const void *bias, void *y, int threads);
    int (*conv_pack)(void *plan, const void *weight, void **packed);
    int (*conv_run_packed)(void *plan, const void *x, const void *packed, const void *bias, void *y, int threads);
    void (*conv_free_packed)(void *packed);
    void (*conv_free)(void *plan);
    int (*pool_init)(cconv_pool_spec *spec, void **plan);
    int (*pool_run)(void *plan, const void *x, void *y, long long *indices, int threads);
    void (*pool_free)(void *plan);
    int (*adaptive_pool_init)(cconv_pool_spec *spec, void **plan);
    int (*lp_pool_init)(cconv_pool_spec *spec, double norm_type, void **plan);
    void (*set_look)(int (*look)(void *context), void *context);
} cconv_api;

/* With the GIL. NULL: a Python error is set. The table lives as long as the interpreter. */
static inline const cconv_api *cconv_import(void)
{
    const cconv_api *api = NULL;
    PyObject *module = PyImport_ImportModule("cconv.capi");
    PyObject *table = module ? PyObject_GetAttrString(module, "table") : NULL;
    if (table) api = (const cconv_api *)PyCapsule_GetPointer(table, "cconv.capi.table");
    Py_XDECREF(table);
    Py_XDECREF(module);
    if (api && (api->abi_version != CCONV_ABI_VERSION || api->size < (int)sizeof(cconv_api))) {
        PyErr_Format(PyExc_ImportError,
                     "the installed cconv has ABI version %d and a table of %d bytes, this module was compiled for "
                     "version %d and %d bytes: install the cconv that it was compiled with, or a later one",
                     api->abi_version, api->size, CCONV_ABI_VERSION, (int)sizeof(cconv_api));
        return NULL;
    }
    return api;
}
#endif
