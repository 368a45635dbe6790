// What the two libraries of a stand-in share: TensorRT's objects as a C++ compiler lays them out, and the network inside.
//
// Compiled four or five times: -DFROM_HEADERS with the genuine headers of TensorRT 11 or RTX, from which the compiler tells every
// slot; -DMAJOR=8 or 10 without headers, with the slots of slots.txt. Never from the daemon's own tables.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#ifdef FROM_HEADERS
#include "NvInfer.h"
using Dims = nvinfer1::Dims;
#define MAJOR NV_TENSORRT_MAJOR
#elif MAJOR == 8
struct Dims {
    std::int32_t nbDims;
    std::int32_t d[8];
};
#else
struct Dims {
    std::int32_t nbDims;
    std::int64_t d[8];
};
#endif

#define API extern "C" __attribute__((visibility("default")))

namespace standin {

enum Class {
    VHostMemory,
    VRuntime,
    VCudaEngine,
    VExecutionContext,
    VBuilder,
    VBuilderConfig,
    VOptimizationProfile,
    VNetworkDefinition,
    VTensor,
    VTimingCache,
    VRuntimeConfig,
    VRuntimeCache,
    CLASSES,
};

struct Impl;

// To the program: an IRuntime, ICudaEngine, ...: the destructors' table and the pointer behind which the methods lie.
struct Object {
    void** table;
    Impl* impl;
};

// Not polymorphic: its first word must be the table that the program reads.
struct Impl {
    void** table;
    Class kind;
    Object object;
    Impl* parent; // must outlive it
    std::atomic<int> children{0}; // contexts of one engine come and go on several threads
};

enum Type { F32 = 0, F16 = 1, I8 = 2, I32 = 3, U8 = 5 };

struct TensorInfo {
    std::string name;
    bool input;
    int type;
    std::vector<std::int64_t> dims; // -1: open
};

struct Tensor : Impl {
    TensorInfo info;
};

struct Network : Impl {
    unsigned flags = 0;
    std::vector<std::uint8_t> onnx;
    std::vector<Tensor*> inputs, outputs;
};

// The network inside a plan, by the library `fake_engine`.
class Model {
  public:
    // Null: `complaint` says why.
    static Model* open(const void* onnx, std::size_t bytes, std::string& complaint);
    ~Model();
    Model(const Model&) = delete;
    std::vector<TensorInfo> tensors; // all F32
    bool run(const float* input, float* const* outputs);

  private:
    Model() = default;
    void* network_ = nullptr;
};

[[noreturn]] void illegal(const std::string& text);
void say(void* logger, int severity, const std::string& text);
constexpr int ERROR = 1, WARNING = 2, INFO = 3, VERBOSE = 4;

// What the parser does, in the library that owns networks. False: `complaint` says why.
bool fill(void* network, const void* onnx, std::size_t bytes, std::string& complaint);

} // namespace standin

// Exported by libnvinfer for the parser's library.
API bool cellsegd_fake_fill(void* network, const void* onnx, std::size_t bytes, char* complaint, std::size_t room);
API void cellsegd_fake_say(void* logger, int severity, const char* text);
