// Modules, launches, captures and graphs.

#include "fake.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>

namespace fake {
namespace {

// The module's entries: name and bytes of parameters, read from the PTX itself.
struct Loaded {
    std::shared_ptr<Module> module;
    std::map<std::string, Function> functions;
};

std::mutex lock;
std::set<Loaded*>& modules() {
    static auto& all = *new std::set<Loaded*>;
    return all;
}

struct Executable {
    std::vector<Node> nodes;
    std::mutex running;
};
std::map<void*, std::shared_ptr<Graph>>& graphs() {
    static auto& all = *new std::map<void*, std::shared_ptr<Graph>>;
    return all;
}
std::map<void*, std::shared_ptr<Executable>>& executables() {
    static auto& all = *new std::map<void*, std::shared_ptr<Executable>>;
    return all;
}

using HostLaunch = void (*)(const char* name, unsigned grid, unsigned block, const void* parameters);

// The same kernels, compiled by g++: CELLSEGD_FAKE_KERNELS, else beside this library.
HostLaunch host_launch() {
    static const HostLaunch launch = [] {
        std::string path;
        if (const char* chosen = getenv("CELLSEGD_FAKE_KERNELS"); chosen && *chosen) {
            path = chosen;
        } else {
            Dl_info info;
            if (!dladdr(reinterpret_cast<void*>(&host_launch), &info)) {
                illegal("where is this library?");
            }
            path = info.dli_fname;
            path = path.substr(0, path.rfind('/') + 1) + "libcellsegd_kernels.so";
        }
        void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        void* symbol = library ? dlsym(library, "cellsegd_host_launch") : nullptr;
        if (!symbol) {
            illegal("%s: no kernels built by g++: %s", path.c_str(), dlerror());
        }
        return reinterpret_cast<HostLaunch>(symbol);
    }();
    return launch;
}

// ".param .align 8 .b8 name_param_0[512]" or ".param .u64 name_param_0": bytes of all parameters; 0 if it cannot be read.
std::size_t parameter_bytes(const std::string& list) {
    std::size_t bytes = 0;
    for (std::size_t at = list.find(".param"); at != std::string::npos; at = list.find(".param", at + 1)) {
        const std::size_t end = list.find_first_of(",)", at);
        const std::string one = list.substr(at, end - at);
        if (const std::size_t bracket = one.find('['); bracket != std::string::npos) {
            bytes += strtoull(one.c_str() + bracket + 1, nullptr, 10);
        } else {
            bytes += one.find("64") != std::string::npos ? 8 : 4;
        }
    }
    return bytes;
}

CUresult parse(const std::string& text, Loaded& loaded, std::string& complaint) {
    int major = 0, minor = 0, target = 0;
    const std::size_t version = text.find(".version ");
    const std::size_t target_at = text.find(".target sm_");
    if (version == std::string::npos || target_at == std::string::npos ||
        sscanf(text.c_str() + version, ".version %d.%d", &major, &minor) != 2 ||
        sscanf(text.c_str() + target_at, ".target sm_%d", &target) != 1) {
        complaint = "ptxas fatal   : no .version or .target: this is no PTX";
        return INVALID_PTX;
    }
    // ISA 8.0 came with CUDA 12.0, 7.0 with 11.0, and so on.
    const int cuda = driver_version();
    const int newest = 10 * (cuda / 1000 - 4) + cuda % 1000 / 10;
    if (10 * major + minor > newest) {
        complaint = "ptxas fatal   : Unsupported .version " + std::to_string(major) + "." + std::to_string(minor) +
                    "; current version is '" + std::to_string(newest / 10) + "." + std::to_string(newest % 10) + "'";
        return UNSUPPORTED_PTX_VERSION;
    }
    Context* context = nullptr;
    current(&context);
    if (target > compute_capability(context->device)) {
        return NO_BINARY_FOR_GPU;
    }
    const std::string entry = ".entry ";
    for (std::size_t at = text.find(entry); at != std::string::npos; at = text.find(entry, at + 1)) {
        const std::size_t open = text.find('(', at), close = text.find(')', at);
        std::string name = text.substr(at + entry.size(), open - at - entry.size());
        name.erase(name.find_last_not_of(" \t\r\n") + 1);
        Function function;
        function.module = loaded.module;
        function.name = name;
        function.parameter_bytes = parameter_bytes(text.substr(open, close - open + 1));
        loaded.functions[name] = function;
    }
    return SUCCESS;
}

// A kernel that never ends.
[[noreturn]] void hang() {
    for (;;) {
        std::this_thread::sleep_for(std::chrono::hours(1));
    }
}

void be_lost(Context* context, long code) { context->sticky = static_cast<CUresult>(code); }

} // namespace

void run_kernel(const Function& function, unsigned grid, unsigned block, const void* parameters) {
    count("kernels_run");
    if (!function.module->loaded) {
        illegal("kernel %s: its module was unloaded", function.name.c_str());
    }
    host_launch()(function.name.c_str(), grid, block, parameters);
}

} // namespace fake

