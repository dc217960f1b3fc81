/* uWebSockets: streams are responses that are not ended; each write is corked, so that it is one send.
 *
 *   GET /hello                 13 bytes
 *   GET /idle                  a comment, then silence
 *   GET /tick?ms=..&bytes=..   first event at once, then one every ms
 *   GET /topic, POST /publish  the body becomes an event for everybody
 *
 * A timer of its own is a descriptor each, so streams that tick stand in a queue per interval, which is
 * sorted by construction, behind one timer. Its topics are for WebSockets alone, so responses are walked;
 * with --topics they subscribe to a tree of topics as its WebSockets do, and everything that one turn of
 * the loop has published is one send to each.
 */
#include <charconv>
#include <cstring>
#include <ctime>
#include <map>
#include <string>

#include "App.h"

namespace {

using Response = uWS::HttpResponse<false>;

constexpr std::size_t STAMP_DIGITS = 19;

struct Queue;

using Topics = uWS::TopicTree<std::string, std::string_view>;

/* With --topics. */
Topics *topics;

/* An open stream: an entry in the list that it stands in. */
struct Entry {
    Response *response = nullptr;
    Entry *next = nullptr, *previous = nullptr;
    Queue *queue = nullptr;
    std::uint64_t due_ns = 0;
    uWS::Subscriber *subscriber = nullptr;
};

struct Queue {
    Entry *head = nullptr, *tail = nullptr;
    std::uint64_t interval_ns = 0;
    std::string event;
    std::size_t stamp_at = 0;

    void append(Entry *entry) {
        entry->queue = this;
        entry->next = nullptr;
        entry->previous = tail;
        (tail ? tail->next : head) = entry;
        tail = entry;
    }

