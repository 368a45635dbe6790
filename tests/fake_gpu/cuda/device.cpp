// Start, versions, devices, contexts, errors in words, faults on order, counters.

#include "fake.h"

#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace fake {

void illegal(const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "fake_gpu: illegal: %s\n", text);
    fflush(stderr);
    abort();
}

namespace {

std::string environment(const char* name, const char* otherwise) {
    const char* value = getenv(name);
    return value && *value ? value : otherwise;
}

std::vector<std::string> split(const std::string& text, char at) {
    std::vector<std::string> parts;
    std::size_t from = 0;
    while (from <= text.size()) {
        std::size_t to = text.find(at, from);
        if (to == std::string::npos) {
            to = text.size();
        }
        if (to > from) {
            parts.push_back(text.substr(from, to - from));
        }
        from = to + 1;
    }
    return parts;
}

// One record of the counters' file.
struct Counter {
    char name[56];
    std::atomic<std::int64_t> value;
};
static_assert(sizeof(Counter) == 64, "the test reads records of 64 bytes");
constexpr int MAX_COUNTERS = 128;

Counter* counters() {
    static Counter* all = [] {
        const char* path = getenv("CELLSEGD_FAKE_COUNTERS");
        const std::size_t bytes = MAX_COUNTERS * sizeof(Counter);
        int file = -1;
        if (path && *path) {
            file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
            if (file < 0 || ftruncate(file, bytes) != 0) {
                illegal("CELLSEGD_FAKE_COUNTERS=%s cannot be written", path);
            }
        }
        void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, file, 0);
        if (at == MAP_FAILED) {
            illegal("counters: mmap failed");
        }
        return static_cast<Counter*>(at);
    }();
    return all;
}

std::atomic<std::int64_t>& counter(const char* name) {
    static std::mutex lock;
    std::lock_guard<std::mutex> guard(lock);
    Counter* all = counters();
    for (int i = 0; i < MAX_COUNTERS; ++i) {
        if (!all[i].name[0]) {
            strncpy(all[i].name, name, sizeof all[i].name - 1);
        }
        if (!strncmp(all[i].name, name, sizeof all[i].name - 1)) {
            return all[i].value;
        }
    }
    illegal("more than %d counters", MAX_COUNTERS);
}

// what[@place:n[+]][=value] or what:value
struct Fault {
    std::string what, place;
    long at = 0; // 0: whenever asked
    bool onwards = false;
    long value = 0;
    bool has_value = false;
    long seen = 0;
};

std::vector<Fault>& faults() {
    static std::vector<Fault>& all = *[] {
        auto* parsed = new std::vector<Fault>;
        for (std::string item : split(environment("CELLSEGD_FAKE_FAULT", ""), ',')) {
            Fault fault;
            if (std::size_t equals = item.find('='); equals != std::string::npos) {
                fault.value = strtol(item.c_str() + equals + 1, nullptr, 10);
                fault.has_value = true;
                item.resize(equals);
            }
            if (std::size_t place = item.find('@'); place != std::string::npos) {
                fault.place = item.substr(place + 1);
                item.resize(place);
                if (std::size_t colon = fault.place.find(':'); colon != std::string::npos) {
                    std::string at = fault.place.substr(colon + 1);
                    fault.place.resize(colon);
                    fault.onwards = !at.empty() && at.back() == '+';
                    fault.at = strtol(at.c_str(), nullptr, 10);
                }
            } else if (std::size_t colon = item.find(':'); colon != std::string::npos) {
                fault.value = strtol(item.c_str() + colon + 1, nullptr, 10);
                fault.has_value = true;
                item.resize(colon);
            }
            fault.what = item;
            parsed->push_back(fault);
        }
        return parsed;
    }();
    return all;
}

struct Device {
    int capability = 89;
    bool integrated = false;
    Context context;
};

