// A microscope controller in C++: frames from a camera's callback to cellsegd, cells back while the experiment runs.
//
//   make && build/controller [--url ADDRESS] [--frames N] [--rate PER_SECOND] [--latest] [--ca FILE --token-file FILE]
//
// ADDRESS is HOST:PORT or unix:/PATH; with --ca it is spoken to over TLS, with the token that `cellsegd pair` printed.
// CI builds this with Debian's grpc++, runs it against a daemon, and kills the daemon meanwhile.
//
// Three threads: the camera's, which must never wait; one that sends, and waits where the daemon's window is full; one that reads.
// A frame is kept until its answer is here. Where the connection breaks, what was not answered is sent again, and nothing else.
// To make it yours: replace `Camera`, and what `Account::answer` prints.

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "cellseg/v1/segmentation.grpc.pb.h"

namespace pb = cellseg::v1;
using namespace std::chrono_literals;

// What the program was told.
struct Settings {
    std::string url = "127.0.0.1:50051", ca, token;
    uint64_t frames = 50;
    double rate = 10;
    bool latest = false;
};

// Frames in memory at most: beyond it the camera's frames are lost, and counted, rather than the machine.
constexpr size_t MOST_KEPT = 256;
// Between two tries to connect: doubled each time, up to the second.
constexpr auto FIRST_WAIT = 100ms, LONGEST_WAIT = 5000ms;
// A daemon that is away for longer ends this example; an experiment would go on trying.
constexpr auto PATIENCE = 120s;
// A frame that fails although it may be sent again is given up after so many times.
constexpr int MOST_TRIES = 3;

// Calls back from a thread of its own, as cameras do: 640 x 480, 16 bit, one bright disc that drifts to the right.
class Camera {
  public:
    using Callback = std::function<void(uint64_t id, const uint16_t* pixels, int width, int height)>;

    Camera(const Settings& settings, Callback callback)
        : thread_([this, settings, callback] {
              const auto interval = std::chrono::duration<double>(1 / settings.rate);
              auto next = std::chrono::steady_clock::now();
              for (uint64_t id = 0; id < settings.frames && !over_; id++) {
                  const auto pixels = picture(id);
                  callback(id, pixels.data(), WIDTH, HEIGHT);
                  next += std::chrono::duration_cast<std::chrono::nanoseconds>(interval);
                  std::this_thread::sleep_until(next);
              }
          }) {}
    ~Camera() {
        over_ = true;
        thread_.join();
    }

  private:
    static constexpr int WIDTH = 640, HEIGHT = 480;

    static std::vector<uint16_t> picture(uint64_t id) {
        std::vector<uint16_t> pixels(WIDTH * HEIGHT, 2000);
        const int centre = 100 + 4 * static_cast<int>(id % 110);
        for (int y = 200; y < 280; y++)
            for (int x = centre - 40; x < centre + 40; x++)
                if ((x - centre) * (x - centre) + (y - 240) * (y - 240) < 40 * 40) pixels[y * WIDTH + x] = 30000;
        return pixels;
    }

    std::atomic<bool> over_ = false;
    std::thread thread_;  // last: it uses the others
};

// What is known of every frame. All threads use it.
class Account {
  public:
    explicit Account(uint64_t frames) : frames_(frames) {}

    // The camera's thread: copies and returns, whatever the network does.
    void take(uint64_t id, const uint16_t* pixels, int width, int height) {
        pb::Frame frame;
        frame.set_id(id);
        auto* raw = frame.mutable_raw();
        raw->set_format(pb::PIXEL_FORMAT_MONO16);  // little-endian, as every PC is
        raw->set_width(width);
        raw->set_height(height);
        raw->set_data(pixels, sizeof(uint16_t) * width * height);
        (*frame.mutable_metadata()->mutable_index())["t"] = id;
        std::lock_guard lock(mutex_);
        taken_++;
        if (kept_.size() < MOST_KEPT)
            kept_[id] = {std::move(frame), 0};
        else
            lost_++;
        changed_.notify_all();
    }

    // A new stream: nothing is in flight on it.
    void begin(uint32_t window) {
        std::lock_guard lock(mutex_);
        window_ = window;
        in_flight_.clear();
        broken_ = false;
    }

