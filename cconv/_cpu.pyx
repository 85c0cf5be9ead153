"""Which instruction sets the processor (and its operating system) can run, asked before any such code is loaded."""

cdef extern from *:
    """
    #if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    static int cconv_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
    static int cconv_avx512(void) {
        return cconv_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    }
    static int cconv_avx512vnni(void) { return cconv_avx512() && __builtin_cpu_supports("avx512vnni"); }
    #else
    static int cconv_avx2(void) { return 0; }
    static int cconv_avx512(void) { return 0; }
    static int cconv_avx512vnni(void) { return 0; }
    #endif
    #if defined(__clang__)
    #define CCONV_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define CCONV_COMPILER "gcc " __VERSION__
    #elif defined(_MSC_VER)
    #define CCONV_COMPILER "msvc"
    #else
    #define CCONV_COMPILER "unknown"
    #endif
    """
    int cconv_avx2() nogil
    int cconv_avx512() nogil
    int cconv_avx512vnni() nogil
    const char *CCONV_COMPILER

cdef extern from "stamp.h":
    const char *CCONV_STAMP_STRING

compiler = CCONV_COMPILER.decode()
stamp = CCONV_STAMP_STRING.decode()


def supported():
    """Names of the instruction sets this processor runs, slowest first."""
    names = ["baseline"]
    if cconv_avx2():
        names.append("avx2")
    if cconv_avx512():
        names.append("avx512")
    return names


def extensions():
    """Names of the instructions beside them that multiply bytes."""
    return ["avx512vnni"] if cconv_avx512vnni() else []