// "8.9,8.7i": two devices, the second shares its memory with the CPU.
std::vector<std::unique_ptr<Device>>& devices() {
    static auto& all = *[] {
        auto* made = new std::vector<std::unique_ptr<Device>>;
        for (const std::string& text : split(environment("CELLSEGD_FAKE_DEVICES", "8.9"), ',')) {
            auto device = std::make_unique<Device>();
            int major = 0, minor = 0;
            if (sscanf(text.c_str(), "%d.%d", &major, &minor) != 2) {
                illegal("CELLSEGD_FAKE_DEVICES: %s is not like 8.9 or 8.7i", text.c_str());
            }
            device->capability = 10 * major + minor;
            device->integrated = text.back() == 'i';
            device->context.device = static_cast<int>(made->size());
            made->push_back(std::move(device));
        }
        return made;
    }();
    return all;
}

std::atomic<bool> initialized{false};
thread_local Context* thread_context = nullptr;

Device* device(CUdevice ordinal) {
    auto& all = devices();
    return ordinal >= 0 && ordinal < static_cast<int>(all.size()) ? all[ordinal].get() : nullptr;
}

} // namespace

void count(const char* name, std::int64_t by) { counter(name).fetch_add(by); }

void peak(const char* name, std::int64_t value) {
    std::atomic<std::int64_t>& most = counter(name);
    std::int64_t seen = most.load();
    while (seen < value && !most.compare_exchange_weak(seen, value)) {
    }
}

bool strikes(const char* what, const char* place, long* value) {
    static std::mutex lock;
    std::lock_guard<std::mutex> guard(lock);
    bool any = false;
    for (Fault& fault : faults()) {
        if (fault.what != what || (!fault.place.empty() && fault.place != place)) {
            continue;
        }
        ++fault.seen;
        if (fault.at == 0 || fault.seen == fault.at || (fault.onwards && fault.seen > fault.at)) {
            any = true;
            if (value && fault.has_value) {
                *value = fault.value;
            }
        }
    }
    return any;
}

CUresult current(Context** context) {
    if (!initialized) {
        return NOT_INITIALIZED;
    }
    if (!thread_context) {
        return INVALID_CONTEXT;
    }
    if (context) {
        *context = thread_context;
    }
    return thread_context->sticky;
}

Context* context_of(CUdevice ordinal) {
    Device* found = device(ordinal);
    return found ? &found->context : nullptr;
}

int compute_capability(int ordinal) { return device(ordinal)->capability; }

int driver_version() {
    long version = 12020;
    strikes("driver", "", &version);
    return static_cast<int>(version);
}

std::size_t memory_total() {
    static const std::size_t total = strtoull(environment("CELLSEGD_FAKE_MEMORY_MIB", "8192").c_str(), nullptr, 10) << 20;
    return total;
}

} // namespace fake

using namespace fake;

API CUresult cuInit(unsigned flags) {
    count("cuInit");
    if (flags != 0) {
        return INVALID_VALUE;
    }
    long code = NO_DEVICE;
    if (strikes("init", "", &code) || strikes("no_device", "")) {
        return static_cast<CUresult>(code);
    }
    initialized = true;
    return SUCCESS;
}

API CUresult cuDriverGetVersion(int* version) {
    *version = driver_version();
    return SUCCESS;
}

API CUresult cuDeviceGetCount(int* n) {
    if (!initialized) {
        return NOT_INITIALIZED;
    }
    *n = static_cast<int>(devices().size());
    return SUCCESS;
}

API CUresult cuDeviceGet(CUdevice* handle, int ordinal) {
    if (!initialized) {
        return NOT_INITIALIZED;
    }
    if (!device(ordinal)) {
        return INVALID_DEVICE;
    }
    *handle = ordinal;
    return SUCCESS;
}

API CUresult cuDeviceGetName(char* name, int bytes, CUdevice ordinal) {
    if (!device(ordinal) || bytes <= 0) {
        return INVALID_VALUE;
    }
    snprintf(name, bytes, "Emulated GPU %d", ordinal);
    return SUCCESS;
}

// fa6e0000-0000-0000-0000-0000000000NN
API CUresult cuDeviceGetUuid_v2(unsigned char* uuid, CUdevice ordinal) {
    if (!device(ordinal)) {
        return INVALID_DEVICE;
    }
    memset(uuid, 0, 16);
    uuid[0] = 0xfa;
    uuid[1] = 0x6e;
    uuid[15] = static_cast<unsigned char>(ordinal);
    return SUCCESS;
}