using namespace fake;

API CUresult cuModuleLoadDataEx(void** handle, const void* image, unsigned n, const int* options, void** values) {
    count("cuModuleLoad");
    if (CUresult failed = current()) {
        return failed;
    }
    must_not_capture("cuModuleLoadDataEx");
    char* log = nullptr;
    std::size_t log_bytes = 0;
    for (unsigned i = 0; i < n; ++i) {
        if (options[i] == 5) {
            log = static_cast<char*>(values[i]);
        } else if (options[i] == 6) {
            log_bytes = reinterpret_cast<std::size_t>(values[i]);
        }
    }
    auto* loaded = new Loaded;
    loaded->module = std::make_shared<Module>();
    std::string complaint;
    if (CUresult failed = parse(static_cast<const char*>(image), *loaded, complaint)) {
        if (log && log_bytes) {
            snprintf(log, log_bytes, "%s", complaint.c_str());
        }
        delete loaded;
        return failed;
    }
    if (log && log_bytes) {
        log[0] = 0;
    }
    std::lock_guard<std::mutex> guard(lock);
    modules().insert(loaded);
    count("live_modules");
    *handle = loaded;
    return SUCCESS;
}

API CUresult cuModuleLoadData(void** handle, const void* image) { return cuModuleLoadDataEx(handle, image, 0, nullptr, nullptr); }

API CUresult cuModuleUnload(void* handle) {
    must_not_capture("cuModuleUnload");
    std::lock_guard<std::mutex> guard(lock);
    auto* loaded = static_cast<Loaded*>(handle);
    if (!modules().erase(loaded)) {
        illegal("cuModuleUnload: %p is no module that is loaded", handle);
    }
    // The functions stay, so that a launch that comes too late is found out.
    loaded->module->loaded = false;
    count("live_modules", -1);
    return SUCCESS;
}

API CUresult cuModuleGetFunction(void** function, void* handle, const char* name) {
    if (CUresult failed = current()) {
        return failed;
    }
    std::lock_guard<std::mutex> guard(lock);
    auto* loaded = static_cast<Loaded*>(handle);
    if (!modules().count(loaded)) {
        illegal("cuModuleGetFunction: %p is no module that is loaded", handle);
    }
    auto found = loaded->functions.find(name);
    if (found == loaded->functions.end()) {
        return NOT_FOUND;
    }
    *function = &found->second;
    return SUCCESS;
}

API CUresult cuLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned,
                            void* stream_handle, void** parameters, void** extra) {
    count("cuLaunchKernel");
    Stream* stream = live_stream("cuLaunchKernel", stream_handle);
    if (CUresult lost = stream->context->sticky) {
        return lost;
    }
    const Function& function = *static_cast<const Function*>(handle);
    if (!function.module->loaded) {
        illegal("cuLaunchKernel: the module of %s was unloaded", function.name.c_str());
    }
    if (gx == 0 || gx > 0x7fffffffu || bx == 0 || bx > 1024) {
        return INVALID_VALUE;
    }
    if (gy != 1 || gz != 1 || by != 1 || bz != 1 || extra || !parameters) {
        illegal("cuLaunchKernel: %s: only one dimension and one parameter are emulated", function.name.c_str());
    }
    // Parameters are copied when the launch is made, not when it runs.
    auto copy = std::make_shared<std::vector<unsigned char>>(function.parameter_bytes);
    memcpy(copy->data(), parameters[0], copy->size());
    auto run = [function, gx, bx, copy] { run_kernel(function, gx, bx, copy->data()); };
    if (stream->capture) {
        Node node;
        node.run = run;
        node.module = function.module;
        stream->capture->nodes.push_back(std::move(node));
    } else {
        stream->push(run);
    }
    return SUCCESS;
}

API CUresult cuLaunchHostFunc(void* handle, void (*function)(void*), void* data) {
    Stream* stream = live_stream("cuLaunchHostFunc", handle);
    if (CUresult lost = stream->context->sticky) {
        return lost;
    }
    if (stream->capture) {
        Node node;
        node.host = true;
        node.run = [=] { function(data); };
        stream->capture->nodes.push_back(std::move(node));
        return SUCCESS;
    }
    long code = LAUNCH_OUT_OF_RESOURCES;
    if (strikes("launch", "frame", &code)) {
        return static_cast<CUresult>(code);
    }
    long lost = ILLEGAL_ADDRESS;
    const bool loses = strikes("sticky", "frame", &lost);
    const bool hangs = strikes("hang", "frame");
    Context* context = stream->context;
    stream->push([=] {
        if (hangs) {
            hang();
        }
        if (loses) {
            be_lost(context, lost);
        } else {
            function(data);
        }
    });
    return SUCCESS;
}