    // The oldest frame that is not on this stream yet, once the window has room. Null: there is none, or the stream is broken.
    const pb::Frame* next() {
        std::unique_lock lock(mutex_);
        for (;;) {
            if (broken_ || is_complete()) return nullptr;
            if (in_flight_.size() < window_)
                for (auto& [id, kept] : kept_)
                    if (in_flight_.insert(id).second) {
                        if (++kept.times_sent > 1) sent_again_++;
                        // It stays where it is until it is answered, and that it can only be once it was sent.
                        return &kept.frame;
                    }
            changed_.wait(lock);
        }
    }

    // The reading thread: every frame has exactly one reply, in the order in which they were sent.
    void answer(const pb::FrameReply& reply) {
        std::lock_guard lock(mutex_);
        const auto id = reply.id();
        in_flight_.erase(id);
        if (const auto kept = kept_.find(id); kept != kept_.end() && !is_to_be_sent_again(reply, kept->second.times_sent)) {
            kept_.erase(kept);
            print(reply);
        }
        changed_.notify_all();
    }

    // The stream has ended.
    void broke() {
        std::lock_guard lock(mutex_);
        broken_ = true;
        changed_.notify_all();
    }

    bool is_done() {
        std::lock_guard lock(mutex_);
        return is_complete();
    }

    void print_totals() {
        std::lock_guard lock(mutex_);
        std::printf("%zu segmented, %zu dropped, %zu failed, %zu lost here, %zu sent again\n", segmented_, dropped_, failed_, lost_,
                    sent_again_);
    }

    bool is_all_answered() {
        std::lock_guard lock(mutex_);
        return kept_.empty() && taken_ == frames_ && failed_ + lost_ == 0;
    }

  private:
    struct Kept {
        pb::Frame frame;
        int times_sent = 0;
    };

    bool is_complete() const { return taken_ == frames_ && kept_.empty(); }

    // The daemon is stopping, or it could not do it just now: the next one gets it.
    static bool is_to_be_sent_again(const pb::FrameReply& reply, int times_sent) {
        if (reply.has_dropped()) return reply.dropped().reason() == pb::Dropped::REASON_DRAINING;
        return reply.has_failed() && reply.failed().retryable() && times_sent < MOST_TRIES;
    }

    void print(const pb::FrameReply& reply) {
        const auto id = static_cast<unsigned long long>(reply.id());
        if (reply.has_segmentation()) {
            segmented_++;
            const auto& cells = reply.segmentation().instances();
            std::printf("frame %llu: %d cells, %.1f ms there\n", id, cells.size(), reply.timing().total() / 1e3);
            for (const auto& cell : cells)  // pixel edges: x to the right, y down
                std::printf("  cell %u: score %.2f, box %.0f,%.0f to %.0f,%.0f\n", cell.label(), cell.score(), cell.box().x0(),
                            cell.box().y0(), cell.box().x1(), cell.box().y1());
        } else if (reply.has_dropped()) {
            dropped_++;
            std::printf("frame %llu: dropped, %s\n", id, pb::Dropped::Reason_Name(reply.dropped().reason()).c_str());
        } else {
            failed_++;
            std::printf("frame %llu: failed, %s\n", id, reply.failed().message().c_str());
        }
        std::fflush(stdout);
    }

    const uint64_t frames_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<uint64_t, Kept> kept_;  // taken and not answered; std::map: a frame does not move while it is sent
    std::set<uint64_t> in_flight_;
    uint32_t window_ = 1;
    bool broken_ = false;
    uint64_t taken_ = 0;
    size_t segmented_ = 0, dropped_ = 0, failed_ = 0, lost_ = 0, sent_again_ = 0;
};

