// Streams, events, copies: one thread a stream, so that what is not ordered truly overlaps and a missing wait shows.

#include "fake.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>

namespace fake {
namespace {

std::atomic<int> busy{0};

std::map<void*, std::shared_ptr<Event>>& events() {
    static auto& all = *new std::map<void*, std::shared_ptr<Event>>;
    return all;
}
std::mutex events_lock;

// A slow device: what did not wait for it is found out.
std::chrono::microseconds delay() {
    static const long us = [] {
        const char* text = getenv("CELLSEGD_FAKE_DELAY_US");
        return text ? strtol(text, nullptr, 10) : 0;
    }();
    return std::chrono::microseconds(us);
}

} // namespace

std::set<Stream*>& streams() {
    static auto& all = *new std::set<Stream*>;
    return all;
}

std::mutex& streams_lock() {
    static auto& lock = *new std::mutex;
    return lock;
}

double now_ms() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Stream::Stream(Context* context, unsigned flags, int priority)
    : context(context), flags(flags), priority(priority), thread_([this] { work(); }) {}

Stream::~Stream() {
    {
        std::lock_guard<std::mutex> guard(lock_);
        end_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void Stream::push(std::function<void()> task, bool always) {
    {
        std::lock_guard<std::mutex> guard(lock_);
        tasks_.push_back({std::move(task), always});
    }
    changed_.notify_all();
}

void Stream::drain() {
    std::unique_lock<std::mutex> guard(lock_);
    changed_.wait(guard, [this] { return tasks_.empty() && !running_; });
}

bool Stream::idle() {
    std::lock_guard<std::mutex> guard(lock_);
    return tasks_.empty() && !running_;
}

void Stream::work() {
    std::unique_lock<std::mutex> guard(lock_);
    for (;;) {
        changed_.wait(guard, [this] { return end_ || !tasks_.empty(); });
        if (tasks_.empty()) {
            return;
        }
        Task task = std::move(tasks_.front());
        tasks_.pop_front();
        running_ = true;
        guard.unlock();
        if (task.always || context->sticky == SUCCESS) {
            peak("peak_busy_streams", ++busy);
            std::this_thread::sleep_for(delay());
            task.run();
            --busy;
        }
        task.run = nullptr;
        guard.lock();
        running_ = false;
        changed_.notify_all();
    }
}

Stream* live_stream(const char* call, void* handle) {
    if (!handle) {
        illegal("%s: on the NULL stream, which waits for every other one", call);
    }
    std::lock_guard<std::mutex> guard(streams_lock());
    auto* stream = static_cast<Stream*>(handle);
    if (!streams().count(stream)) {
        illegal("%s: stream %p was destroyed or never made", call, handle);
    }
    Context* context = nullptr;
    current(&context);
    if (context && context != stream->context) {
        illegal("%s: stream %p is of another device than the thread's context", call, handle);
    }
    return stream;
}

std::shared_ptr<Event> live_event(const char* call, void* handle) {
    std::lock_guard<std::mutex> guard(events_lock);
    auto found = events().find(handle);
    if (found == events().end()) {
        illegal("%s: event %p was destroyed or never made", call, handle);
    }
    return found->second;
}

void drain_all(Context* context) {
    std::vector<Stream*> all;
    {
        std::lock_guard<std::mutex> guard(streams_lock());
        for (Stream* stream : streams()) {
            if (stream->context == context) {
                all.push_back(stream);
            }
        }
    }
    for (Stream* stream : all) {
        stream->drain();
    }
}

void must_not_capture(const char* call) {
    std::lock_guard<std::mutex> guard(streams_lock());
    for (Stream* stream : streams()) {
        if (!stream->capture) {
            continue;
        }
        const bool mine = stream->capture_thread == std::this_thread::get_id();
        if (stream->capture_mode == 0 || (stream->capture_mode == 1 && mine)) {
            illegal("%s: while %s captures", call, mine ? "this thread" : "another thread (in GLOBAL mode)");
        }
    }
}

void mark(Event& event, std::uint64_t generation) {
    std::lock_guard<std::mutex> guard(event.lock);
    event.at_ms = now_ms();
    event.completed = generation;
    event.changed.notify_all();
}

} // namespace fake

using namespace fake;

API CUresult cuStreamCreateWithPriority(void** handle, unsigned flags, int priority) {
    Context* context = nullptr;
    if (CUresult failed = current(&context)) {
        return failed;
    }
    if (flags > 1) {
        return INVALID_VALUE;
    }
    auto* stream = new Stream(context, flags, priority);
    std::lock_guard<std::mutex> guard(streams_lock());
    streams().insert(stream);
    count("live_streams");
    peak("most_urgent_priority", -priority);
    *handle = stream;
    return SUCCESS;
}

API CUresult cuStreamCreate(void** handle, unsigned flags) { return cuStreamCreateWithPriority(handle, flags, 0); }

API CUresult cuStreamDestroy_v2(void* handle) {
    Stream* stream = live_stream("cuStreamDestroy", handle);
    if (stream->capture) {
        illegal("cuStreamDestroy: the stream captures");
    }
    stream->drain();
    {
        std::lock_guard<std::mutex> guard(streams_lock());
        streams().erase(stream);
    }
    delete stream;
    count("live_streams", -1);
    return SUCCESS;
}

API CUresult cuStreamSynchronize(void* handle) {
    count("cuStreamSynchronize");
    Stream* stream = live_stream("cuStreamSynchronize", handle);
    must_not_capture("cuStreamSynchronize");
    stream->drain();
    return stream->context->sticky;
}

API CUresult cuStreamQuery(void* handle) {
    Stream* stream = live_stream("cuStreamQuery", handle);
    must_not_capture("cuStreamQuery");
    if (CUresult lost = stream->context->sticky) {
        return lost;
    }
    return stream->idle() ? SUCCESS : NOT_READY;
}

API CUresult cuStreamWaitEvent(void* handle, void* which, unsigned) {
    Stream* stream = live_stream("cuStreamWaitEvent", handle);
    auto event = live_event("cuStreamWaitEvent", which);
    if (stream->capture) {
        illegal("cuStreamWaitEvent: forks in a capture are not emulated");
    }
    std::uint64_t generation;
    {
        std::lock_guard<std::mutex> guard(event->lock);
        generation = event->recorded;
    }
    stream->push(
        [event, generation] {
            std::unique_lock<std::mutex> guard(event->lock);
            event->changed.wait(guard, [&] { return event->completed >= generation; });
        },
        true);
    return stream->context->sticky;
}

API CUresult cuEventCreate(void** handle, unsigned flags) {
    if (CUresult failed = current()) {
        return failed;
    }
    if (flags > 3) {
        return INVALID_VALUE;
    }
    auto event = std::make_shared<Event>();
    event->flags = flags;
    std::lock_guard<std::mutex> guard(events_lock);
    events()[event.get()] = event;
    count("live_events");
    *handle = event.get();
    return SUCCESS;
}

API CUresult cuEventDestroy_v2(void* handle) {
    auto event = live_event("cuEventDestroy", handle);
    std::lock_guard<std::mutex> guard(events_lock);
    event->alive = false;
    events().erase(handle);
    count("live_events", -1);
    return SUCCESS;
}

API CUresult cuEventRecordWithFlags(void* which, void* handle, unsigned flags) {
    Stream* stream = live_stream("cuEventRecord", handle);
    auto event = live_event("cuEventRecord", which);
    const bool external = flags & 1;
    if (stream->capture) {
        if (!external) {
            // Only a place in the graph's order: it carries no time.
            event->captured = true;
            return SUCCESS;
        }
        Node node;
        node.event = event;
        node.run = [event] {
            std::uint64_t generation;
            {
                std::lock_guard<std::mutex> guard(event->lock);
                generation = event->recorded;
            }
            mark(*event, generation);
        };
        stream->capture->nodes.push_back(std::move(node));
        return SUCCESS;
    }
    if (external) {
        return INVALID_VALUE;
    }
    if (CUresult lost = stream->context->sticky) {
        return lost;
    }
    std::uint64_t generation;
    {
        std::lock_guard<std::mutex> guard(event->lock);
        event->captured = false;
        generation = ++event->recorded;
    }
    stream->push([event, generation] { mark(*event, generation); }, true);
    return SUCCESS;
}

API CUresult cuEventRecord(void* which, void* handle) { return cuEventRecordWithFlags(which, handle, 0); }

API CUresult cuEventSynchronize(void* handle) {
    count("cuEventSynchronize");
    auto event = live_event("cuEventSynchronize", handle);
    must_not_capture("cuEventSynchronize");
    if (event->captured) {
        return CAPTURED_EVENT;
    }
    {
        std::unique_lock<std::mutex> guard(event->lock);
        const std::uint64_t generation = event->recorded;
        event->changed.wait(guard, [&] { return event->completed >= generation; });
    }
    return current();
}

API CUresult cuEventQuery(void* handle) {
    auto event = live_event("cuEventQuery", handle);
    must_not_capture("cuEventQuery");
    if (CUresult failed = current()) {
        return failed;
    }
    if (event->captured) {
        return CAPTURED_EVENT;
    }
    std::lock_guard<std::mutex> guard(event->lock);
    return event->completed >= event->recorded ? SUCCESS : NOT_READY;
}

API CUresult cuEventElapsedTime(float* ms, void* from, void* to) {
    auto a = live_event("cuEventElapsedTime", from);
    auto b = live_event("cuEventElapsedTime", to);
    if (CUresult failed = current()) {
        return failed;
    }
    for (const auto& event : {a, b}) {
        if (event->captured) {
            return CAPTURED_EVENT;
        }
        std::lock_guard<std::mutex> guard(event->lock);
        if (event->recorded == 0 || event->flags & 2) {
            return INVALID_HANDLE;
        }
        if (event->completed < event->recorded) {
            return NOT_READY;
        }
    }
    *ms = static_cast<float>(b->at_ms - a->at_ms);
    return SUCCESS;
}

namespace {

// One operation on a stream: queued, or written into the graph that the stream captures.
CUresult submit(Stream* stream, std::function<void()> run) {
    if (CUresult lost = stream->context->sticky) {
        return lost;
    }
    if (stream->capture) {
        Node node;
        node.run = std::move(run);
        stream->capture->nodes.push_back(std::move(node));
    } else {
        stream->push(std::move(run));
    }
    return SUCCESS;
}

// Pinned memory is read when the copy runs; pageable memory is taken at once, as the driver does.
bool is_pinned(const char* call, const void* host, std::size_t bytes) {
    Range range;
    const auto at = reinterpret_cast<std::uintptr_t>(host);
    if (!find_range(at, range)) {
        return false;
    }
    if (range.device) {
        illegal("%s: %p is device memory, not the host's", call, host);
    }
    if (bytes > range.base + range.bytes - at) {
        illegal("%s: %zu bytes at %p, where %zu bytes are left of pinned memory", call, bytes, host,
                range.base + range.bytes - at);
    }
    return true;
}

} // namespace

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes, void* handle) {
    count("cuMemcpyHtoDAsync");
    Stream* stream = live_stream("cuMemcpyHtoDAsync", handle);
    if (bytes == 0) {
        return stream->context->sticky;
    }
    must_be_device("cuMemcpyHtoDAsync", to, bytes);
    if (is_pinned("cuMemcpyHtoDAsync", from, bytes)) {
        Range range;
        const auto at = reinterpret_cast<std::uintptr_t>(from);
        if (find_range(at, range) && range.registered) {
            count("registered_copies");
            in_use(at, 1);
            const CUresult submitted = submit(stream, [=] {
                memcpy(reinterpret_cast<void*>(to), from, bytes);
                in_use(at, -1);
            });
            if (submitted != SUCCESS) {
                in_use(at, -1);
            }
            return submitted;
        }
        return submit(stream, [=] { memcpy(reinterpret_cast<void*>(to), from, bytes); });
    }
    if (stream->capture) {
        illegal("cuMemcpyHtoDAsync: pageable memory in a capture");
    }
    auto taken = std::make_shared<std::vector<char>>(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    return submit(stream, [=] { memcpy(reinterpret_cast<void*>(to), taken->data(), bytes); });
}

API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, void* handle) {
    count("cuMemcpyDtoHAsync");
    Stream* stream = live_stream("cuMemcpyDtoHAsync", handle);
    if (bytes == 0) {
        return stream->context->sticky;
    }
    must_be_device("cuMemcpyDtoHAsync", from, bytes);
    const bool pinned = is_pinned("cuMemcpyDtoHAsync", to, bytes);
    if (stream->capture && !pinned) {
        illegal("cuMemcpyDtoHAsync: pageable memory in a capture");
    }
    CUresult result = submit(stream, [=] { memcpy(to, reinterpret_cast<const void*>(from), bytes); });
    if (!pinned && result == SUCCESS) {
        stream->drain();
        result = stream->context->sticky;
    }
    return result;
}

API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, void* handle) {
    Stream* stream = live_stream("cuMemcpyDtoDAsync", handle);
    must_be_device("cuMemcpyDtoDAsync", to, bytes);
    must_be_device("cuMemcpyDtoDAsync", from, bytes);
    return submit(stream, [=] { memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes); });
}

API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, std::size_t bytes, void* handle) {
    Stream* stream = live_stream("cuMemsetD8Async", handle);
    must_be_device("cuMemsetD8Async", to, bytes);
    return submit(stream, [=] { memset(reinterpret_cast<void*>(to), value, bytes); });
}

// The blocking ones wait for streams that follow the NULL stream only (flag 0): with NON_BLOCKING streams a missing wait shows.
API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, std::size_t bytes) {
    if (CUresult failed = current()) {
        return failed;
    }
    must_not_capture("cuMemcpyHtoD");
    must_be_device("cuMemcpyHtoD", to, bytes);
    memcpy(reinterpret_cast<void*>(to), from, bytes);
    return SUCCESS;
}

API CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, std::size_t bytes) {
    if (CUresult failed = current()) {
        return failed;
    }
    must_not_capture("cuMemcpyDtoH");
    must_be_device("cuMemcpyDtoH", from, bytes);
    memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return SUCCESS;
}
