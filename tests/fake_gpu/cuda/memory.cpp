// Memory: every allocation ends at a page that nobody may touch, and is never handed out again, so that a kernel or a copy that
// leaves its buffer, or comes too late, ends the process with a word instead of passing by luck.

#include "fake.h"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace fake {
namespace {

constexpr std::size_t PAGE = 4096;
constexpr std::size_t ALIGNED = 256;
// What fresh memory holds: never zero, so that nobody relies on zeros.
constexpr unsigned char JUNK = 0xA5;

std::size_t up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

struct Region {
    std::uintptr_t map = 0; // with its guard pages
    std::size_t map_bytes = 0;
    std::uintptr_t base = 0;
    std::size_t bytes = 0;
    std::atomic<bool> freed{false};
    bool device = false;
    bool registered = false;
    int in_use = 0; // copies from registered memory that are under way
    Context* context = nullptr;
};

// Append-only: the signal handler reads it without a lock.
constexpr int MAX_REGIONS = 1 << 16;
Region* regions = nullptr;
std::atomic<int> n_regions{0};
std::mutex lock;
std::map<std::uintptr_t, Region*> live; // by base
std::size_t used[64] = {};              // of each device
struct sigaction before;

void on_fault(int signal, siginfo_t* info, void* context) {
    const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
    const int n = n_regions;
    for (int i = 0; i < n; ++i) {
        const Region& region = regions[i];
        if (region.map <= at && at < region.map + region.map_bytes) {
            char text[256];
            const int length =
                snprintf(text, sizeof text, "fake_gpu: illegal: access at %lld bytes into %s memory of %zu bytes%s\n",
                         static_cast<long long>(at - region.base), region.device ? "device" : "pinned", region.bytes,
                         region.freed ? ", which was freed" : "");
            if (write(2, text, length) != length) {
                // Nothing is left to be done about it.
            }
            break;
        }
    }
    sigaction(SIGSEGV, &before, nullptr);
    (void)signal;
    (void)context;
}

void watch() {
    static std::once_flag once;
    std::call_once(once, [] {
        regions = new Region[MAX_REGIONS];
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &before);
    });
}

Region* allocate(std::size_t bytes, bool device, Context* context) {
    watch();
    const std::size_t body = up(bytes, PAGE);
    void* map = mmap(nullptr, body + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return nullptr;
    }
    const auto start = reinterpret_cast<std::uintptr_t>(map) + PAGE;
    if (mprotect(reinterpret_cast<void*>(start), body, PROT_READ | PROT_WRITE) != 0) {
        illegal("mprotect failed: too many mappings?");
    }
    memset(reinterpret_cast<void*>(start), JUNK, body);
    std::lock_guard<std::mutex> guard(lock);
    const int index = n_regions;
    if (index == MAX_REGIONS) {
        illegal("more than %d allocations", MAX_REGIONS);
    }
    Region& region = regions[index];
    region.map = reinterpret_cast<std::uintptr_t>(map);
    region.map_bytes = body + 2 * PAGE;
    region.base = start + body - up(bytes, ALIGNED);
    region.bytes = bytes;
    region.device = device;
    region.context = context;
    n_regions = index + 1;
    live[region.base] = &region;
    return &region;
}

void release(const char* call, std::uintptr_t base, bool device) {
    Region* region = nullptr;
    {
        std::lock_guard<std::mutex> guard(lock);
        auto found = live.find(base);
        if (found == live.end() || found->second->device != device || found->second->registered) {
            illegal("%s: %p is no %s memory that is allocated", call, reinterpret_cast<void*>(base), device ? "device" : "pinned");
        }
        region = found->second;
        live.erase(found);
        region->freed = true;
    }
    const auto* slack = reinterpret_cast<const unsigned char*>(region->base + region->bytes);
    for (std::size_t i = 0; i < up(region->bytes, ALIGNED) - region->bytes; ++i) {
        if (slack[i] != JUNK) {
            illegal("something wrote %zu bytes past the end of %s memory of %zu bytes", i, device ? "device" : "pinned",
                    region->bytes);
        }
    }
    // The addresses stay taken: whoever still uses them is found out.
    void* body = reinterpret_cast<void*>(region->map + PAGE);
    const std::size_t bytes = region->map_bytes - 2 * PAGE;
    madvise(body, bytes, MADV_DONTNEED);
    mprotect(body, bytes, PROT_NONE);
}

} // namespace

bool find_range(std::uintptr_t address, Range& range) {
    std::lock_guard<std::mutex> guard(lock);
    auto after = live.upper_bound(address);
    if (after == live.begin()) {
        return false;
    }
    const Region& region = *std::prev(after)->second;
    if (address >= region.base + region.bytes) {
        return false;
    }
    range = {region.base, region.bytes, region.device, region.registered};
    return true;
}

void in_use(std::uintptr_t address, int by) {
    std::lock_guard<std::mutex> guard(lock);
    auto after = live.upper_bound(address);
    if (after == live.begin()) {
        illegal("a copy from %p, which was unregistered", reinterpret_cast<void*>(address));
    }
    std::prev(after)->second->in_use += by;
}

void must_be_device(const char* call, CUdeviceptr address, std::size_t bytes) {
    Range range;
    if (!find_range(address, range)) {
        illegal("%s: %#llx is no memory that is allocated", call, static_cast<unsigned long long>(address));
    }
    const std::size_t room = range.base + range.bytes - address;
    if (bytes > room) {
        illegal("%s: %zu bytes at %#llx, where %zu bytes are left of %zu", call, bytes, static_cast<unsigned long long>(address),
                room, range.bytes);
    }
}

} // namespace fake

