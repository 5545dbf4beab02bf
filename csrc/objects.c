/* What a call does with its arguments as Python objects: a key of all that a plan depends on, and
 * the run of a program on NumPy arrays. fastconv/functional/again.py has the same in Python.
 *
 * An array's fields are read where NumPy's binary interface has them; Python looks first whether
 * they exist (`describe`). In CPython's stable ABI, a module of its own: cffi passes no
 * objects. Calls that are repeated whole are in repeat.c.
 */
#include "objects.h"

PyTypeObject *plain_array, *parameter;
drive_function drive;
static PyObject *address_name;

/* Room for the shapes of a call's arrays. */
enum { MOST_WORDS = 64 };
struct key {
    PyObject *parts;  /* a list */
    PyObject *arrays; /* a list */
    PyObject *out, *owner;
    int64_t words[MOST_WORDS];
    int count;
};

static int is_array(PyObject *value)
{
    return Py_TYPE(value) == plain_array || Py_TYPE(value) == parameter;
}

/* Whether a tuple holds ints alone, or tuples of them, or a name and its numbers. */
static int is_plain(PyObject *values)
{
    const Py_ssize_t count = PyTuple_Size(values);
    int named = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *value = PyTuple_GetItem(values, i);
        const PyTypeObject *type = Py_TYPE(value);
        if (i == 0 && type == &PyUnicode_Type) {
            named = 1;
        }
        if (type == &PyLong_Type || (named && type == &PyUnicode_Type)) {
            continue;
        }
        if (named && type == &PyFloat_Type && PyFloat_AsDouble(value) != 0) {
            continue;
        }
        if (named || type != &PyTuple_Type || !is_plain(value)) {
            return 0;
        }
    }
    return 1;
}

/* Take an argument into a key: 1; 0 where it is out of the ordinary, -1 for an error. */
static int take(struct key *key, PyObject *value, int is_out)
{
    const PyTypeObject *type = Py_TYPE(value);
    if (is_array(value)) {
        const struct array *array = (const struct array *)value;
        const int contiguous = array->flags & CONTIGUOUS;
        const int size = is_out ? 0 : (contiguous ? 1 : 2) * array->dimensions + 2;
        if (!(array->flags & ALIGNED) || (is_out && !contiguous) ||
            key->count + size > MOST_WORDS) {
            return 0;
        }
        if (!is_out && PyList_Size(key->arrays) >= MOST_ARRAYS) {
            return 0;
        }
        if (PyList_Append(key->parts, (PyObject *)type) < 0) {
            return -1;
        }
        if (is_out) {
            key->out = value;
            return 1;
        }
        /* Of arrays that are not contiguous, strides too, and another number to distinguish them. */
        key->words[key->count++] = contiguous ? array->dimensions : -1 - array->dimensions;
        for (int i = 0; i < array->dimensions; i++) {
            key->words[key->count++] = array->shape[i];
        }
        for (int i = 0; !contiguous && i < array->dimensions; i++) {
            key->words[key->count++] = array->strides[i];
        }
        key->words[key->count++] =
            (int64_t)array->dtype->number * 256 + (unsigned char)array->dtype->byteorder;
        if (key->owner == NULL && type == parameter) {
            key->owner = value;
        }
        return PyList_Append(key->arrays, value) < 0 ? -1 : 1;
    }
    if (type == &PyBool_Type || type == &PyFloat_Type) {
        /* Equal to an int, and another value. */
        if (PyList_Append(key->parts, (PyObject *)type) < 0) {
            return -1;
        }
    } else if (value != Py_None && type != &PyLong_Type && type != &PyUnicode_Type &&
               !(type == &PyTuple_Type && is_plain(value))) {
        return 0;
    }
    return PyList_Append(key->parts, value) < 0 ? -1 : 1;
}

static int take_all(struct key *key, PyObject *arguments, PyObject *named)
{
    const Py_ssize_t count = PyTuple_Size(arguments);
    int took = 1;
    for (Py_ssize_t i = 0; i < count && took > 0; i++) {
        took = take(key, PyTuple_GetItem(arguments, i), 0);
    }
    PyObject *name, *value;
    for (Py_ssize_t at = 0; took > 0 && PyDict_Next(named, &at, &name, &value);) {
        took = PyList_Append(key->parts, name) < 0 ? -1
               : take(key, value, PyUnicode_CompareWithASCIIString(name, "out") == 0);
    }
    return took;
}

/* key_of(state, arguments, named): (key, arrays, out, owner), or None for what is out of the
 * ordinary. `owner` is the first Parameter. */
