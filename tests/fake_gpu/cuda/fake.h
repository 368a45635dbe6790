// What the parts of the emulated driver share. Test-only: memory is mmap, a stream is a thread, a kernel is its g++ build.
//
// Where a real driver would return an error that a program may handle, this one returns it. Where a real driver's behaviour is
// undefined, this one ends the process and says why (`illegal`), so that no test passes by luck.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = std::uint64_t;

// Only the codes that are returned here; the numbers are the driver's own.
enum : CUresult {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    INVALID_PTX = 218,
    UNSUPPORTED_PTX_VERSION = 222,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_OUT_OF_RESOURCES = 701,
    HOST_MEMORY_ALREADY_REGISTERED = 712,
    HOST_MEMORY_NOT_REGISTERED = 713,
    STREAM_CAPTURE_INVALIDATED = 901,
    CAPTURED_EVENT = 907,
};

namespace fake {

// Ends the process: the program did what has no defined outcome on a real device.
[[noreturn]] void illegal(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Counters that a test reads while the program runs (CELLSEGD_FAKE_COUNTERS).
void count(const char* name, std::int64_t by = 1);
void peak(const char* name, std::int64_t value);

// Whether a fault of CELLSEGD_FAKE_FAULT strikes now; each call is one more event at `place`. `value` gets what stands
// after the fault's "=" or ":".
bool strikes(const char* what, const char* place, long* value = nullptr);

struct Context {
    int device = 0;
    int retained = 0;
    std::atomic<CUresult> sticky{SUCCESS};
};

// The calling thread's context, or why there is none. Sticky errors come back from here.
CUresult current(Context** context = nullptr);
Context* context_of(CUdevice device);
int compute_capability(int device); // 89 for 8.9
int driver_version();
std::size_t memory_total();

// Memory.
struct Range {
    std::uintptr_t base = 0;
    std::size_t bytes = 0;
    bool device = false;
    bool registered = false; // the program's own memory, which it told the driver of
};
bool find_range(std::uintptr_t address, Range& range);
// A copy from registered memory begins (1) or is done (-1).
void in_use(std::uintptr_t address, int by);
void must_be_device(const char* call, CUdeviceptr address, std::size_t bytes);

// Streams.
struct Graph;
struct Node;
struct Event {
    unsigned flags = 0;
    std::mutex lock;
    std::condition_variable changed;
    std::uint64_t recorded = 0;
    std::uint64_t completed = 0;
    double at_ms = 0;
    bool captured = false;
    bool alive = true;
};

class Stream {
  public:
    Stream(Context* context, unsigned flags, int priority);
    ~Stream();
    // `always`: also after the context is lost (who waits for it must wake up).
    void push(std::function<void()> task, bool always = false);
    void drain();
    bool idle();

    Context* const context;
    const unsigned flags;
    const int priority;

    // Set between BeginCapture and EndCapture.
    std::shared_ptr<Graph> capture;
    std::thread::id capture_thread;
    unsigned capture_mode = 0;

  private:
    void work();
    struct Task {
        std::function<void()> run;
        bool always;
    };
    std::mutex lock_;
    std::condition_variable changed_;
    std::deque<Task> tasks_;
    bool running_ = false;
    bool end_ = false;
    std::thread thread_;
};

Stream* live_stream(const char* call, void* handle);
std::shared_ptr<Event> live_event(const char* call, void* handle);
void drain_all(Context* context);
// The call is one that a capture in this thread (or a GLOBAL one anywhere) forbids.
void must_not_capture(const char* call);
std::set<Stream*>& streams();
std::mutex& streams_lock();
double now_ms();
void mark(Event& event, std::uint64_t generation);

// Modules and graphs.
struct Module {
    std::atomic<bool> loaded{true};
};
struct Function {
    std::shared_ptr<Module> module;
    std::string name;
    std::size_t parameter_bytes = 0;
};
void run_kernel(const Function& function, unsigned grid, unsigned block, const void* parameters);

struct Node {
    std::function<void()> run;
    std::shared_ptr<Module> module; // of a kernel
    std::shared_ptr<Event> event;   // of an event record
    bool host = false;
};
struct Graph {
    std::vector<Node> nodes;
};

} // namespace fake
