/* Repeated calls: from a function's arguments to its finished result without Python in between.
 *
 * A table has the calls that a function has served: all that a plan depends on as words (shapes,
 * dtypes, options), and the program that such a call runs. A call that is not in it, or that has
 * anything unusual about it, is left to Python (fastconv/functional/again.py).
 *
 * Plans and parameters are held by weak references alone: what keeps them decides how long they
 * live. Whatever is read of an entry is read before the interpreter's lock is released.
 */
#include "objects.h"

#include <stdlib.h>

/* Words of a key, entries of a table, buffers of a program (arrays, result, two of memory). */
enum { MOST_WORDS = 96, MOST_ENTRIES = 1024, MOST_BUFFERS = MOST_ARRAYS + 3 };
enum { MOST_DIMENSIONS = 8, MOST_DEPTH = 3, MOST_TEXT = 64 };
/* Scratch memory up to so many bytes is on the stack. */
enum { STACK_BYTES = 16 << 10, LINE = 64 };

enum tag { NONE = 1, FALSE_, TRUE_, INTEGER, FLOAT, TEXT, TUPLE, NAME, PLAIN, PARAMETER };

struct key {
    int64_t words[MOST_WORDS];
    int count;
    int arrays;
    const struct array *array[MOST_ARRAYS];
};

struct entry {
    uint64_t hash;
    int64_t *words;
    int word_count;
    PyObject *plan; /* a weak reference */
    PyObject *dtype;
    int dimensions;
    Py_ssize_t shape[MOST_DIMENSIONS];
    int64_t program; /* the address of its words */
    int64_t shared, scratch;
    int serial;
    int order_count;
    signed char order[MOST_ARRAYS]; /* the array of each buffer; -1: none */
    int held_count;
    signed char held_place[MOST_ARRAYS];
    PyObject *held[MOST_ARRAYS]; /* weak references */
};

struct repeats {
    PyObject_HEAD
    struct entry **entries;
    int count, room; /* `room` is a power of two, or 0 */
};

/* NumPy's own function for a new array, by its place in the binary interface. */
typedef PyObject *(*new_array)(PyTypeObject *, PyObject *, int, const Py_ssize_t *,
                               const Py_ssize_t *, void *, int, PyObject *);
enum { VERSION_PLACE = 0, NEW_ARRAY_PLACE = 94 };

static new_array make_array;
/* The environment as a dict, the variables that choices depend on, whether contexts were ever
 * entered ([bool]), and functions: the state of choices, the number of threads, memory. */
static PyObject *environment, *names, *contexts, *state_of, *threads_of, *memory_of;
static int paused;

static int put(struct key *key, int64_t word)
{
    if (key->count >= MOST_WORDS) {
        return 0;
    }
    key->words[key->count++] = word;
    return 1;
}

static int put_text(struct key *key, PyObject *text, enum tag tag)
{
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);
    if (bytes == NULL) {
        PyErr_Clear();
        return 0;
    }
    if (size > MOST_TEXT || !put(key, tag | (int64_t)size << 8)) {
        return 0;
    }
    for (Py_ssize_t at = 0; at < size; at += 8) {
        int64_t word = 0;
        memcpy(&word, bytes + at, (size_t)(size - at < 8 ? size - at : 8));
        if (!put(key, word)) {
            return 0;
        }
    }
    return 1;
}

static int put_array(struct key *key, const struct array *array, int is_parameter)
{
    const int dimensions = array->dimensions;
    if ((array->flags & (CONTIGUOUS | ALIGNED)) != (CONTIGUOUS | ALIGNED) ||
        key->arrays >= MOST_ARRAYS || key->count + dimensions + 3 > MOST_WORDS) {
        return 0;
    }
    key->array[key->arrays++] = array;
    int64_t *words = key->words + key->count;
    *words++ = (is_parameter ? PARAMETER : PLAIN) | (int64_t)dimensions << 8;
    for (int i = 0; i < dimensions; i++) {
        *words++ = array->shape[i];
    }
    *words++ = (int64_t)array->dtype->number * 256 + (unsigned char)array->dtype->byteorder;
    if (is_parameter) {
        *words++ = (int64_t)(intptr_t)array;
    }
    key->count = (int)(words - key->words);
    return 1;
}