static PyObject *key_of(PyObject *module, PyObject *const *given, Py_ssize_t count)
{
    (void)module;
    PyObject *result = NULL;
    if (count != 3 || !PyTuple_Check(given[1]) || !PyDict_Check(given[2])) {
        PyErr_SetString(PyExc_TypeError, "key_of takes an object, a tuple and a dict");
        return NULL;
    }
    PyObject *const state = given[0], *const arguments = given[1], *const named = given[2];
    struct key key = {.parts = PyList_New(0), .arrays = PyList_New(0)};
    if (key.parts == NULL || key.arrays == NULL || PyList_Append(key.parts, state) < 0) {
        goto done;
    }
    const int took = take_all(&key, arguments, named);
    if (took == 0) {
        result = Py_None;
        Py_INCREF(result);
    } else if (took > 0) {
        PyObject *shapes = PyBytes_FromStringAndSize((const char *)key.words,
                                                     key.count * (Py_ssize_t)sizeof key.words[0]);
        if (shapes == NULL || PyList_Append(key.parts, shapes) < 0) {
            Py_XDECREF(shapes);
            goto done;
        }
        Py_DECREF(shapes);
        PyObject *parts = PyList_AsTuple(key.parts), *arrays = PyList_AsTuple(key.arrays);
        if (parts != NULL && arrays != NULL) {
            result = PyTuple_Pack(4, parts, arrays, key.out != NULL ? key.out : Py_None,
                                  key.owner != NULL ? key.owner : Py_None);
        }
        Py_XDECREF(parts);
        Py_XDECREF(arrays);
    }
done:
    Py_XDECREF(key.parts);
    Py_XDECREF(key.arrays);
    return result;
}

/* run(program, arrays, workspace, scratch, threads): the buffers are arrays or None, in order; then
 * come workspace and scratch memory. The program has the address of its words. */
static PyObject *run(PyObject *module, PyObject *const *given, Py_ssize_t given_count)
{
    (void)module;
    if (given_count != 5 || !PyTuple_Check(given[1]) || PyTuple_Size(given[1]) > MOST_ARRAYS) {
        PyErr_SetString(PyExc_TypeError, "run takes a program, a tuple of arrays and numbers");
        return NULL;
    }
    const Py_ssize_t count = PyTuple_Size(given[1]);
    int64_t addresses[MOST_ARRAYS + 2], parts[PROGRAM_WORDS];
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *array = PyTuple_GetItem(given[1], i);
        addresses[i] =
            array == Py_None ? 0 : (int64_t)(intptr_t)((const struct array *)array)->data;
    }
    addresses[count] = PyLong_AsLongLong(given[2]);
    addresses[count + 1] = PyLong_AsLongLong(given[3]);
    const int64_t threads = PyLong_AsLongLong(given[4]);
    PyObject *address = PyObject_GetAttr(given[0], address_name);
    if (address == NULL) {
        return NULL;
    }
    const int64_t program = PyLong_AsLongLong(address);
    Py_DECREF(address);
    if (PyErr_Occurred()) {
        return NULL;
    }
    memcpy(parts, (const void *)(intptr_t)program, sizeof parts);
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = drive(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5],
                   (const char *)addresses, count + 2, parts[BRIEF] ? -threads : threads);
    Py_END_ALLOW_THREADS
    if (failed) {
        return PyErr_NoMemory();
    }
    Py_INCREF(Py_None);
    return Py_None;
}

/* describe(array): what is read of it, for a look whether NumPy has it there. */
static PyObject *describe(PyObject *module, PyObject *value)
{
    (void)module;
    const struct array *array = (const struct array *)value;
    PyObject *shape = PyTuple_New(array->dimensions);
    for (int i = 0; shape != NULL && i < array->dimensions; i++) {
        PyTuple_SetItem(shape, i, PyLong_FromSsize_t(array->shape[i]));
    }
    return Py_BuildValue("LNiCCi", (long long)(intptr_t)array->data, shape, array->flags,
                         array->dtype->kind, array->dtype->byteorder, array->dtype->number);
}

/* begin(ndarray, drive): the type of arrays, and the address of the driver. */
static PyObject *begin(PyObject *module, PyObject *given)
{
    (void)module;
    PyObject *arrays;
    long long address;
    if (!PyArg_ParseTuple(given, "OL", &arrays, &address)) {
        return NULL;
    }
    address_name = PyUnicode_InternFromString("address");
    if (address_name == NULL) {
        return NULL;
    }
    Py_INCREF(arrays);
    plain_array = (PyTypeObject *)arrays;
    drive = (drive_function)(intptr_t)address;
    Py_INCREF(Py_None);
    return Py_None;
}

/* know_parameters(type): the class of arrays that keep what is made of them. */
static PyObject *know_parameters(PyObject *module, PyObject *type)
{
    (void)module;
    Py_INCREF(type);
    parameter = (PyTypeObject *)type;
    Py_INCREF(Py_None);
    return Py_None;
}

/* version(): counts the changes of what Python may call here. */
static PyObject *version(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    return PyLong_FromLong(5);
}

static PyMethodDef methods[] = {
    {"version", version, METH_NOARGS, "Return the number of this interface."},
    {"key_of", (PyCFunction)(void (*)(void))key_of, METH_FASTCALL,
     "Return a call's key, arrays, out and first Parameter."},
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL, "Run a program on arrays."},
    {"describe", describe, METH_O, "Return what is read of an array."},
    {"begin", begin, METH_VARARGS, "Set the arrays' type and the driver."},
    {"begin_repeats", begin_repeats, METH_VARARGS, "Set what repeated calls look at."},
    {"pause_repeats", pause_repeats, METH_O, "Have repeated calls left to Python, or no longer."},
    {"know_parameters", know_parameters, METH_O, "Set the class of parameters."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)add_repeats}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_objects", "Calls as Python objects.", 0, methods, slots, NULL, NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__objects(void)
{
    return PyModuleDef_Init(&definition);
}
