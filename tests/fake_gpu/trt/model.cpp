// The network inside a plan: `fake_engine` (tests/fake_gpu/engine.rs), opened at run time.

#include "standin.h"

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>

namespace standin {
namespace {

struct FakeTensor {
    const char* name;
    int input;
    int n_dims;
    std::int64_t dims[8];
};

struct Engine {
    void* (*open)(const void*, std::size_t, char*, std::size_t);
    int (*tensors)(const void*, FakeTensor*, int);
    int (*run)(void*, const float*, float* const*);
    void (*close)(void*);
};

// CELLSEGD_FAKE_ENGINE, else where cargo puts the example: target/fake_gpu/X/../../debug/examples.
const Engine& engine() {
    static const Engine opened = [] {
        std::string path;
        if (const char* chosen = getenv("CELLSEGD_FAKE_ENGINE"); chosen && *chosen) {
            path = chosen;
        } else {
            Dl_info info;
            dladdr(reinterpret_cast<void*>(&engine), &info);
            path = info.dli_fname;
            path = path.substr(0, path.rfind('/') + 1) + "../../debug/examples/libfake_engine.so";
        }
        void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            illegal(path + ": " + dlerror());
        }
        auto symbol = [&](const char* name) {
            void* found = dlsym(library, name);
            if (!found) {
                illegal(path + ": no symbol " + name);
            }
            return found;
        };
        Engine engine;
        engine.open = reinterpret_cast<decltype(engine.open)>(symbol("cellsegd_fake_engine_open"));
        engine.tensors = reinterpret_cast<decltype(engine.tensors)>(symbol("cellsegd_fake_engine_tensors"));
        engine.run = reinterpret_cast<decltype(engine.run)>(symbol("cellsegd_fake_engine_run"));
        engine.close = reinterpret_cast<decltype(engine.close)>(symbol("cellsegd_fake_engine_close"));
        return engine;
    }();
    return opened;
}

} // namespace

Model* Model::open(const void* onnx, std::size_t bytes, std::string& complaint) {
    char text[1024] = "";
    void* network = engine().open(onnx, bytes, text, sizeof text);
    if (!network) {
        complaint = text;
        return nullptr;
    }
    auto* model = new Model;
    model->network_ = network;
    FakeTensor tensors[16] = {};
    const int n = engine().tensors(network, tensors, 16);
    for (int i = 0; i < n && i < 16; ++i) {
        const FakeTensor& tensor = tensors[i];
        model->tensors.push_back({tensor.name, tensor.input != 0, F32, {tensor.dims, tensor.dims + tensor.n_dims}});
    }
    return model;
}

Model::~Model() { engine().close(network_); }

bool Model::run(const float* input, float* const* outputs) { return engine().run(network_, input, outputs) == 0; }

} // namespace standin