    void remove(Entry *entry) {
        (entry->previous ? entry->previous->next : head) = entry->next;
        (entry->next ? entry->next->previous : tail) = entry->previous;
    }
};

std::map<std::pair<unsigned, unsigned>, Queue> ticking;
Queue subscribers, idle;
us_timer_t *next_due;

std::uint64_t clock_ns(clockid_t clock) {
    timespec t;
    clock_gettime(clock, &t);
    return std::uint64_t(t.tv_sec) * 1'000'000'000u + std::uint64_t(t.tv_nsec);
}

Entry *open_stream(Response *response, Queue &queue) {
    auto *entry = new Entry{response};
    queue.append(entry);
    response->onAborted([entry] {
        entry->queue->remove(entry);
        if (entry->subscriber) topics->freeSubscriber(entry->subscriber);
        delete entry;
    });
    response->writeHeader("Content-Type", "text/event-stream")->writeHeader("Cache-Control", "no-cache");
    return entry;
}

void send(Response *response, std::string_view event) {
    response->cork([response, event] { response->write(event); });
}

/* As the app makes its own for WebSockets: published messages wait until the loop has been around. */
void use_topics() {
    topics = new Topics([batch = std::string()](uWS::Subscriber *subscriber, std::string &event, int flags) mutable {
        if (flags & Topics::FIRST) batch.clear();
        batch += event;
        if (flags & Topics::LAST) send(static_cast<Entry *>(subscriber->user)->response, batch);
        return false;
    });
    uWS::Loop::get()->addPostHandler(topics, [](uWS::Loop *) { topics->drain(); });
    uWS::Loop::get()->addPreHandler(topics, [](uWS::Loop *) { topics->drain(); });
}

void subscribe(Entry *entry) {
    if (!topics) return;
    entry->subscriber = topics->createSubscriber();
    entry->subscriber->user = entry;
    topics->subscribe(entry->subscriber, "topic");
}

/* One event for the streams of a queue, but for the stamp. */
void build_event(Queue &queue, unsigned bytes) {
    queue.event = "data: ";
    queue.stamp_at = queue.event.size();
    queue.event.append(STAMP_DIGITS, '0').append(" ");
    while (queue.event.size() + 2 < bytes) queue.event += 'x';
    queue.event += "\n\n";
}

void stamp(Queue &queue) {
    auto now = clock_ns(CLOCK_REALTIME);
    for (auto i = STAMP_DIGITS; i-- > 0; now /= 10) queue.event[queue.stamp_at + i] = char('0' + now % 10);
}

void fire(us_timer_t *);

void arm() {
    std::uint64_t first = UINT64_MAX;
    for (auto &[kind, queue] : ticking)
        if (queue.head) first = std::min(first, queue.head->due_ns);
    if (first == UINT64_MAX) return;
    auto now = clock_ns(CLOCK_MONOTONIC);
    auto wait_ms = first > now ? (first - now + 999'999) / 1'000'000 : 1;
    us_timer_set(next_due, fire, int(wait_ms), 0);
}

void fire(us_timer_t *) {
    auto now = clock_ns(CLOCK_MONOTONIC);
    for (auto &[kind, queue] : ticking) {
        for (Entry *entry; (entry = queue.head) && entry->due_ns <= now;) {
            queue.remove(entry);
            entry->due_ns += queue.interval_ns;
            if (entry->due_ns <= now) entry->due_ns = now + 1;
            queue.append(entry);
            stamp(queue);
            send(entry->response, queue.event);
        }
    }
    arm();
}

unsigned number(std::string_view text, unsigned otherwise) {
    std::from_chars(text.data(), text.data() + text.size(), otherwise);
    return otherwise;
}

void tick(Response *response, uWS::HttpRequest *request) {
    auto ms = number(request->getQuery("ms"), 1000), bytes = number(request->getQuery("bytes"), 100);
    auto &queue = ticking[{ms, bytes}];
    if (queue.event.empty()) {
        queue.interval_ns = std::uint64_t(ms) * 1'000'000;
        build_event(queue, bytes);
    }
    auto *entry = open_stream(response, queue);
    entry->due_ns = clock_ns(CLOCK_MONOTONIC) + queue.interval_ns;
    stamp(queue);
    response->write(queue.event);
    if (queue.head == entry) arm();
}

void publish(Response *response) {
    response->onAborted([] {});
    response->onData([response, body = std::string()](std::string_view piece, bool is_last) mutable {
        body += piece;
        if (!is_last) return;
        if (topics) {
            topics->publish(nullptr, "topic", "data: " + body + "\n\n");
            response->writeStatus("204 No Content")->endWithoutBody();
            return;
        }
        /* The publisher is corked while it is read from, and no two can be; and what it has pipelined
         * is lost if its answer waits as well. */
        uWS::Loop::get()->defer([event = "data: " + body + "\n\n"] {
            for (auto *entry = subscribers.head; entry; entry = entry->next) send(entry->response, event);
        });
        response->writeStatus("204 No Content")->endWithoutBody();
    });
}

} // namespace

int main(int count, char **arguments) {
    const char *port = std::getenv("PORT");
    next_due = us_create_timer(reinterpret_cast<us_loop_t *>(uWS::Loop::get()), 0, 0);
    if (count > 1 && !std::strcmp(arguments[1], "--topics")) use_topics();
    uWS::App()
        .get("/hello", [](auto *response, auto *) { response->end("Hello, World!"); })
        .get("/idle", [](auto *response, auto *) {
            open_stream(response, idle);
            response->write(":\n\n");
        })
        .get("/topic", [](auto *response, auto *) {
            subscribe(open_stream(response, subscribers));
            response->write(":\n\n");
        })
        .get("/tick", tick)
        .post("/publish", [](auto *response, auto *) { publish(response); })
        .listen("127.0.0.1", port ? std::atoi(port) : 0, [](us_listen_socket_t *socket) {
            if (!socket) std::exit(1);
            auto *plain = reinterpret_cast<us_socket_t *>(socket);
            std::printf("listening on http://127.0.0.1:%d\n", us_socket_local_port(0, plain));
            std::fflush(stdout);
        })
        .run();
}
