// libnvonnxparser.so.{8,10,11} and libtensorrt_onnxparser_rtx.so.1. A parser's methods lie in its own table, so it is a C++ class
// like the genuine one: derived from it where the headers are there, else declared in the order of NvOnnxParser.h of
// TensorRT 8.6 (onnx-tensorrt release/8.6-GA) and 10.x.

#include "standin.h"

#include <memory>

#ifdef FROM_HEADERS
#include "NvOnnxParser.h"
using IParserError = nvonnxparser::IParserError;
using IParser = nvonnxparser::IParser;
using ErrorCode = nvonnxparser::ErrorCode;
#else
enum class ErrorCode : int { kMODEL_DESERIALIZE_FAILED = 3 };

class IParserError {
  public:
    virtual ErrorCode code() const = 0;
    virtual char const* desc() const = 0;
    virtual char const* file() const = 0;
    virtual int line() const = 0;
    virtual char const* func() const = 0;
    virtual int node() const = 0;

  protected:
    virtual ~IParserError() = default;
};

class IParser {
  public:
    virtual bool parse(void const*, std::size_t, const char*) noexcept = 0;
    virtual bool parseFromFile(const char*, int) noexcept = 0;
    virtual bool supportsModel(void const*, std::size_t, void*, const char*) noexcept = 0;
    virtual bool parseWithWeightDescriptors(void const*, std::size_t) noexcept = 0;
    virtual bool supportsOperator(const char*) const noexcept = 0;
#if MAJOR == 8
    virtual void destroy() noexcept = 0;
#endif
    virtual int getNbErrors() const noexcept = 0;
    virtual IParserError const* getError(int) const noexcept = 0;
    virtual void clearErrors() noexcept = 0;
#if MAJOR == 8
    virtual void setFlags(std::uint32_t) noexcept = 0;
    virtual std::uint32_t getFlags() const noexcept = 0;
    virtual void clearFlag(std::int32_t) noexcept = 0;
    virtual void setFlag(std::int32_t) noexcept = 0;
    virtual bool getFlag(std::int32_t) const noexcept = 0;
    virtual ~IParser() noexcept = default;
    virtual char const* const* getUsedVCPluginLibraries(std::int64_t&) const noexcept = 0;
#else
    virtual ~IParser() noexcept = default;
    virtual char const* const* getUsedVCPluginLibraries(std::int64_t&) const noexcept = 0;
    virtual void setFlags(std::uint32_t) noexcept = 0;
    virtual std::uint32_t getFlags() const noexcept = 0;
    virtual void clearFlag(std::int32_t) noexcept = 0;
    virtual void setFlag(std::int32_t) noexcept = 0;
    virtual bool getFlag(std::int32_t) const noexcept = 0;
#endif
};
#endif

extern "C" {
void cellsegd_fake_count(const char*, std::int64_t);
void cellsegd_fake_illegal(const char*);
}

namespace {

[[noreturn]] void not_emulated(const char* method) {
    cellsegd_fake_illegal((std::string("IParser::") + method + " was called, which is not emulated: a wrong slot?").c_str());
    abort();
}

class Error final : public IParserError {
  public:
    explicit Error(std::string text) : text_(std::move(text)) {}
    ErrorCode code() const { return ErrorCode::kMODEL_DESERIALIZE_FAILED; }
    char const* desc() const { return text_.c_str(); }
    char const* file() const { return "ModelImporter.cpp"; }
    int line() const { return 1; }
    char const* func() const { return "parse"; }
    int node() const { return -1; }
    char const* nodeName() const { return ""; }
    char const* nodeOperator() const { return ""; }
    char const* const* localFunctionStack() const { return nullptr; }
    std::int32_t localFunctionStackSize() const { return 0; }

  private:
    std::string text_;
};

// Methods without `override`: not every version has each of them.
class Parser final : public IParser {
  public:
    Parser(void* network, void* logger) : network_(network), logger_(logger) { cellsegd_fake_count("live_parsers", 1); }
    ~Parser() noexcept { cellsegd_fake_count("live_parsers", -1); }

