/* A CUDA driver without a GPU: what is asked of it is written to standard error, line by line.
 *
 * Memory is main memory, copies copy, and kernels do nothing. It shows that the driver is called as it wants to be, in what order and on
 * which stream. What it does not know succeeds and does nothing. DRIVER_MEMORY is the largest allocation that succeeds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Status;
typedef void *Handle;
enum { OUT_OF_MEMORY = 2, NO_SUCH_DEVICE = 101 };

static char card[64];
static Handle capturing;
static __thread Handle current;

static void say(const char *format, ...) {
    va_list given;
    va_start(given, format);
    vfprintf(stderr, format, given);
    va_end(given);
}

static Status made(Handle *handle) {
    *handle = malloc(16);
    return 0;
}

/* The GPU. */
Status cuInit(unsigned flags) { return 0; }
Status cuDriverGetVersion(int *version) { *version = 13000; return 0; }
Status cuDeviceGetCount(int *count) { *count = 1; return 0; }
Status cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal ? NO_SUCH_DEVICE : 0; }
Status cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "none"); return 0; }
Status cuDeviceGetAttribute(int *value, int attribute, int device) {
    enum { MAJOR = 75, MINOR = 76 };
    *value = attribute == MAJOR ? 9 : attribute == MINOR ? 0 : 1;
    return 0;
}
Status cuDevicePrimaryCtxRetain(Handle *context, int device) { *context = card; return 0; }
Status cuCtxSetCurrent(Handle context) { current = context; return 0; }
Status cuCtxGetCurrent(Handle *context) { *context = current; return 0; }
Status cuCtxGetDevice(int *device) { *device = 0; return 0; }
Status cuGetErrorName(Status status, const char **name) {
    *name = status == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN";
    return 0;
}
Status cuGetErrorString(Status status, const char **text) { *text = "as asked"; return 0; }

/* Streams and events. */
Status cuStreamCreateWithPriority(Handle *stream, unsigned flags, int priority) { return made(stream); }
Status cuStreamCreate(Handle *stream, unsigned flags) { return made(stream); }
Status cuStreamGetCtx(Handle stream, Handle *context) { *context = card; return 0; }
Status cuStreamGetCtx_v2(Handle stream, Handle *context, Handle *green) {
    *context = card;
    if (green) *green = NULL;
    return 0;
}
Status cuStreamSynchronize(Handle stream) { say("synchronize %ld\n", (long)stream); return 0; }
Status cuCtxSynchronize(void) { say("synchronize all\n"); return 0; }
Status cuEventCreate(Handle *event, unsigned flags) { return made(event); }
Status cuEventRecord(Handle event, Handle stream) { say("record %ld\n", (long)stream); return 0; }
Status cuStreamWaitEvent(Handle stream, Handle event, unsigned flags) { say("wait %ld\n", (long)stream); return 0; }

/* Memory. */
Status cuMemAlloc_v2(uint64_t *address, size_t size) {
    const char *most = getenv("DRIVER_MEMORY");
    Handle memory;
    if (most && size > strtoull(most, NULL, 10)) return OUT_OF_MEMORY;
    if (posix_memalign(&memory, 256, size)) return OUT_OF_MEMORY;
    memset(memory, 0xFF, size);
    *address = (uint64_t)memory;
    return 0;
}
Status cuMemAllocAsync(uint64_t *address, size_t size, Handle stream) { return cuMemAlloc_v2(address, size); }
Status cuMemAllocFromPoolAsync(uint64_t *address, size_t size, Handle pool, Handle stream) {
    return cuMemAlloc_v2(address, size);
}
Status cuMemFreeAsync(uint64_t address, Handle stream) { free((Handle)address); return 0; }
Status cuMemFree_v2(uint64_t address) { free((Handle)address); return 0; }
Status cuMemPoolCreate(Handle *pool, const void *properties) { return made(pool); }
Status cuDeviceGetDefaultMemPool(Handle *pool, int device) { *pool = card; return 0; }
Status cuDeviceGetMemPool(Handle *pool, int device) { *pool = card; return 0; }
Status cuMemPoolGetAttribute(Handle pool, int attribute, void *value) { memset(value, 0, 8); return 0; }
Status cuMemcpyAsync(uint64_t target, uint64_t source, size_t size, Handle stream) {
    say("copy %zu on %ld\n", size, (long)stream);
    memcpy((Handle)target, (Handle)source, size);
    return 0;
}

/* Kernels. */
typedef struct {
    unsigned grid[3], block[3], shared;
    Handle stream;
} Launch;
Status cuLibraryLoadData(Handle *library, const void *code, Handle a, Handle b, unsigned c, Handle d, Handle e, unsigned f) {
    return made(library);
}
Status cuLibraryGetKernel(Handle *kernel, Handle library, const char *name) { return made(kernel); }
Status cuKernelGetLibrary(Handle *library, Handle kernel) { *library = card; return 0; }
Status cuKernelSetAttribute(int attribute, int value, Handle kernel, int device) {
    enum { DYNAMIC_SHARED = 8 };
    say("%s %d\n", attribute == DYNAMIC_SHARED ? "allow" : "set", value);
    return 0;
}
Status cuLaunchKernelEx(const Launch *launch, Handle kernel, void **parameters, void **extra) {
    say("launch %u %u %u of %u, shared %u on %ld\n", launch->grid[0], launch->grid[1], launch->grid[2], launch->block[0],
        launch->shared, launch->stream == capturing ? -1L : (long)launch->stream);
    return 0;
}

/* Graphs. */
Status cuStreamBeginCapture_v2(Handle stream, int mode) { capturing = stream; return 0; }
Status cuStreamEndCapture(Handle stream, Handle *graph) { capturing = NULL; return made(graph); }
static Status captured(Handle stream, int *status) { *status = stream && stream == capturing; return 0; }
Status cuStreamIsCapturing(Handle stream, int *status) { return captured(stream, status); }
Status cuStreamGetCaptureInfo_v2(Handle stream, int *status, Handle a, Handle b, Handle c, Handle d) {
    return captured(stream, status);
}
Status cuStreamGetCaptureInfo_v3(Handle stream, int *status, Handle a, Handle b, Handle c, Handle d, Handle e) {
    return captured(stream, status);
}
Status cuGraphInstantiateWithParams(Handle *graph, Handle of, Handle parameters) { return made(graph); }
Status cuGraphLaunch(Handle graph, Handle stream) { say("replay on %ld\n", (long)stream); return 0; }

/* Tensor maps. */
Status cuTensorMapEncodeTiled(Handle map, ...) { say("map tiled\n"); memset(map, 0, 128); return 0; }
Status cuTensorMapEncodeIm2col(Handle map, ...) { say("map im2col\n"); memset(map, 0, 128); return 0; }

static Status nothing(void) { return 0; }

/* Functions are asked for by name; of several versions the newest that is here. */
Status cuGetProcAddress_v2(const char *name, Handle *function, int version, uint64_t flags, int *found) {
    static const char *const versions[] = {"_v3", "_v2", ""};
    static Handle own;
    Handle address = NULL;
    if (!own) {
        Dl_info here;
        dladdr((Handle)nothing, &here);
        own = dlopen(here.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    }
    for (int i = 0; i < 3 && !address; i++) {
        char full[128];
        snprintf(full, sizeof full, "%s%s", name, versions[i]);
        address = dlsym(own, full);
    }
    *function = address ? address : (Handle)nothing;
    if (found) *found = 0;
    return 0;
}
