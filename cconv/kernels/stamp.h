/* Which build a module belongs to: the version and a digest of job.pxd, set by setup.py; see cconv/_version.py. */
#ifndef CCONV_STAMP_H
#define CCONV_STAMP_H
#define CCONV_STAMP_TEXT_(x) #x
#define CCONV_STAMP_TEXT(x) CCONV_STAMP_TEXT_(x)
#ifdef CCONV_STAMP
#define CCONV_STAMP_STRING CCONV_STAMP_TEXT(CCONV_STAMP)
#else
#define CCONV_STAMP_STRING "none"
#endif
#endif