    bool parse(void const* onnx, std::size_t bytes, const char*) noexcept {
        char complaint[1024] = "";
        if (cellsegd_fake_fill(network_, onnx, bytes, complaint, sizeof complaint)) {
            return true;
        }
        errors_.push_back(std::make_unique<Error>(std::string("Failed to parse the ONNX model: ") + complaint));
        cellsegd_fake_say(logger_, standin::ERROR, errors_.back()->desc());
        return false;
    }
    int getNbErrors() const noexcept { return static_cast<int>(errors_.size()); }
    IParserError const* getError(int index) const noexcept {
        return index < 0 || index >= getNbErrors() ? nullptr : errors_[index].get();
    }
    void clearErrors() noexcept { errors_.clear(); }
    void destroy() noexcept { delete this; }

    void setFlags(std::uint32_t) noexcept {}
    std::uint32_t getFlags() const noexcept { return 0; }
#ifdef FROM_HEADERS
    using Flag = nvonnxparser::OnnxParserFlag;
    using Tensor = nvinfer1::ITensor const;
    using Config = nvinfer1::IBuilderConfig;
#else
    using Flag = std::int32_t;
    using Tensor = void;
    using Config = void;
#endif
    void setFlag(Flag) noexcept {}
    void clearFlag(Flag) noexcept {}
    bool getFlag(Flag) const noexcept { return false; }

    bool parseFromFile(const char*, int) noexcept { not_emulated("parseFromFile"); }
#if defined(RTX) && NV_TENSORRT_MINOR < 5
    using Graphs = SubGraphCollection_t&;
#else
    using Graphs = void*;
#endif
    bool supportsModel(void const*, std::size_t, Graphs, const char*) noexcept { not_emulated("supportsModel"); }
    bool parseWithWeightDescriptors(void const*, std::size_t) noexcept { not_emulated("parseWithWeightDescriptors"); }
    bool supportsOperator(const char*) const noexcept { not_emulated("supportsOperator"); }
    char const* const* getUsedVCPluginLibraries(std::int64_t&) const noexcept { not_emulated("getUsedVCPluginLibraries"); }
    Tensor* getLayerOutputTensor(char const*, std::int64_t) noexcept { not_emulated("getLayerOutputTensor"); }
    bool supportsModelV2(void const*, std::size_t, char const*) noexcept { not_emulated("supportsModelV2"); }
    std::int64_t getNbSubgraphs() noexcept { not_emulated("getNbSubgraphs"); }
    bool isSubgraphSupported(std::int64_t const) noexcept { not_emulated("isSubgraphSupported"); }
    std::int64_t* getSubgraphNodes(std::int64_t const, std::int64_t&) noexcept { not_emulated("getSubgraphNodes"); }
    bool loadModelProto(void const*, std::size_t, char const*) noexcept { not_emulated("loadModelProto"); }
    bool loadInitializer(char const*, void const*, std::size_t) noexcept { not_emulated("loadInitializer"); }
    bool parseModelProto() noexcept { not_emulated("parseModelProto"); }
    bool setBuilderConfig(Config const* const) noexcept { not_emulated("setBuilderConfig"); }
#if defined(FROM_HEADERS) && (NV_TENSORRT_MAJOR == 11 || NV_TENSORRT_MINOR >= 7)
    void setRefitObserver(nvonnxparser::IRefitterObserver*) noexcept { not_emulated("setRefitObserver"); }
#endif

  private:
    void* const network_;
    void* const logger_;
    std::vector<std::unique_ptr<Error>> errors_;
};

} // namespace

API void* createNvOnnxParser_INTERNAL(void* network, void* logger, int) {
    return static_cast<IParser*>(new Parser(network, logger));
}

API int getNvOnnxParserVersion() { return 100; }
