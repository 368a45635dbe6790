// What no program may do with a driver, one case a run: `misuse CASE`. The emulation must end each with a word (tests/it/gpu).

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <unistd.h>

extern "C" {
int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void**, int);
int cuCtxSetCurrent(void*);
int cuMemAlloc_v2(std::uint64_t*, std::size_t);
int cuMemFree_v2(std::uint64_t);
int cuMemHostRegister_v2(void*, std::size_t, unsigned);
int cuMemHostUnregister(void*);
int cuMemcpyHtoDAsync_v2(std::uint64_t, const void*, std::size_t, void*);
int cuStreamCreateWithPriority(void**, unsigned, int);
int cuStreamDestroy_v2(void*);
int cuStreamSynchronize(void*);
int cuStreamBeginCapture_v2(void*, unsigned);
int cuStreamEndCapture(void*, void**);
int cuGraphInstantiateWithFlags(void**, void*, unsigned long long);
int cuGraphLaunch(void*, void*);
int cuGraphExecDestroy(void*);
int cuEventCreate(void**, unsigned);
int cuEventDestroy_v2(void*);
int cuEventRecordWithFlags(void*, void*, unsigned);
int cuLaunchHostFunc(void*, void (*)(void*), void*);
}

static char bytes[4096];

int main(int n, char** arguments) {
    const std::string what = n > 1 ? arguments[1] : "";
    void *context, *stream, *event, *graph, *executable;
    std::uint64_t buffer;
    cuInit(0);
    cuDevicePrimaryCtxRetain(&context, 0);
    cuCtxSetCurrent(context);
    cuStreamCreateWithPriority(&stream, 1, 0);
    cuEventCreate(&event, 0);
    cuMemAlloc_v2(&buffer, 1000);
    if (what == "nothing") {
        cuMemcpyHtoDAsync_v2(buffer, bytes, 1000, stream);
        cuStreamSynchronize(stream);
        cuMemFree_v2(buffer);
    } else if (what == "copy past the end") {
        cuMemcpyHtoDAsync_v2(buffer, bytes, 1001, stream);
    } else if (what == "copy into freed memory") {
        cuMemFree_v2(buffer);
        cuMemcpyHtoDAsync_v2(buffer, bytes, 1, stream);
    } else if (what == "registered copy past the end") {
        cuMemHostRegister_v2(bytes, 500, 1);
        cuMemcpyHtoDAsync_v2(buffer, bytes, 501, stream);
    } else if (what == "unregistered while it is copied") {
        cuMemHostRegister_v2(bytes, 1000, 1);
        cuLaunchHostFunc(stream, [](void*) { usleep(500000); }, nullptr);
        cuMemcpyHtoDAsync_v2(buffer, bytes, 1000, stream);
        cuMemHostUnregister(bytes);
    } else if (what == "free twice") {
        cuMemFree_v2(buffer);
        cuMemFree_v2(buffer);
    } else if (what == "kernel past the end") {
        cuLaunchHostFunc(stream, [](void* at) { memset(at, 0, 1025); }, reinterpret_cast<void*>(buffer));
        cuStreamSynchronize(stream);
    } else if (what == "kernel just past the end") {
        cuLaunchHostFunc(stream, [](void* at) { memset(at, 0, 1001); }, reinterpret_cast<void*>(buffer));
        cuStreamSynchronize(stream);
        cuMemFree_v2(buffer);
    } else if (what == "kernel on freed memory") {
        cuMemFree_v2(buffer);
        cuLaunchHostFunc(stream, [](void* at) { memset(at, 0, 1); }, reinterpret_cast<void*>(buffer));
        cuStreamSynchronize(stream);
    } else if (what == "destroyed stream") {
        cuStreamDestroy_v2(stream);
        cuStreamSynchronize(stream);
    } else if (what == "null stream") {
        cuStreamSynchronize(nullptr);
    } else if (what == "allocation in a capture") {
        cuStreamBeginCapture_v2(stream, 1);
        cuMemAlloc_v2(&buffer, 1);
    } else if (what == "waiting in a capture") {
        cuStreamBeginCapture_v2(stream, 1);
        cuStreamSynchronize(stream);
    } else if (what == "event of a graph destroyed") {
        cuStreamBeginCapture_v2(stream, 1);
        cuEventRecordWithFlags(event, stream, 1);
        cuStreamEndCapture(stream, &graph);
        cuGraphInstantiateWithFlags(&executable, graph, 0);
        cuEventDestroy_v2(event);
        cuGraphLaunch(executable, stream);
    } else if (what == "destroyed graph") {
        cuStreamBeginCapture_v2(stream, 1);
        cuStreamEndCapture(stream, &graph);
        cuGraphInstantiateWithFlags(&executable, graph, 0);
        cuGraphExecDestroy(executable);
        cuGraphLaunch(executable, stream);
    } else {
        fprintf(stderr, "no such case\n");
        return 2;
    }
    return 0;
}