using namespace fake;

API CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
    count("cuMemAlloc");
    Context* context = nullptr;
    if (CUresult failed = current(&context)) {
        return failed;
    }
    must_not_capture("cuMemAlloc");
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    std::size_t& taken = used[context->device];
    {
        std::lock_guard<std::mutex> guard(lock);
        if (strikes("oom", "alloc") || taken + up(bytes, 512) > memory_total()) {
            return OUT_OF_MEMORY;
        }
        taken += up(bytes, 512);
        peak("peak_device_bytes", static_cast<std::int64_t>(taken));
    }
    Region* region = allocate(bytes, true, context);
    if (!region) {
        return OUT_OF_MEMORY;
    }
    count("live_device_buffers");
    *address = region->base;
    return SUCCESS;
}

API CUresult cuMemFree_v2(CUdeviceptr address) {
    count("cuMemFree");
    if (address == 0) {
        return SUCCESS;
    }
    must_not_capture("cuMemFree");
    Context* context = nullptr;
    CUresult state = current(&context);
    if (!context) {
        return state;
    }
    // As the real one does: it waits for the device.
    drain_all(context);
    Range range;
    if (find_range(address, range)) {
        std::lock_guard<std::mutex> guard(lock);
        used[context->device] -= up(range.bytes, 512);
    }
    release("cuMemFree", address, true);
    count("live_device_buffers", -1);
    return state;
}

API CUresult cuMemGetInfo_v2(std::size_t* unused, std::size_t* total) {
    Context* context = nullptr;
    if (CUresult failed = current(&context)) {
        return failed;
    }
    std::lock_guard<std::mutex> guard(lock);
    *total = memory_total();
    *unused = memory_total() - used[context->device];
    return SUCCESS;
}

API CUresult cuMemHostAlloc(void** address, std::size_t bytes, unsigned flags) {
    count("cuMemHostAlloc");
    Context* context = nullptr;
    if (CUresult failed = current(&context)) {
        return failed;
    }
    must_not_capture("cuMemHostAlloc");
    if (bytes == 0 || flags > 7) {
        return INVALID_VALUE;
    }
    if (strikes("oom", "pinned")) {
        return OUT_OF_MEMORY;
    }
    Region* region = allocate(bytes, false, context);
    if (!region) {
        return OUT_OF_MEMORY;
    }
    count("live_pinned_buffers");
    *address = reinterpret_cast<void*>(region->base);
    return SUCCESS;
}

API CUresult cuMemFreeHost(void* address) {
    must_not_capture("cuMemFreeHost");
    Context* context = nullptr;
    CUresult state = current(&context);
    if (!context) {
        return state;
    }
    drain_all(context);
    release("cuMemFreeHost", reinterpret_cast<std::uintptr_t>(address), false);
    count("live_pinned_buffers", -1);
    return state;
}

// Memory of the program's own. A real driver locks its pages: that they are there is looked at here.
API CUresult cuMemHostRegister_v2(void* address, std::size_t bytes, unsigned flags) {
    count("cuMemHostRegister");
    Context* context = nullptr;
    if (CUresult failed = current(&context)) {
        return failed;
    }
    must_not_capture("cuMemHostRegister");
    if (bytes == 0 || flags > 15 || strikes("register", "host")) {
        return INVALID_VALUE;
    }
    const auto base = reinterpret_cast<std::uintptr_t>(address);
    for (std::size_t i = 0; i < bytes; i += PAGE) {
        (void)*(static_cast<volatile const char*>(address) + i);
    }
    std::lock_guard<std::mutex> guard(lock);
    auto after = live.upper_bound(base);
    const bool behind = after != live.end() && after->first < base + bytes;
    const bool before_it = after != live.begin() && base < std::prev(after)->first + std::prev(after)->second->bytes;
    if (behind || before_it) {
        return HOST_MEMORY_ALREADY_REGISTERED;
    }
    Region* region = new Region;
    region->base = base;
    region->bytes = bytes;
    region->registered = true;
    region->context = context;
    live[base] = region;
    count("live_registered");
    return SUCCESS;
}

API CUresult cuMemHostUnregister(void* address) {
    must_not_capture("cuMemHostUnregister");
    if (CUresult failed = current()) {
        return failed;
    }
    std::lock_guard<std::mutex> guard(lock);
    auto found = live.find(reinterpret_cast<std::uintptr_t>(address));
    if (found == live.end() || !found->second->registered) {
        return HOST_MEMORY_NOT_REGISTERED;
    }
    if (found->second->in_use > 0) {
        illegal("cuMemHostUnregister: %d copies from it are under way", found->second->in_use);
    }
    delete found->second;
    live.erase(found);
    count("live_registered", -1);
    return SUCCESS;
}

// Unified addressing: the device knows the host's address.
API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* device, void* host, unsigned flags) {
    if (CUresult failed = current()) {
        return failed;
    }
    Range range;
    if (flags != 0 || !find_range(reinterpret_cast<std::uintptr_t>(host), range) || range.device) {
        return INVALID_VALUE;
    }
    *device = reinterpret_cast<CUdeviceptr>(host);
    return SUCCESS;
}

// Bytes from `address` to the end of its allocation, 0 where there is none.
API std::size_t cellsegd_fake_room(CUdeviceptr address) {
    Range range;
    return find_range(address, range) ? range.base + range.bytes - address : 0;
}
