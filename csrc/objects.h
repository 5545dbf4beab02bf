/* What the parts of the extension module `_objects` share. CPython's stable ABI alone. */
#ifndef FASTCONV_OBJECTS_H
#define FASTCONV_OBJECTS_H

#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* The beginning of NumPy's arrays, and of their dtypes. */
struct array {
    PyObject_HEAD
    char *data;
    int dimensions;
    Py_ssize_t *shape;
    Py_ssize_t *strides;
    PyObject *base;
    struct dtype *dtype;
    int flags;
};
struct dtype {
    PyObject_HEAD
    PyTypeObject *type;
    char kind, letter, byteorder, former_flags;
    int number;
};
enum { CONTIGUOUS = 0x1, ALIGNED = 0x100 };

/* Words of a program: addresses and lengths of its three parts, and whether it is brief. */
enum { BRIEF = 6, PROGRAM_WORDS };
/* Arrays of a call. */
enum { MOST_ARRAYS = 30 };

typedef int (*drive_function)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, const char *,
                              int64_t, int64_t);

/* NumPy's class of arrays, the class of parameters, and the driver; `objects.c` has them. */
extern PyTypeObject *plain_array, *parameter;
extern drive_function drive;

/* Add the class `Repeats` to the module: 0, or -1 for an error. */
int add_repeats(PyObject *module);
/* begin_repeats(interface, environment, names, contexts, state, threads, memory): NumPy's binary
 * interface as a capsule, and what a repeated call looks at; whether this NumPy can be used. */
PyObject *begin_repeats(PyObject *module, PyObject *given);
/* pause_repeats(whether): leave all calls to Python. */
PyObject *pause_repeats(PyObject *module, PyObject *whether);

#endif