/* Add an option, or an array, to a key: whether it can be. */
static int put_value(struct key *key, PyObject *value, int depth)
{
    const PyTypeObject *type = Py_TYPE(value);
    if (type == plain_array || type == parameter) {
        return depth == 0 && put_array(key, (const struct array *)value, type == parameter);
    }
    if (value == Py_None) {
        return put(key, NONE);
    }
    if (type == &PyLong_Type) {
        int overflow;
        const int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
        return !overflow && put(key, INTEGER) && put(key, number);
    }
    if (type == &PyBool_Type) {
        return put(key, value == Py_True ? TRUE_ : FALSE_);
    }
    if (type == &PyFloat_Type) {
        const double number = PyFloat_AsDouble(value);
        int64_t bits;
        memcpy(&bits, &number, sizeof bits);
        return put(key, FLOAT) && put(key, bits);
    }
    if (type == &PyUnicode_Type) {
        return put_text(key, value, TEXT);
    }
    if (type == &PyTuple_Type && depth < MOST_DEPTH) {
        const Py_ssize_t count = PyTuple_Size(value);
        if (!put(key, TUPLE | (int64_t)count << 8)) {
            return 0;
        }
        for (Py_ssize_t i = 0; i < count; i++) {
            if (!put_value(key, PyTuple_GetItem(value, i), depth + 1)) {
                return 0;
            }
        }
        return 1;
    }
    return 0;
}

static int put_all(struct key *key, PyObject *arguments, PyObject *named)
{
    key->count = key->arrays = 0;
    const Py_ssize_t count = PyTuple_Size(arguments);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!put_value(key, PyTuple_GetItem(arguments, i), 0)) {
            return 0;
        }
    }
    PyObject *name, *value;
    for (Py_ssize_t at = 0; PyDict_Next(named, &at, &name, &value);) {
        if (!PyUnicode_Check(name) || !put_text(key, name, NAME) || !put_value(key, value, 0)) {
            return 0;
        }
        /* An array to write to is checked at each call. */
        if (value != Py_None && PyUnicode_CompareWithASCIIString(name, "out") == 0) {
            return 0;
        }
    }
    return 1;
}