// One stream, until everything is answered or it breaks. `opened`: it got as far as that.
grpc::Status stream(pb::Segmenter::Stub& stub, const Settings& settings, Account& account, bool& opened) {
    grpc::ClientContext context;
    if (!settings.token.empty()) context.AddMetadata("authorization", "Bearer " + settings.token);
    const auto stream = stub.Stream(&context);

    pb::StreamRequest request;
    auto* options = request.mutable_open();  // what is not set takes the model's or the server's default
    options->set_name("controller.cpp");
    if (settings.latest) options->set_delivery(pb::DELIVERY_LATEST);
    options->mutable_outputs()->set_masks(pb::MASK_ENCODING_RINGS);
    pb::StreamReply reply;
    if (!stream->Write(request) || !stream->Read(&reply)) return stream->Finish();
    opened = true;
    std::printf("model %s on %s, %u frames in flight\n", reply.opened().model().name().c_str(), reply.opened().device().c_str(),
                reply.opened().window());
    // LATEST has room for more than its window and drops what is too old: it is not held back here.
    account.begin(settings.latest ? MOST_KEPT : reply.opened().window());

    std::thread reading([&] {
        pb::StreamReply reply;
        while (stream->Read(&reply))
            if (reply.has_frame()) account.answer(reply.frame());
        account.broke();
    });
    while (const auto* frame = account.next()) {
        *request.mutable_frame() = *frame;
        if (!stream->Write(request)) break;
    }
    // Where all is answered this ends the session in order; where the stream broke it does nothing.
    stream->WritesDone();
    reading.join();
    return stream->Finish();
}

std::string contents(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    if (!(text << file.rdbuf())) {
        std::fprintf(stderr, "cannot read %s\n", path.c_str());
        std::exit(2);
    }
    return text.str();
}

Settings settings_of(int count, char** arguments) {
    Settings settings;
    for (int i = 1; i < count; i++) {
        const std::string flag = arguments[i];
        if (flag == "--latest") {
            settings.latest = true;
            continue;
        }
        const std::string value = ++i < count ? arguments[i] : "";
        if (flag == "--url" && !value.empty()) settings.url = value;
        else if (flag == "--frames" && std::atoll(value.c_str()) > 0) settings.frames = std::atoll(value.c_str());
        else if (flag == "--rate" && std::atof(value.c_str()) > 0) settings.rate = std::atof(value.c_str());
        else if (flag == "--ca" && !value.empty()) settings.ca = contents(value);
        else if (flag == "--token-file" && !value.empty()) std::stringstream(contents(value)) >> settings.token;
        else {
            std::fprintf(stderr, "%s %s: see the first lines of controller.cpp\n", flag.c_str(), value.c_str());
            std::exit(2);
        }
    }
    return settings;
}

std::shared_ptr<grpc::Channel> connect(const Settings& settings) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);  // the stock bound of 4 MiB is less than the masks of a large frame
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);  // a machine that lost its power says nothing: pings tell
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, FIRST_WAIT.count());
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, LONGEST_WAIT.count());
    // The path of a socket is no name of a host, and HTTP/2 wants one.
    if (settings.url.rfind("unix:", 0) == 0) arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    if (settings.ca.empty()) return grpc::CreateCustomChannel(settings.url, grpc::InsecureChannelCredentials(), arguments);
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = settings.ca;
    return grpc::CreateCustomChannel(settings.url, grpc::SslCredentials(tls), arguments);
}

// What will be the same the next time.
bool is_final(grpc::StatusCode code) {
    return code == grpc::StatusCode::INVALID_ARGUMENT || code == grpc::StatusCode::NOT_FOUND ||
           code == grpc::StatusCode::UNAUTHENTICATED || code == grpc::StatusCode::PERMISSION_DENIED ||
           code == grpc::StatusCode::UNIMPLEMENTED;
}

int main(int count, char** arguments) {
    const Settings settings = settings_of(count, arguments);
    const auto stub = pb::Segmenter::NewStub(connect(settings));
    Account account(settings.frames);
    Camera camera(settings, [&](uint64_t id, const uint16_t* pixels, int width, int height) {
        account.take(id, pixels, width, height);
    });
    auto last_opened = std::chrono::steady_clock::now();
    std::chrono::milliseconds wait = FIRST_WAIT;
    while (!account.is_done()) {
        bool opened = false;
        const auto status = stream(*stub, settings, account, opened);
        if (account.is_done()) break;
        std::fprintf(stderr, "interrupted: %s\n", status.error_message().c_str());
        const auto now = std::chrono::steady_clock::now();
        if (opened) {
            last_opened = now;
            wait = FIRST_WAIT;
        }
        if (is_final(status.error_code()) || now - last_opened > PATIENCE) break;
        std::this_thread::sleep_for(wait);
        wait = std::min<std::chrono::milliseconds>(2 * wait, LONGEST_WAIT);
    }
    account.print_totals();
    return account.is_all_answered() ? 0 : 1;
}
