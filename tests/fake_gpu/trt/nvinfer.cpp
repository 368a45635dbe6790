// libnvinfer.so.{8,10,11} and libtensorrt_rtx.so.1: TensorRT's runtime and builder behind their true binary interface, with the
// network computed on the CPU. What a real library answers with an error and a word to the logger is so answered; what it
// leaves undefined ends the process with a word on stderr.

#include "standin.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <utility>

// The emulated driver beside us.
extern "C" {
int cuInit(unsigned);
int cuDeviceGetCount(int*);
int cuCtxGetCurrent(void**);
int cuCtxGetDevice(int*);
int cuMemAlloc_v2(std::uint64_t*, std::size_t);
int cuMemFree_v2(std::uint64_t);
int cuLaunchHostFunc(void*, void (*)(void*), void*);
int cuGetErrorName(int, const char**);
void cellsegd_fake_count(const char*, std::int64_t);
int cellsegd_fake_strikes(const char*, const char*, long*);
void cellsegd_fake_illegal(const char*);
int cellsegd_fake_compute_capability(int);
std::size_t cellsegd_fake_room(std::uint64_t);
}

namespace standin {

void illegal(const std::string& text) {
    cellsegd_fake_illegal(("TensorRT: " + text).c_str());
    abort();
}

void say(void* logger, int severity, const std::string& text) {
    if (!logger) {
        illegal("no logger");
    }
#ifdef FROM_HEADERS
    static_cast<nvinfer1::ILogger*>(logger)->log(static_cast<nvinfer1::ILogger::Severity>(severity), text.c_str());
#else
    // [log, D1, D0] until TensorRT 10.
    using Log = void (*)(void*, std::int32_t, const char*);
    reinterpret_cast<Log>((*static_cast<void***>(logger))[0])(logger, severity, text.c_str());
#endif
}

namespace {

bool strikes(const char* what, const char* place = "", long* value = nullptr) {
    return cellsegd_fake_strikes(what, place, value) != 0;
}
void count(const char* name, std::int64_t by = 1) { cellsegd_fake_count(name, by); }

struct Version {
    int major, minor, patch;
    std::string text() const { return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch); }
    int number() const { return major < 10 && major != 1 ? major * 1000 + minor * 100 + patch : major * 10000 + minor * 100 + patch; }
};

#ifdef RTX
const char* const FLAVOUR = "rtx";
#else
const char* const FLAVOUR = "full";
#endif

// CELLSEGD_FAKE_TRT_VERSION, within the major that was compiled.
Version version() {
#ifdef FROM_HEADERS
    Version built{NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH};
#elif MAJOR == 8
    Version built{8, 6, 1};
#else
    Version built{10, 3, 0};
#endif
    if (const char* chosen = getenv("CELLSEGD_FAKE_TRT_VERSION"); chosen && *chosen) {
        if (sscanf(chosen, "%d.%d.%d", &built.major, &built.minor, &built.patch) != 3) {
            illegal(std::string("CELLSEGD_FAKE_TRT_VERSION=") + chosen);
        }
    }
    return built;
}

// ---- tables ----------------------------------------------------------------------------------------------------------------

constexpr int SLOTS = 128;
const char* const NAMES[CLASSES] = {"VHostMemory",    "VRuntime",     "VCudaEngine",          "VExecutionContext",
                                    "VBuilder",       "VBuilderConfig", "VOptimizationProfile", "VNetworkDefinition",
                                    "VTensor",        "VTimingCache", "VRuntimeConfig",       "VRuntimeCache"};

template <int CLASS, int SLOT> void not_emulated() {
    illegal("slot " + std::to_string(SLOT) + " of " + NAMES[CLASS] + " was called, which is not emulated: a wrong slot?");
}

template <int CLASS, int... SLOT> void fill_with(void** table, std::integer_sequence<int, SLOT...>) {
    ((table[SLOT] = reinterpret_cast<void*>(&not_emulated<CLASS, SLOT>)), ...);
}

template <int... CLASS> void fill_all(void* (*tables)[SLOTS], std::integer_sequence<int, CLASS...>) {
    (fill_with<CLASS>(tables[CLASS], std::make_integer_sequence<int, SLOTS>{}), ...);
}

#ifdef FROM_HEADERS

// A pointer to a virtual method tells its slot (Itanium C++ ABI; on Arm the flag lies in the second word).
template <typename Method> int slot_of(Method method) {
    struct {
        std::intptr_t function, adjustment;
    } raw;
    static_assert(sizeof raw == sizeof method, "Itanium C++ ABI");
    memcpy(&raw, &method, sizeof raw);
#if defined(__aarch64__) || defined(__arm__)
    return static_cast<int>(raw.function / sizeof(void*));
#else
    return static_cast<int>((raw.function - 1) / sizeof(void*));
#endif
}

#define METHOD(CLASS, NAME, FUNCTION, RESULT, PARAMETERS, QUALIFIERS)                                                             \
    tables[CLASS][slot_of(static_cast<RESULT(nvinfer1::apiv::CLASS::*) PARAMETERS QUALIFIERS noexcept>(                           \
        &nvinfer1::apiv::CLASS::NAME))] = reinterpret_cast<void*>(&FUNCTION);

static_assert(sizeof(nvinfer1::IRuntime) == sizeof(Object) && sizeof(nvinfer1::ICudaEngine) == sizeof(Object) &&
                  sizeof(nvinfer1::IExecutionContext) == sizeof(Object) && sizeof(nvinfer1::IBuilder) == sizeof(Object),
              "an object is its table and the pointer to its implementation");

#else

struct Row {
    const char* method;
    int slots[32];
};
#include "slots.inc" // COLUMNS, ROWS: written by tests/fake_gpu/build from slots.txt

// -1: that version has no such method.
int slot_of(const char* method) {
    const std::string wanted = "v" + version().text();
    int column = -1;
    for (int i = 0; COLUMNS[i]; ++i) {
        // "v10.16" is of every 10.16.
        if (wanted == COLUMNS[i] || wanted.rfind(std::string(COLUMNS[i]) + ".", 0) == 0) {
            column = i;
        }
    }
    if (column < 0) {
        illegal("slots.txt has no column " + wanted);
    }
    for (const Row& row : ROWS) {
        if (!strcmp(row.method, method)) {
            return row.slots[column];
        }
    }
    illegal(std::string("slots.txt has no ") + method);
}

#define METHOD(CLASS, NAME, FUNCTION, RESULT, PARAMETERS, QUALIFIERS)                                                             \
    if (int slot = slot_of(#CLASS "::" #NAME); slot >= 0) {                                                                       \
        tables[CLASS][slot] = reinterpret_cast<void*>(&FUNCTION);                                                                 \
    }

#endif

void** table_of(Class kind);
void** object_table(Class kind);

template <typename T> T* make(Class kind, Impl* parent) {
    T* made = new T();
    made->table = table_of(kind);
    made->kind = kind;
    made->object = {object_table(kind), made};
    made->parent = parent;
    if (parent) {
        ++parent->children;
    }
    count("live_trt_objects");
    return made;
}

template <typename T> T* of(void* object) {
    if (!object) {
        illegal("a null object was handed over");
    }
    return static_cast<T*>(static_cast<Object*>(object)->impl);
}

Dims dims(const std::vector<std::int64_t>& values) {
    Dims dims;
    memset(&dims, 0, sizeof dims);
    dims.nbDims = static_cast<std::int32_t>(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        dims.d[i] = static_cast<decltype(dims.d[0] + 0)>(values[i]);
    }
    return dims;
}

std::vector<std::int64_t> values(const Dims& dims) { return {dims.d, dims.d + dims.nbDims}; }

std::string words(const std::vector<std::int64_t>& dims) {
    std::string text = "[";
    for (std::size_t i = 0; i < dims.size(); ++i) {
        text += (i ? "," : "") + std::to_string(dims[i]);
    }
    return text + "]";
}

const Dims NO_DIMS = [] {
    Dims none;
    memset(&none, 0, sizeof none);
    none.nbDims = -1;
    return none;
}();

// ---- plans -----------------------------------------------------------------------------------------------------------------

const std::string MAGIC = "ftrtFAKE1\n";

// A text of key=value lines, an empty line, the ONNX file.
struct Plan {
    std::map<std::string, std::string> keys;
    std::vector<std::uint8_t> onnx;

    std::string get(const std::string& key, const std::string& otherwise) const {
        auto found = keys.find(key);
        return found == keys.end() ? otherwise : found->second;
    }
    std::string text() const {
        std::string text = MAGIC;
        for (const auto& [key, value] : keys) {
            text += key + "=" + value + "\n";
        }
        text += "onnx=" + std::to_string(onnx.size()) + "\n\n";
        text.append(reinterpret_cast<const char*>(onnx.data()), onnx.size());
        return text;
    }
};

// Empty, or what is wrong with it.
std::string read(const void* blob, std::size_t bytes, Plan& plan) {
    const std::string_view text(static_cast<const char*>(blob), bytes);
    if (text.substr(0, MAGIC.size()) != MAGIC) {
        return "Serialization assertion magicTagRead == kMAGIC_TAG failed. Magic tag does not match";
    }
    const std::size_t end = text.find("\n\n");
    if (end == std::string_view::npos) {
        return "Serialization assertion failed: the plan ends in its header";
    }
    std::istringstream lines{std::string(text.substr(MAGIC.size(), end + 1 - MAGIC.size()))};
    for (std::string line; std::getline(lines, line);) {
        if (const std::size_t equals = line.find('='); equals != std::string::npos) {
            plan.keys[line.substr(0, equals)] = line.substr(equals + 1);
        }
    }
    const std::size_t wanted = strtoull(plan.get("onnx", "0").c_str(), nullptr, 10);
    plan.keys.erase("onnx");
    const std::string_view onnx = text.substr(end + 2);
    if (onnx.size() < wanted) {
        return "Serialization assertion sizeRead == size failed: " + std::to_string(wanted) + " bytes expected, " +
               std::to_string(onnx.size()) + " left";
    }
    plan.onnx.assign(onnx.begin(), onnx.begin() + wanted);
    return "";
}

int type_named(const std::string& name) {
    const std::map<std::string, int> types = {{"fp32", F32}, {"fp16", F16}, {"u8", U8}, {"int8", I8}, {"int32", I32}};
    auto found = types.find(name);
    if (found == types.end()) {
        illegal("a plan with tensors of type " + name);
    }
    return found->second;
}

std::size_t bytes_of(int type) { return type == F32 || type == I32 ? 4 : type == F16 ? 2 : 1; }

// ---- implementations -------------------------------------------------------------------------------------------------------

struct Memory : Impl {
    std::string bytes;
};

struct Runtime : Impl {
    void* logger = nullptr;
};

struct Profile : Impl {
    std::map<std::string, std::vector<std::int64_t>> dims[3];
};

struct Engine : Impl {
    void* logger = nullptr;
    Plan plan;
    std::vector<TensorInfo> tensors;
    bool dynamic = false;
    std::int64_t batches[3] = {1, 1, 1};
    int n_profiles = 1;
    std::mutex choosing;
    std::vector<bool> profile_taken; // under `choosing`: contexts come and go on several threads
    std::uint64_t weights = 0;
};

// What one enqueue computes. Graphs replay it, so it lives as long as its context.
struct Job {
    struct Part {
        TensorInfo info;
        std::uint64_t address;
        std::size_t items;   // of one item of the batch
        std::size_t batch;
    };
    Model* model;
    std::vector<Part> parts; // inputs first
    std::atomic<bool>* alive;
    std::mutex* running;
};

struct Context : Impl {
    Engine* engine = nullptr;
    std::unique_ptr<Model> model;
    std::map<std::string, std::uint64_t> addresses;
    std::int64_t batch = 0; // 0: not set
    int profile = -1;
    bool profile_chosen = false; // by setOptimizationProfileAsync, on this stream
    void* profile_stream = nullptr;
    std::uint64_t scratch = 0;
    std::vector<std::unique_ptr<Job>> jobs;
    std::atomic<bool>* alive = new std::atomic<bool>(true); // never freed: a job that comes too late reads it
    std::mutex running;
};

struct Builder : Impl {
    void* logger = nullptr;
    std::vector<Profile*> profiles;
};

struct Cache : Impl {
    std::string bytes;
};

struct Config : Impl {
    unsigned flags = 0;
    std::size_t workspace = 0;
    Profile* profile = nullptr;
    Cache* cache = nullptr;
    void* monitor = nullptr;
};

struct RuntimeConfig : Impl {
    Cache* cache = nullptr;
};

void* host_memory(std::string bytes) {
    auto* memory = make<Memory>(VHostMemory, nullptr);
    memory->bytes = std::move(bytes);
    return &memory->object;
}

void* memory_data(Memory* self) { return self->bytes.data(); }
std::size_t memory_size(Memory* self) { return self->bytes.size(); }
std::int32_t memory_type(Memory*) { return 2; }

float from_half(std::uint16_t half) {
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    float value;
    if (exponent == 0) {
        value = static_cast<float>(fraction) / (1 << 24);
    } else if (exponent == 31) {
        value = fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
    } else {
        value = static_cast<float>(1024 + fraction) * static_cast<float>(1u << exponent) / (1 << 25);
    }
    return half & 0x8000 ? -value : value;
}

// To the nearest, ties to even.
std::uint16_t to_half(float value) {
    std::uint32_t bits;
    memcpy(&bits, &value, 4);
    const std::uint16_t sign = bits >> 16 & 0x8000;
    const std::uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) {
        return sign | 0x7e00;
    }
    if (magnitude >= 0x477ff000) {
        return sign | 0x7c00;
    }
    std::uint32_t kept, rest, half;
    if (magnitude < 0x38800000) {
        const int shift = 126 - static_cast<int>(magnitude >> 23);
        if (shift > 24) {
            return sign;
        }
        const std::uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
        kept = mantissa >> shift;
        rest = mantissa & ((1u << shift) - 1);
        half = 1u << (shift - 1);
    } else {
        kept = (magnitude - 0x38000000) >> 13;
        rest = magnitude & 0x1fff;
        half = 0x1000;
    }
    if (rest > half || (rest == half && kept & 1)) {
        ++kept;
    }
    return sign | static_cast<std::uint16_t>(kept);
}

// One item of the batch, whose tensors lie one after the other.
void compute_item(const Job& job, std::size_t item, bool nan) {
    const Job::Part& in = job.parts[0];
    std::vector<float> input(in.items);
    for (std::size_t i = 0; i < in.items; ++i) {
        const std::size_t at = item * in.items + i;
        switch (in.info.type) {
        case F32:
            input[i] = reinterpret_cast<const float*>(in.address)[at];
            break;
        case F16:
            input[i] = from_half(reinterpret_cast<const std::uint16_t*>(in.address)[at]);
            break;
        case U8:
            input[i] = static_cast<float>(reinterpret_cast<const std::uint8_t*>(in.address)[at]) / 255.0f;
            break;
        default:
            illegal("an input of this type is not emulated");
        }
    }
    std::vector<std::vector<float>> computed;
    std::vector<float*> outputs;
    for (std::size_t i = 1; i < job.parts.size(); ++i) {
        computed.emplace_back(job.parts[i].items);
    }
    for (auto& output : computed) {
        outputs.push_back(output.data());
    }
    if (!job.model->run(input.data(), outputs.data())) {
        illegal("the network inside the plan does not run");
    }
    for (std::size_t o = 0; o < computed.size(); ++o) {
        const Job::Part& part = job.parts[1 + o];
        for (std::size_t i = 0; i < part.items; ++i) {
            const std::size_t at = item * part.items + i;
            const float value = nan ? std::numeric_limits<float>::quiet_NaN() : computed[o][i];
            if (part.info.type == F16) {
                reinterpret_cast<std::uint16_t*>(part.address)[at] = to_half(value);
            } else if (part.info.type == F32) {
                reinterpret_cast<float*>(part.address)[at] = value;
            } else {
                illegal("an output of this type is not emulated");
            }
        }
    }
}

void compute(void* data) {
    const Job& job = *static_cast<Job*>(data);
    if (!*job.alive) {
        illegal("an enqueued inference ran after its context was destroyed");
    }
    std::lock_guard<std::mutex> guard(*job.running);
    for (const Job::Part& part : job.parts) {
        const std::size_t needed = part.items * part.batch * bytes_of(part.info.type);
        if (cellsegd_fake_room(part.address) < needed) {
            illegal("tensor " + part.info.name + " needs " + std::to_string(needed) + " bytes, at its address are " +
                    std::to_string(cellsegd_fake_room(part.address)));
        }
    }
    count("inferences");
    const bool nan = strikes("nan");
    for (std::size_t item = 0; item < job.parts[0].batch; ++item) {
        compute_item(job, item, nan);
    }
}

// ---- runtime ---------------------------------------------------------------------------------------------------------------

// Empty, or why the plan is none for this library and device.
std::string refusal(const Plan& plan, int device) {
    const std::string built = plan.get("tensorrt", "?");
    if (plan.get("flavour", "full") != FLAVOUR) {
        return "Error Code 1: Serialization (the plan is of another flavour of TensorRT)";
    }
    const bool compatible = plan.get("version_compatible", "no") == "yes";
    if (built != version().text() && !compatible) {
        return "Error Code 1: Serialization (Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed."
               "Version tag does not match. Note: Current Version: " +
               version().text() + ", Serialized Engine Version: " + built + ")";
    }
    const int here = cellsegd_fake_compute_capability(device);
    const std::string capability = std::to_string(here / 10) + "." + std::to_string(here % 10);
    const std::string wanted = plan.get("compute", "any");
    if (wanted != "any" && wanted != capability) {
        return "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible device, expecting compute " +
               capability + " got compute " + wanted + ", please rebuild.)";
    }
    return "";
}

int current_device(const char* call) {
    void* context = nullptr;
    int device = 0;
    if (cuCtxGetCurrent(&context) != 0 || !context || cuCtxGetDevice(&device) != 0) {
        illegal(std::string(call) + ": no CUDA context is current on this thread");
    }
    return device;
}

void* runtime_deserialize(Runtime* self, const void* blob, std::size_t bytes) {
    count("deserializeCudaEngine");
    const int device = current_device("deserializeCudaEngine");
    auto failed = [&](const std::string& why) -> void* {
        say(self->logger, ERROR, "IRuntime::deserializeCudaEngine: " + why);
        return nullptr;
    };
    Plan plan;
    if (std::string wrong = read(blob, bytes, plan); !wrong.empty()) {
        return failed("Error Code 1: Serialization (" + wrong + ")");
    }
    if (std::string wrong = refusal(plan, device); !wrong.empty()) {
        return failed(wrong);
    }
    std::string complaint;
    std::unique_ptr<Model> model(Model::open(plan.onnx.data(), plan.onnx.size(), complaint));
    if (!model) {
        return failed("Error Code 2: Internal Error (" + complaint + ")");
    }
    std::uint64_t weights = 0;
    if (int code = cuMemAlloc_v2(&weights, plan.onnx.size())) {
        const char* name = "?";
        cuGetErrorName(code, &name);
        return failed(std::string("Error Code 2: OutOfMemory (Requested size was ") + std::to_string(plan.onnx.size()) + " bytes, " +
                      name + ".)");
    }
    auto* engine = make<Engine>(VCudaEngine, self);
    engine->logger = self->logger;
    engine->weights = weights;
    engine->n_profiles = atoi(plan.get("profiles", "1").c_str());
    engine->profile_taken.assign(engine->n_profiles, false);
    const std::string batch = plan.get("batch", "1");
    engine->dynamic = batch.rfind("dynamic:", 0) == 0;
    if (engine->dynamic) {
        sscanf(batch.c_str(), "dynamic:%ld,%ld,%ld", &engine->batches[0], &engine->batches[1], &engine->batches[2]);
    } else {
        engine->batches[0] = engine->batches[1] = engine->batches[2] = atoi(batch.c_str());
    }
    engine->tensors = model->tensors;
    bool first_output = true;
    for (TensorInfo& tensor : engine->tensors) {
        tensor.type = type_named(plan.get(tensor.input ? "input" : "output", "fp32"));
        tensor.name = plan.get("rename." + tensor.name, tensor.name);
        tensor.dims[0] = engine->dynamic ? -1 : engine->batches[1];
        if (!tensor.input && first_output) {
            first_output = false;
            if (strikes("wrong_tensor")) {
                std::swap(tensor.dims[1], tensor.dims[2]);
            }
        }
    }
    engine->plan = std::move(plan);
    say(self->logger, INFO, "Loaded engine size: " + std::to_string(bytes >> 20) + " MiB");
    return &engine->object;
}

void runtime_allow_host_code(Runtime*, bool) {}

std::int32_t engine_profiles(Engine* self) { return self->n_profiles; }
std::int64_t engine_memory(Engine*) { return 1 << 20; }
std::int32_t engine_n_tensors(Engine* self) { return static_cast<std::int32_t>(self->tensors.size()); }

const char* engine_tensor_name(Engine* self, std::int32_t index) {
    return index < 0 || index >= engine_n_tensors(self) ? nullptr : self->tensors[index].name.c_str();
}

const TensorInfo* tensor(Engine* engine, const char* name) {
    for (const TensorInfo& each : engine->tensors) {
        if (name && each.name == name) {
            return &each;
        }
    }
    say(engine->logger, ERROR, std::string("Error Code 3: API Usage Error (no tensor is called ") + (name ? name : "(null)") + ")");
    return nullptr;
}

Dims engine_tensor_shape(Engine* self, const char* name) {
    const TensorInfo* found = tensor(self, name);
    return found ? dims(found->dims) : NO_DIMS;
}

std::int32_t engine_tensor_type(Engine* self, const char* name) {
    const TensorInfo* found = tensor(self, name);
    return found ? found->type : 0;
}

// kNONE, kINPUT, kOUTPUT.
std::int32_t engine_tensor_mode(Engine* self, const char* name) {
    const TensorInfo* found = tensor(self, name);
    return !found ? 0 : found->input ? 1 : 2;
}

std::int32_t engine_tensor_location(Engine*, const char*) { return 0; } // kDEVICE
std::int32_t engine_tensor_format(Engine*, const char*) { return 0; }   // kLINEAR

Dims engine_profile_shape(Engine* self, const char* name, std::int32_t profile, std::int32_t select) {
    const TensorInfo* found = tensor(self, name);
    if (!found || !found->input || profile < 0 || profile >= self->n_profiles || select < 0 || select > 2) {
        return NO_DIMS;
    }
    std::vector<std::int64_t> shape = found->dims;
    shape[0] = self->batches[select];
    return dims(shape);
}

void* create_context(Engine* self) {
    current_device("createExecutionContext");
    if (strikes("context")) {
        say(self->logger, ERROR, "Error Code 2: OutOfMemory (no memory for the context)");
        return nullptr;
    }
    std::uint64_t scratch = 0;
    if (cuMemAlloc_v2(&scratch, 1 << 20) != 0) {
        say(self->logger, ERROR, "Error Code 2: OutOfMemory (Requested size was 1048576 bytes.)");
        return nullptr;
    }
    std::string complaint;
    auto* context = make<Context>(VExecutionContext, self);
    context->engine = self;
    context->scratch = scratch;
    context->model.reset(Model::open(self->plan.onnx.data(), self->plan.onnx.size(), complaint));
    context->batch = self->dynamic ? 0 : self->batches[1];
    // The first context takes profile 0 by itself; from TensorRT 10 on contexts may share one.
    std::lock_guard<std::mutex> guard(self->choosing);
    if (MAJOR != 8 || !self->dynamic || !self->profile_taken[0]) {
        context->profile = 0;
        self->profile_taken[0] = true;
    }
    return &context->object;
}

#if MAJOR == 8 && !defined(FROM_HEADERS)
void* engine_create_context(Engine* self) { return create_context(self); }
#else
void* engine_create_context(Engine* self, std::int32_t strategy) {
    if (strategy != 0) {
        illegal("createExecutionContext: strategy " + std::to_string(strategy) + ", which leaves the context without memory");
    }
    return create_context(self);
}
#endif

// ---- context ---------------------------------------------------------------------------------------------------------------

bool context_set_shape(Context* self, const char* name, const Dims* wanted) {
    const TensorInfo* found = tensor(self->engine, name);
    if (!found || !found->input) {
        return false;
    }
    const std::vector<std::int64_t> shape = values(*wanted);
    bool fits = shape.size() == found->dims.size();
    for (std::size_t i = 0; fits && i < shape.size(); ++i) {
        fits = found->dims[i] < 0 ? self->engine->batches[0] <= shape[i] && shape[i] <= self->engine->batches[2]
                                  : shape[i] == found->dims[i];
    }
    if (self->profile < 0 || !fits) {
        say(self->engine->logger, ERROR,
            "IExecutionContext::setInputShape: Error Code 3: API Usage Error (" + std::string(name) + ": dimensions " + words(shape) +
                " for profile " + std::to_string(self->profile) + ", engine's " + words(found->dims) + ")");
        return false;
    }
    count("setInputShape");
    self->batch = shape[0];
    return true;
}

bool context_set_address(Context* self, const char* name, void* address) {
    if (!tensor(self->engine, name)) {
        return false;
    }
    if (reinterpret_cast<std::uintptr_t>(address) % 256 != 0) {
        say(self->engine->logger, ERROR, std::string("setTensorAddress: ") + name + " is not aligned to 256 bytes");
        return false;
    }
    self->addresses[name] = reinterpret_cast<std::uint64_t>(address);
    return true;
}

bool context_set_profile(Context* self, std::int32_t profile, void* stream) {
    Engine* engine = self->engine;
    const bool sole = MAJOR == 8 && engine->dynamic;
    std::lock_guard<std::mutex> guard(engine->choosing);
    if (profile < 0 || profile >= engine->n_profiles || (sole && profile != self->profile && engine->profile_taken[profile])) {
        say(engine->logger, ERROR,
            "setOptimizationProfileAsync: Error Code 3: API Usage Error (Profile " + std::to_string(profile) +
                " has been chosen by another IExecutionContext. Use another profileIndex or destroy it.)");
        return false;
    }
    if (self->profile >= 0) {
        engine->profile_taken[self->profile] = false;
    }
    engine->profile_taken[profile] = true;
    self->profile = profile;
    self->profile_chosen = true;
    self->profile_stream = stream;
    return true;
}

bool context_enqueue(Context* self, void* stream) {
    count("enqueueV3");
    Engine* engine = self->engine;
    auto failed = [&](const std::string& why) {
        say(engine->logger, ERROR, "IExecutionContext::enqueueV3: " + why);
        return false;
    };
    if (strikes("enqueue", "call")) {
        return failed("Error Code 1: Cuda Runtime (on order)");
    }
    current_device("enqueueV3");
    if (self->profile < 0) {
        return failed("Error Code 3: API Usage Error (no optimization profile has been chosen)");
    }
    // Choosing a profile copies on its stream; NvInferRuntime.h asks for the same one here, or for a wait that we do not see.
    if (self->profile_chosen && self->profile_stream != stream) {
        illegal("enqueueV3 on another stream than that of setOptimizationProfileAsync");
    }
    if (self->batch == 0) {
        return failed("Error Code 3: API Usage Error (the input's shape has not been specified)");
    }
    auto job = std::make_unique<Job>();
    job->model = self->model.get();
    job->alive = self->alive;
    job->running = &self->running;
    for (const TensorInfo& info : engine->tensors) {
        auto address = self->addresses.find(info.name);
        if (address == self->addresses.end() || address->second == 0) {
            return failed("Error Code 3: API Usage Error (address of " + info.name + " is not set)");
        }
        std::size_t items = 1;
        for (std::size_t i = 1; i < info.dims.size(); ++i) {
            items *= static_cast<std::size_t>(info.dims[i]);
        }
        job->parts.push_back({info, address->second, items, static_cast<std::size_t>(self->batch)});
    }
    Job* data = job.get();
    self->jobs.push_back(std::move(job));
    if (int code = cuLaunchHostFunc(stream, compute, data)) {
        const char* name = "?";
        cuGetErrorName(code, &name);
        return failed(std::string("Error Code 1: Cuda Runtime (") + name + ")");
    }
    return true;
}

// ---- builder ---------------------------------------------------------------------------------------------------------------

void* builder_create_config(Builder* self) { return &make<Config>(VBuilderConfig, self)->object; }

void* builder_create_network(Builder* self, std::uint32_t flags) {
#if MAJOR == 8 && !defined(FROM_HEADERS)
    if (!(flags & 1)) {
        say(self->logger, ERROR, "createNetworkV2: the ONNX parser needs kEXPLICIT_BATCH");
        return nullptr;
    }
#endif
    auto* network = make<Network>(VNetworkDefinition, self);
    network->flags = flags;
    return &network->object;
}

void* builder_create_profile(Builder* self) {
    auto* profile = make<Profile>(VOptimizationProfile, nullptr);
    self->profiles.push_back(profile);
    return &profile->object;
}

std::string batch_of(const Builder& builder, const Network& network, const Config& config, std::string& wrong) {
    const TensorInfo& input = network.inputs.at(0)->info;
    const bool open = input.dims[0] < 0;
    if (!open && !config.profile) {
        return std::to_string(input.dims[0]);
    }
    if (!config.profile) {
        wrong = "Network has dynamic or shape inputs, but no optimization profile has been defined.";
        return "";
    }
    std::string text = open ? "dynamic:" : "";
    for (int select : {0, 1, 2}) { // kMIN, kOPT, kMAX
        auto found = config.profile->dims[select].find(input.name);
        if (found == config.profile->dims[select].end() || found->second.size() != input.dims.size()) {
            wrong = "the optimization profile lacks " + input.name;
            return "";
        }
        text += (select ? "," : "") + std::to_string(found->second[0]);
    }
    (void)builder;
    return open ? text : std::to_string(input.dims[0]);
}

struct Monitor {
    void* monitor;
    void phase_start(const char* name, const char* parent, int steps) const {
        if (!monitor) {
            return;
        }
#ifdef FROM_HEADERS
        static_cast<nvinfer1::IProgressMonitor*>(monitor)->phaseStart(name, parent, steps);
#else
        reinterpret_cast<void (*)(void*, const char*, const char*, std::int32_t)>(method(4))(monitor, name, parent, steps);
#endif
    }
    bool step(const char* name, int step) const {
        if (!monitor) {
            return true;
        }
#ifdef FROM_HEADERS
        return static_cast<nvinfer1::IProgressMonitor*>(monitor)->stepComplete(name, step);
#else
        return reinterpret_cast<bool (*)(void*, const char*, std::int32_t)>(method(5))(monitor, name, step);
#endif
    }
    void phase_finish(const char* name) const {
        if (!monitor) {
            return;
        }
#ifdef FROM_HEADERS
        static_cast<nvinfer1::IProgressMonitor*>(monitor)->phaseFinish(name);
#else
        reinterpret_cast<void (*)(void*, const char*)>(method(6))(monitor, name);
#endif
    }
#ifndef FROM_HEADERS
    // IVersionedInterface: [getAPILanguage, getInterfaceInfo, D1, D0, phaseStart, stepComplete, phaseFinish].
    void* method(int slot) const { return (*static_cast<void***>(monitor))[slot]; }
#endif
};

void* builder_build(Builder* self, void* network_object, void* config_object) {
    auto* network = of<Network>(network_object);
    auto* config = of<Config>(config_object);
    auto failed = [&](const std::string& why) -> void* {
        say(self->logger, ERROR, "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (" + why + ")");
        return nullptr;
    };
    if (network->inputs.empty()) {
        return failed("Network must have at least one input");
    }
    if (strikes("build")) {
        return failed("on order");
    }
    std::string wrong;
    Plan plan;
    plan.keys["batch"] = batch_of(*self, *network, *config, wrong);
    if (!wrong.empty()) {
        return failed(wrong);
    }
    const Monitor monitor{config->monitor};
    monitor.phase_start("Building engine from subgraph", nullptr, 3);
    for (int step = 0; step < 3; ++step) {
        say(self->logger, VERBOSE, "tactic " + std::to_string(step));
        if (!monitor.step("Building engine from subgraph", step)) {
            monitor.phase_finish("Building engine from subgraph");
            return failed("cancelled");
        }
    }
    monitor.phase_finish("Building engine from subgraph");
    int device = 0;
    void* context = nullptr;
    if (cuCtxGetCurrent(&context) == 0 && context) {
        cuCtxGetDevice(&device);
    }
    plan.keys["tensorrt"] = version().text();
    plan.keys["flavour"] = FLAVOUR;
#ifdef RTX
    plan.keys["compute"] = "any";
#else
    const int capability = cellsegd_fake_compute_capability(device);
    plan.keys["compute"] = std::to_string(capability / 10) + "." + std::to_string(capability % 10);
#endif
    char flags[16];
    snprintf(flags, sizeof flags, "0x%x", config->flags);
    plan.keys["flags"] = flags;
    plan.keys["workspace"] = std::to_string(config->workspace);
    plan.onnx = network->onnx;
    if (config->cache) {
        config->cache->bytes += "one more build\n";
    }
    say(self->logger, INFO, "Engine generation completed");
    return host_memory(plan.text());
}

void config_set_flag(Config* self, std::int32_t flag) { self->flags |= 1u << flag; }

void config_set_memory(Config* self, std::int32_t pool, std::size_t bytes) {
    if (pool == 0) { // kWORKSPACE
        self->workspace = bytes;
    }
}

std::int32_t config_add_profile(Config* self, void* profile) {
    self->profile = of<Profile>(profile);
    return 0;
}

const std::string CACHE_MAGIC = "fake timing cache\n";

void* config_create_cache(Config* self, const void* blob, std::size_t bytes) {
    auto* cache = make<Cache>(VTimingCache, self->parent);
    const std::string text(static_cast<const char*>(blob), bytes);
    if (bytes && text.rfind(CACHE_MAGIC, 0) != 0) {
        say(static_cast<Builder*>(self->parent)->logger, ERROR, "createTimingCache: junk");
        return nullptr;
    }
    cache->bytes = bytes ? text : CACHE_MAGIC;
    return &cache->object;
}

bool config_set_cache(Config* self, void* cache, bool) {
    self->cache = of<Cache>(cache);
    return true;
}

void config_set_monitor(Config* self, void* monitor) { self->monitor = monitor; }

void* cache_serialize(Cache* self) { return host_memory(self->bytes); }

#if MAJOR == 8 && !defined(FROM_HEADERS)
bool profile_set(Profile* self, const char* name, std::int32_t select, Dims wanted) {
#else
bool profile_set(Profile* self, const char* name, std::int32_t select, const Dims& wanted) {
#endif
    if (select < 0 || select > 2 || wanted.nbDims < 0 || wanted.nbDims > 8) {
        return false;
    }
    self->dims[select][name] = values(wanted);
    return true;
}

std::int32_t network_n_inputs(Network* self) { return static_cast<std::int32_t>(self->inputs.size()); }
std::int32_t network_n_outputs(Network* self) { return static_cast<std::int32_t>(self->outputs.size()); }

void* network_input(Network* self, std::int32_t index) {
    return index < 0 || index >= network_n_inputs(self) ? nullptr : &self->inputs[index]->object;
}

void* network_output(Network* self, std::int32_t index) {
    return index < 0 || index >= network_n_outputs(self) ? nullptr : &self->outputs[index]->object;
}

const char* tensor_name(Tensor* self) { return self->info.name.c_str(); }
Dims tensor_dims(Tensor* self) { return dims(self->info.dims); }
std::int32_t tensor_type(Tensor* self) { return self->info.type; }

// ---- TensorRT-RTX ----------------------------------------------------------------------------------------------------------

#ifdef FROM_HEADERS
void* engine_create_runtime_config(Engine* self) { return &make<RuntimeConfig>(VRuntimeConfig, self)->object; }

void* engine_create_context_with(Engine* self, void* config_object) {
    auto* config = of<RuntimeConfig>(config_object);
    void* context = create_context(self);
    if (context && config->cache) {
        // Kernels that a cache holds are not compiled again.
        const std::string kernel = "kernels of " + std::to_string(self->plan.onnx.size()) + "\n";
        const bool known = config->cache->bytes.find(kernel) != std::string::npos;
        count(known ? "rtx_kernels_from_cache" : "rtx_kernels_compiled");
        if (!known) {
            config->cache->bytes += kernel;
        }
    }
    return context;
}

#ifdef RTX
std::int32_t runtime_validity(Runtime*, const void* blob, std::int64_t bytes, std::uint64_t* diagnostics) {
    Plan plan;
    if (diagnostics) {
        *diagnostics = 0;
    }
    const bool valid = read(blob, static_cast<std::size_t>(bytes), plan).empty() && refusal(plan, 0).empty();
    return valid ? 0 : 2; // kVALID, kINVALID
}

const std::string RUNTIME_CACHE_MAGIC = "fake runtime cache\n";

void* runtime_config_create_cache(RuntimeConfig* self) {
    auto* cache = make<Cache>(VRuntimeCache, self->parent);
    cache->bytes = RUNTIME_CACHE_MAGIC;
    return &cache->object;
}

bool runtime_config_set_cache(RuntimeConfig* self, void* cache) {
    self->cache = of<Cache>(cache);
    return true;
}

void* runtime_cache_serialize(Cache* self) { return host_memory(self->bytes); }

bool runtime_cache_deserialize(Cache* self, const void* blob, std::size_t bytes) {
    const std::string text(static_cast<const char*>(blob), bytes);
    if (text.rfind(RUNTIME_CACHE_MAGIC, 0) != 0) {
        return false;
    }
    self->bytes = text;
    return true;
}
#endif
#endif

// ---- life and death --------------------------------------------------------------------------------------------------------

void destroy(Impl* self) {
    if (self->children != 0) {
        illegal(std::string(NAMES[self->kind]) + " was destroyed before " + std::to_string(self->children) +
                " object(s) that it made");
    }
    Impl* const parent = self->parent;
    count("live_trt_objects", -1);
    switch (self->kind) {
    case VHostMemory:
        delete static_cast<Memory*>(self);
        break;
    case VRuntime:
        delete static_cast<Runtime*>(self);
        break;
    case VCudaEngine:
        cuMemFree_v2(static_cast<Engine*>(self)->weights);
        delete static_cast<Engine*>(self);
        break;
    case VExecutionContext: {
        auto* context = static_cast<Context*>(self);
        *context->alive = false;
        cuMemFree_v2(context->scratch);
        if (context->profile >= 0) {
            std::lock_guard<std::mutex> guard(context->engine->choosing);
            context->engine->profile_taken[context->profile] = false;
        }
        // Its jobs stay readable for whoever comes too late.
        for (auto& job : context->jobs) {
            job.release();
        }
        delete context;
        break;
    }
    case VBuilder: {
        auto* builder = static_cast<Builder*>(self);
        for (Profile* profile : builder->profiles) {
            count("live_trt_objects", -1);
            delete profile;
        }
        delete builder;
        break;
    }
    case VBuilderConfig:
        delete static_cast<Config*>(self);
        break;
    case VNetworkDefinition: {
        auto* network = static_cast<Network*>(self);
        for (auto* tensors : {&network->inputs, &network->outputs}) {
            for (Tensor* each : *tensors) {
                count("live_trt_objects", -1);
                delete each;
            }
        }
        delete network;
        break;
    }
    case VTimingCache:
    case VRuntimeCache:
        delete static_cast<Cache*>(self);
        break;
    case VRuntimeConfig:
        delete static_cast<RuntimeConfig*>(self);
        break;
    default:
        illegal(std::string(NAMES[self->kind]) + " was deleted, which belongs to another object");
    }
    // Last: a context touches its engine until here, and an engine that goes meanwhile is destroyed too early.
    if (parent) {
        --parent->children;
    }
}

// D1 leaves the memory, D0 frees it: only the second is what a program may call.
void complete_destructor(Object* self) { illegal(std::string("slot 0 of ") + NAMES[self->impl->kind] + ": the destructor that frees nothing"); }
void deleting_destructor(Object* self) { destroy(self->impl); }

void* (*tables())[SLOTS] {
    static void* (*made)[SLOTS] = [] {
        static void* tables[CLASSES][SLOTS];
        fill_all(tables, std::make_integer_sequence<int, CLASSES>{});
#ifdef FROM_HEADERS
        using namespace nvinfer1;
#endif
#include "methods.inc"
        return tables;
    }();
    return made;
}

void** table_of(Class kind) { return tables()[kind]; }

void** object_table(Class) {
    static void* table[SLOTS];
    static const bool filled = [] {
        fill_with<0>(table, std::make_integer_sequence<int, SLOTS>{});
        table[0] = reinterpret_cast<void*>(&complete_destructor);
        table[1] = reinterpret_cast<void*>(&deleting_destructor);
        return true;
    }();
    (void)filled;
    return table;
}

// A full library does nothing without a device; RTX builds without one.
bool cuda_is_there(void* logger, const char* call) {
    int n = 0;
    if (int code = cuInit(0); code != 0 || cuDeviceGetCount(&n) != 0 || n == 0) {
        say(logger, ERROR, std::string(call) + ": CUDA initialization failure with error: " + std::to_string(code));
        return false;
    }
    return true;
}

bool version_fits(void* logger, int wanted) {
    if (wanted != version().number()) {
        say(logger, ERROR, "the program asks for version " + std::to_string(wanted) + ", this library is " + std::to_string(version().number()));
        return false;
    }
    return true;
}

} // namespace

bool fill(void* object, const void* onnx, std::size_t bytes, std::string& complaint) {
    auto* network = of<Network>(object);
    std::unique_ptr<Model> model(Model::open(onnx, bytes, complaint));
    if (!model) {
        return false;
    }
    const auto* begin = static_cast<const std::uint8_t*>(onnx);
    network->onnx.assign(begin, begin + bytes);
    for (const TensorInfo& info : model->tensors) {
        auto* made = make<Tensor>(VTensor, nullptr);
        made->info = info;
        (info.input ? network->inputs : network->outputs).push_back(made);
    }
    return true;
}

} // namespace standin