API CUresult cuStreamBeginCapture_v2(void* handle, unsigned mode) {
    count("cuStreamBeginCapture");
    Stream* stream = live_stream("cuStreamBeginCapture", handle);
    if (CUresult lost = stream->context->sticky) {
        return lost;
    }
    if (stream->capture) {
        illegal("cuStreamBeginCapture: the stream captures already");
    }
    std::lock_guard<std::mutex> guard(streams_lock());
    stream->capture_mode = mode;
    stream->capture_thread = std::this_thread::get_id();
    stream->capture = std::make_shared<Graph>();
    return SUCCESS;
}

API CUresult cuStreamEndCapture(void* handle, void** graph) {
    Stream* stream = live_stream("cuStreamEndCapture", handle);
    if (!stream->capture) {
        illegal("cuStreamEndCapture: the stream does not capture");
    }
    if (stream->capture_thread != std::this_thread::get_id() && stream->capture_mode != 2) {
        illegal("cuStreamEndCapture: on another thread than the one that began");
    }
    std::shared_ptr<Graph> captured;
    {
        std::lock_guard<std::mutex> guard(streams_lock());
        captured = std::move(stream->capture);
        stream->capture = nullptr;
    }
    *graph = nullptr;
    if (strikes("capture", "")) {
        return STREAM_CAPTURE_INVALIDATED;
    }
    std::lock_guard<std::mutex> guard(lock);
    graphs()[captured.get()] = captured;
    count("live_graphs");
    *graph = captured.get();
    return SUCCESS;
}

API CUresult cuStreamIsCapturing(void* handle, int* status) {
    *status = live_stream("cuStreamIsCapturing", handle)->capture ? 1 : 0;
    return SUCCESS;
}

API CUresult cuGraphInstantiateWithFlags(void** handle, void* which, unsigned long long) {
    count("cuGraphInstantiate");
    if (CUresult failed = current()) {
        return failed;
    }
    if (strikes("instantiate", "")) {
        return OUT_OF_MEMORY;
    }
    std::lock_guard<std::mutex> guard(lock);
    auto found = graphs().find(which);
    if (found == graphs().end()) {
        illegal("cuGraphInstantiate: %p is no graph", which);
    }
    auto made = std::make_shared<Executable>();
    made->nodes = found->second->nodes;
    count("graph_nodes", static_cast<std::int64_t>(made->nodes.size()));
    executables()[made.get()] = made;
    count("live_graph_execs");
    *handle = made.get();
    return SUCCESS;
}

namespace {
std::shared_ptr<Executable> executable(const char* call, void* handle) {
    std::lock_guard<std::mutex> guard(lock);
    auto found = executables().find(handle);
    if (found == executables().end()) {
        illegal("%s: graph %p was destroyed or never made", call, handle);
    }
    return found->second;
}
} // namespace

API CUresult cuGraphUpload(void* handle, void* stream) {
    executable("cuGraphUpload", handle);
    return live_stream("cuGraphUpload", stream)->context->sticky;
}

API CUresult cuGraphLaunch(void* handle, void* stream_handle) {
    count("cuGraphLaunch");
    auto graph = executable("cuGraphLaunch", handle);
    Stream* stream = live_stream("cuGraphLaunch", stream_handle);
    if (CUresult lost = stream->context->sticky) {
        return lost;
    }
    if (stream->capture) {
        illegal("cuGraphLaunch: in a capture");
    }
    bool network = false;
    for (const Node& node : graph->nodes) {
        network |= node.host;
        if (node.module && !node.module->loaded) {
            illegal("cuGraphLaunch: a kernel's module was unloaded");
        }
        if (node.event && !node.event->alive) {
            illegal("cuGraphLaunch: an event of the graph was destroyed");
        }
    }
    long code = LAUNCH_OUT_OF_RESOURCES, lost = ILLEGAL_ADDRESS;
    bool loses = false, hangs = false;
    if (network) {
        if (strikes("launch", "frame", &code)) {
            return static_cast<CUresult>(code);
        }
        loses = strikes("sticky", "frame", &lost);
        hangs = strikes("hang", "frame");
    }
    for (const Node& node : graph->nodes) {
        if (node.event) {
            std::lock_guard<std::mutex> guard(node.event->lock);
            node.event->captured = false;
            ++node.event->recorded;
        }
    }
    Context* context = stream->context;
    stream->push(
        [=] {
            std::lock_guard<std::mutex> guard(graph->running);
            for (const Node& node : graph->nodes) {
                if (node.host && hangs) {
                    hang();
                }
                if (node.host && loses) {
                    be_lost(context, lost);
                }
                if (context->sticky == SUCCESS || node.event) {
                    node.run();
                }
            }
        },
        true);
    return SUCCESS;
}

API CUresult cuGraphExecDestroy(void* handle) {
    executable("cuGraphExecDestroy", handle);
    std::lock_guard<std::mutex> guard(lock);
    executables().erase(handle);
    count("live_graph_execs", -1);
    return SUCCESS;
}

API CUresult cuGraphDestroy(void* handle) {
    std::lock_guard<std::mutex> guard(lock);
    if (!graphs().erase(handle)) {
        illegal("cuGraphDestroy: %p is no graph", handle);
    }
    count("live_graphs", -1);
    return SUCCESS;
}