API CUresult cuDeviceGetAttribute(int* value, int attribute, CUdevice ordinal) {
    Device* found = device(ordinal);
    if (!found) {
        return INVALID_DEVICE;
    }
    switch (attribute) {
    case 1: // threads of a block
        *value = 1024;
        break;
    case 10: // warp
        *value = 32;
        break;
    case 16: // multiprocessors; few, for each block is a loop here
        *value = 2;
        break;
    case 18:
        *value = found->integrated;
        break;
    case 19: // maps host memory
    case 41: // unified addressing
        *value = 1;
        break;
    case 75:
        *value = found->capability / 10;
        break;
    case 76:
        *value = found->capability % 10;
        break;
    default:
        *value = 0;
    }
    return SUCCESS;
}

API CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice ordinal) {
    if (!device(ordinal)) {
        return INVALID_DEVICE;
    }
    *bytes = memory_total();
    return SUCCESS;
}

API CUresult cuDevicePrimaryCtxRetain(void** context, CUdevice ordinal) {
    if (!initialized) {
        return NOT_INITIALIZED;
    }
    Device* found = device(ordinal);
    if (!found) {
        return INVALID_DEVICE;
    }
    ++found->context.retained;
    count("live_contexts");
    *context = &found->context;
    return found->context.sticky;
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice ordinal) {
    Device* found = device(ordinal);
    if (!found) {
        return INVALID_DEVICE;
    }
    if (found->context.retained-- <= 0) {
        illegal("cuDevicePrimaryCtxRelease: released more often than retained");
    }
    count("live_contexts", -1);
    return SUCCESS;
}

API CUresult cuCtxSetCurrent(void* context) {
    if (!initialized) {
        return NOT_INITIALIZED;
    }
    if (context) {
        bool known = false;
        for (auto& each : devices()) {
            known |= context == &each->context;
        }
        if (!known || static_cast<Context*>(context)->retained <= 0) {
            illegal("cuCtxSetCurrent: %p is no context that is retained", context);
        }
    }
    thread_context = static_cast<Context*>(context);
    return SUCCESS;
}

API CUresult cuCtxGetCurrent(void** context) {
    *context = thread_context;
    return initialized ? SUCCESS : NOT_INITIALIZED;
}

API CUresult cuCtxGetDevice(CUdevice* ordinal) {
    if (!thread_context) {
        return INVALID_CONTEXT;
    }
    *ordinal = thread_context->device;
    return SUCCESS;
}

API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    if (least) {
        *least = 0;
    }
    if (greatest) {
        *greatest = -5;
    }
    return current();
}

API CUresult cuCtxSynchronize() {
    Context* context = nullptr;
    if (CUresult failed = current(&context)) {
        return failed;
    }
    must_not_capture("cuCtxSynchronize");
    drain_all(context);
    return context->sticky;
}

namespace {
struct Word {
    CUresult code;
    const char* name;
    const char* text;
};
constexpr Word WORDS[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {301, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {907, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
const Word* word(CUresult code) {
    for (const Word& each : WORDS) {
        if (each.code == code) {
            return &each;
        }
    }
    return nullptr;
}
} // namespace

API CUresult cuGetErrorName(CUresult code, const char** name) {
    const Word* found = word(code);
    *name = found ? found->name : nullptr;
    return found ? SUCCESS : INVALID_VALUE;
}

API CUresult cuGetErrorString(CUresult code, const char** text) {
    const Word* found = word(code);
    *text = found ? found->text : nullptr;
    return found ? SUCCESS : INVALID_VALUE;
}

// For the TensorRT stand-ins beside this library.
API void cellsegd_fake_count(const char* name, std::int64_t by) { count(name, by); }
API int cellsegd_fake_strikes(const char* what, const char* place, long* value) { return strikes(what, place, value); }
API void cellsegd_fake_illegal(const char* text) { illegal("%s", text); }
API int cellsegd_fake_compute_capability(CUdevice ordinal) { return compute_capability(ordinal); }