static uint64_t hash_of(const struct key *key)
{
    uint64_t hash = (uint64_t)key->count;
    for (int i = 0; i < key->count; i++) {
        hash = (hash ^ (uint64_t)key->words[i]) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* Whether choices follow nothing but the call and the tables in force: 1, 0, or -1 for an error. */
static int is_plain_state(void)
{
    const Py_ssize_t count = PyTuple_Size(names);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (PyDict_GetItemWithError(environment, PyTuple_GetItem(names, i)) != NULL) {
            return 0;
        }
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    if (PyList_GetItem(contexts, 0) == Py_False) {
        return 1;
    }
    PyObject *state = PyObject_CallNoArgs(state_of);
    if (state == NULL) {
        return -1;
    }
    const int plain = state == Py_None;
    Py_DECREF(state);
    return plain;
}

static struct entry **place_of(const struct repeats *self, const struct key *key, uint64_t hash)
{
    const uint64_t mask = (uint64_t)self->room - 1;
    for (uint64_t at = hash & mask;; at = (at + 1) & mask) {
        struct entry **place = &self->entries[at];
        const struct entry *entry = *place;
        if (entry == NULL ||
            (entry->hash == hash && entry->word_count == key->count &&
             memcmp(entry->words, key->words, (size_t)key->count * sizeof key->words[0]) == 0)) {
            return place;
        }
    }
}

static void free_entry(struct entry *entry)
{
    Py_XDECREF(entry->plan);
    Py_XDECREF(entry->dtype);
    for (int i = 0; i < entry->held_count; i++) {
        Py_XDECREF(entry->held[i]);
    }
    free(entry->words);
    free(entry);
}

static void clear(struct repeats *self)
{
    struct entry **entries = self->entries;
    const int room = self->room;
    self->entries = NULL;
    self->count = self->room = 0;
    for (int i = 0; i < room; i++) {
        if (entries[i] != NULL) {
            free_entry(entries[i]);
        }
    }
    free(entries);
}

/* Make room for one more entry: 0, or -1 without memory. */
static int grow(struct repeats *self)
{
    if (self->count >= MOST_ENTRIES) {
        clear(self);
    }
    if (self->room > 2 * self->count) {
        return 0;
    }
    const int room = self->room > 0 ? 2 * self->room : 8;
    struct entry **entries = calloc((size_t)room, sizeof *entries);
    if (entries == NULL) {
        return -1;
    }
    for (int i = 0; i < self->room; i++) {
        if (self->entries[i] != NULL) {
            uint64_t at = self->entries[i]->hash & ((uint64_t)room - 1);
            while (entries[at] != NULL) {
                at = (at + 1) & ((uint64_t)room - 1);
            }
            entries[at] = self->entries[i];
        }
    }
    free(self->entries);
    self->entries = entries;
    self->room = room;
    return 0;
}

/* Have scratch memory and threads for an entry's program: a new reference to what holds the memory
 * and its address; NULL for an error. */
static PyObject *take_memory(int64_t size, int64_t *address)
{
    PyObject *wanted = PyLong_FromLongLong(size);
    PyObject *taken = wanted != NULL ? PyObject_CallFunctionObjArgs(memory_of, wanted, NULL) : NULL;
    Py_XDECREF(wanted);
    if (taken == NULL) {
        return NULL;
    }
    PyObject *place = PyTuple_Check(taken) ? PyTuple_GetItem(taken, 1) : NULL;
    *address = place != NULL ? PyLong_AsLongLong(place) : -1;
    if (PyErr_Occurred()) {
        Py_DECREF(taken);
        return NULL;
    }
    return taken;
}

/* Run a program: 0, or -1 with an error set. */
static int run_program(const int64_t *parts, int64_t *addresses, int count, int64_t shared,
                       int64_t scratch, int64_t threads)
{
    char stack[STACK_BYTES + LINE];
    const int64_t size = shared + scratch * threads;
    int64_t start = 0;
    PyObject *memory = NULL;
    if (size > STACK_BYTES) {
        memory = take_memory(size, &start);
        if (memory == NULL) {
            return -1;
        }
    } else if (size > 0) {
        start = (int64_t)(((uintptr_t)stack + LINE - 1) & ~(uintptr_t)(LINE - 1));
    }
    addresses[count] = start;
    addresses[count + 1] = start + shared;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = drive(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5],
                   (const char *)addresses, count + 2, parts[BRIEF] ? -threads : threads);
    Py_END_ALLOW_THREADS
    Py_XDECREF(memory);
    if (failed) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* run(arguments, named): the result of a call like an earlier one; None: Python's to do. */
static PyObject *repeats_run(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    const struct repeats *repeats = (const struct repeats *)self;
    struct key key;
    if (count != 2 || !PyTuple_Check(given[0]) || !PyDict_Check(given[1])) {
        PyErr_SetString(PyExc_TypeError, "run takes a tuple and a dict");
        return NULL;
    }
    if (repeats->count == 0 || paused || !put_all(&key, given[0], given[1])) {
        goto unusual;
    }
    const int plain = is_plain_state();
    if (plain < 0) {
        return NULL;
    }
    /* Python may have run: the table may be another. */
    if (plain == 0 || repeats->count == 0) {
        goto unusual;
    }
    const struct entry *entry = *place_of(repeats, &key, hash_of(&key));
    if (entry == NULL) {
        goto unusual;
    }
    for (int i = 0; i < entry->held_count; i++) {
        if (PyWeakref_GetObject(entry->held[i]) != (PyObject *)key.array[entry->held_place[i]]) {
            goto unusual;
        }
    }
    PyObject *plan = PyWeakref_GetObject(entry->plan);
    if (plan == Py_None || plan == NULL) {
        goto unusual;
    }
    Py_INCREF(plan);
    int64_t addresses[MOST_BUFFERS], parts[PROGRAM_WORDS];
    const int buffers = entry->order_count;
    for (int i = 0; i < buffers; i++) {
        const int place = entry->order[i];
        addresses[i] = place < 0 ? 0 : (int64_t)(intptr_t)key.array[place]->data;
    }
    memcpy(parts, (const void *)(intptr_t)entry->program, sizeof parts);
    const int64_t shared = entry->shared, scratch = entry->scratch;
    const int serial = entry->serial;
    Py_INCREF(entry->dtype);
    PyObject *result = make_array(plain_array, entry->dtype, entry->dimensions, entry->shape, NULL,
                                  NULL, 0, NULL);
    if (result == NULL) {
        Py_DECREF(plan);
        return NULL;
    }
    addresses[buffers] = (int64_t)(intptr_t)((const struct array *)result)->data;
    int64_t threads = 1;
    if (!serial) {
        PyObject *number = PyObject_CallNoArgs(threads_of);
        threads = number != NULL ? PyLong_AsLongLong(number) : -1;
        Py_XDECREF(number);
    }
    if ((threads < 1 && PyErr_Occurred()) ||
        run_program(parts, addresses, buffers + 1, shared, scratch, threads) < 0) {
        Py_DECREF(result);
        result = NULL;
    }
    Py_DECREF(plan);
    return result;

unusual:
    Py_INCREF(Py_None);
    return Py_None;
}

/* Read a tuple of places of arrays, -1 or up; their number, or -1 for an error. */
static int read_places(PyObject *given, signed char *places, int arrays)
{
    const Py_ssize_t count = PyTuple_Size(given);
    if (count < 0 || count > MOST_ARRAYS) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const long place = PyLong_AsLong(PyTuple_GetItem(given, i));
        if (place < -1 || place >= arrays) {
            return -1;
        }
        places[i] = (signed char)place;
    }
    return (int)count;
}

static int read_shape(PyObject *given, struct entry *entry)
{
    const Py_ssize_t count = PyTuple_Size(given);
    if (count < 0 || count > MOST_DIMENSIONS) {
        return -1;
    }
    entry->dimensions = (int)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        entry->shape[i] = PyLong_AsSsize_t(PyTuple_GetItem(given, i));
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* keep(arguments, named, plan, program, order, held, shape, dtype, shared, scratch, serial): have
 * calls like this one run a program; whether they will. `order` has the array of each buffer, -1
 * for none, and `held` the arrays that the plan holds, which must be the same ones. */
static PyObject *repeats_keep(PyObject *self, PyObject *given)
{
    struct repeats *repeats = (struct repeats *)self;
    PyObject *arguments, *named, *plan, *order, *held, *shape, *dtype;
    long long program, shared, scratch;
    int serial;
    struct key key;
    if (!PyArg_ParseTuple(given, "O!O!OLO!O!O!OLLp", &PyTuple_Type, &arguments, &PyDict_Type,
                          &named, &plan, &program, &PyTuple_Type, &order, &PyTuple_Type, &held,
                          &PyTuple_Type, &shape, &dtype, &shared, &scratch, &serial)) {
        return NULL;
    }
    if (make_array == NULL || !put_all(&key, arguments, named)) {
        return PyBool_FromLong(0);
    }
    const size_t size = (size_t)key.count * sizeof key.words[0];
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        return PyErr_NoMemory();
    }
    entry->words = malloc(size);
    if (entry->words == NULL) {
        free_entry(entry);
        return PyErr_NoMemory();
    }
    memcpy(entry->words, key.words, size);
    entry->word_count = key.count;
    entry->hash = hash_of(&key);
    entry->program = program;
    entry->shared = shared;
    entry->scratch = scratch;
    entry->serial = serial;
    Py_INCREF(dtype);
    entry->dtype = dtype;
    entry->order_count = read_places(order, entry->order, key.arrays);
    const int holds = read_places(held, entry->held_place, key.arrays);
    entry->plan = PyWeakref_NewRef(plan, NULL);
    if (entry->order_count < 0 || holds < 0 || read_shape(shape, entry) < 0 ||
        entry->plan == NULL) {
        goto refused;
    }
    for (int i = 0; i < holds; i++) {
        const int place = entry->held_place[i];
        entry->held[i] = place < 0 ? NULL : PyWeakref_NewRef((PyObject *)key.array[place], NULL);
        if (entry->held[i] == NULL) {
            goto refused;
        }
        entry->held_count = i + 1;
    }
    /* Last of all: a weak reference may start a collection, and that other calls. */
    if (grow(repeats) < 0) {
        free_entry(entry);
        return PyErr_NoMemory();
    }
    struct entry **place = place_of(repeats, &key, entry->hash);
    struct entry *former = *place;
    *place = entry;
    if (former != NULL) {
        free_entry(former);
    } else {
        repeats->count++;
    }
    return PyBool_FromLong(1);

refused:
    free_entry(entry);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(0);
}

static PyObject *repeats_clear(PyObject *self, PyObject *none)
{
    (void)none;
    clear((struct repeats *)self);
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *repeats_size(PyObject *self, PyObject *none)
{
    (void)none;
    return PyLong_FromLong(((const struct repeats *)self)->count);
}

static void repeats_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    clear((struct repeats *)self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef repeats_methods[] = {
    {"run", (PyCFunction)(void (*)(void))repeats_run, METH_FASTCALL,
     "Return the result of a call like an earlier one, None where Python has to find it."},
    {"keep", repeats_keep, METH_VARARGS, "Have calls like this one run a program."},
    {"clear", repeats_clear, METH_NOARGS, "Forget all calls."},
    {"size", repeats_size, METH_NOARGS, "Return the number of calls that are kept."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot repeats_slots[] = {
    {Py_tp_dealloc, (void *)repeats_dealloc},
    {Py_tp_methods, repeats_methods},
    {Py_tp_doc, (void *)"The calls that a function has served, and the programs that they run."},
    {0, NULL},
};
static PyType_Spec repeats_spec = {
    .name = "fastconv.backends.c._objects.Repeats",
    .basicsize = sizeof(struct repeats),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = repeats_slots,
};

int add_repeats(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&repeats_spec);
    if (type == NULL) {
        return -1;
    }
    const int failed = PyModule_AddObjectRef(module, "Repeats", type);
    Py_DECREF(type);
    return failed;
}

PyObject *begin_repeats(PyObject *module, PyObject *given)
{
    (void)module;
    PyObject *interface, **kept[] = {&environment, &names, &contexts,
                                     &state_of,    &threads_of, &memory_of};
    PyObject *found[6];
    if (!PyArg_ParseTuple(given, "OO!O!O!OOO", &interface, &PyDict_Type, &found[0], &PyTuple_Type,
                          &found[1], &PyList_Type, &found[2], &found[3], &found[4], &found[5])) {
        return NULL;
    }
    void *const *functions = PyCapsule_GetPointer(interface, NULL);
    if (functions == NULL) {
        return NULL;
    }
    const unsigned version = ((unsigned (*)(void))functions[VERSION_PLACE])();
    if (version >> 24 != 1 && version >> 24 != 2) {
        return PyBool_FromLong(0);
    }
    for (int i = 0; i < 6; i++) {
        Py_INCREF(found[i]);
        Py_XDECREF(*kept[i]);
        *kept[i] = found[i];
    }
    make_array = (new_array)functions[NEW_ARRAY_PLACE];
    return PyBool_FromLong(1);
}

PyObject *pause_repeats(PyObject *module, PyObject *whether)
{
    (void)module;
    paused = PyObject_IsTrue(whether) != 0;
    Py_INCREF(Py_None);
    return Py_None;
}