using namespace standin;

API bool cellsegd_fake_fill(void* network, const void* onnx, std::size_t bytes, char* complaint, std::size_t room) {
    std::string why;
    const bool filled = fill(network, onnx, bytes, why);
    snprintf(complaint, room, "%s", why.c_str());
    return filled;
}

API void cellsegd_fake_say(void* logger, int severity, const char* text) { say(logger, severity, text); }

API std::int32_t getInferLibVersion() { return version().number(); }
API std::int32_t getInferLibMajorVersion() { return version().major; }
API std::int32_t getInferLibMinorVersion() { return version().minor; }
API std::int32_t getInferLibPatchVersion() { return version().patch; }
API std::int32_t getInferLibBuildVersion() { return 0; }

#ifndef WITHOUT_RUNTIME
API void* createInferRuntime_INTERNAL(void* logger, std::int32_t wanted) {
    if (!version_fits(logger, wanted) || !cuda_is_there(logger, "createInferRuntime")) {
        return nullptr;
    }
    auto* runtime = make<Runtime>(VRuntime, nullptr);
    runtime->logger = logger;
    return &runtime->object;
}
#endif

API void* createInferBuilder_INTERNAL(void* logger, std::int32_t wanted) {
    bool there = version_fits(logger, wanted);
#ifndef RTX
    there = there && cuda_is_there(logger, "createInferBuilder");
#endif
    if (!there) {
        return nullptr;
    }
    auto* builder = make<Builder>(VBuilder, nullptr);
    builder->logger = logger;
    return &builder->object;
}
