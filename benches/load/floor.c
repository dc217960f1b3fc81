/* The floor: the least that a server of event streams can do, to measure others against.
 *
 * One thread, raw epoll (edge-triggered, one registration per connection), one timerfd that is
 * re-armed and never read, prebuilt event bytes, one send per event. It answers
 *   GET /tick?ms=..&bytes=..   first event at once, then one every ms
 *   GET /idle                  the head, then silence
 *   GET /topic                 the head, then what is published
 *   POST /publish              the body becomes an event for everybody on /topic
 *   GET /hello                 13 bytes, and the connection is kept
 * and nothing else. It is no server to use: a GET must arrive in one piece, while a publish
 * is on its way nobody else may send, a client that does not read is dropped, nothing has a time limit.
 *
 * Timers: all streams of one interval stand in one queue. A stream that fired goes to the tail,
 * so each queue is sorted by deadline by construction, and every operation is O(1).
 *   --ms      deadlines are whole milliseconds: streams that are due in the same one share a
 *             wake-up, and no event comes more than 1 ms after its exact time for that
 *
 * Publishing: all subscribers are served at once, before anything else.
 *   --batch   what was read in one turn leaves in one send per subscriber
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    FDS_MAX = 1 << 20,
    KINDS_MAX = 16,          /* different (ms, bytes) pairs in one run */
    EVENT_BYTES_MAX = 65536,
    PUBLISHED_BYTES_MAX = 1 << 20,   /* requests, or events, of one turn */
    NOBODY = -1,             /* end of a queue; valid descriptors are >= 0 */
    STAMP_DIGITS = 19,
};

enum { FREE, IDLE, TICKING, SUBSCRIBED };

struct stream {              /* 16 bytes, indexed by descriptor */
    uint64_t deadline_ns : 56;   /* two years; of a subscriber: its place among them */
    uint64_t kind : 4;
    uint64_t state : 4;
    int32_t previous, next;
};

struct kind {
    uint64_t interval_ns;
    unsigned bytes;
    int32_t head, tail;
    char *chunk;             /* one whole chunk with room for the stamp; the head stands before it */
    size_t chunk_length;
    char *stamp;
};

static struct stream streams[FDS_MAX];   /* zero pages until touched */
static struct kind kinds[KINDS_MAX];
static int kinds_length;
static int32_t subscribers[FDS_MAX];
static int subscribers_length;
static char request[PUBLISHED_BYTES_MAX + 1];        /* what has arrived and is not answered */
static size_t request_length;
static char events_to_send[PUBLISHED_BYTES_MAX + 64];
static size_t events_to_send_length;
static int epoll_fd, timer_fd, listen_fd;
static int whole_ms, batch;

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\n"
    "X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) {
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    return whole_ms ? now - now % 1000000u : now;
}

static void stamp_event(struct kind *kind) {
    uint64_t now = clock_ns(CLOCK_REALTIME);
    for (int i = STAMP_DIGITS; i-- > 0; now /= 10) kind->stamp[i] = (char)('0' + now % 10);
}

static int send_all(int fd, const char *bytes, size_t length) {
    return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void take_out(int fd) {
    struct stream *stream = &streams[fd];
    struct kind *kind = &kinds[stream->kind];
    if (stream->previous == NOBODY) kind->head = stream->next;
    else streams[stream->previous].next = stream->next;
    if (stream->next == NOBODY) kind->tail = stream->previous;
    else streams[stream->next].previous = stream->previous;
}

static void drop_stream(int fd) {
    struct stream *stream = &streams[fd];
    if (stream->state == TICKING) take_out(fd);
    if (stream->state == SUBSCRIBED) {
        int last = subscribers[--subscribers_length];
        subscribers[stream->deadline_ns] = last;
        streams[last].deadline_ns = stream->deadline_ns;
    }
    stream->state = FREE;
    close(fd);
}

static void enqueue(struct kind *kind, int fd, uint64_t deadline_ns) {
    streams[fd].deadline_ns = deadline_ns;
    streams[fd].previous = kind->tail;
    streams[fd].next = NOBODY;
    if (kind->head == NOBODY) kind->head = fd;
    else streams[kind->tail].next = fd;
    kind->tail = fd;
}

/* What of an event is not padding: "data: ", the stamp, a space and the empty line. */
static struct kind *find_kind(unsigned ms, unsigned bytes) {
    const unsigned fixed = 6 + STAMP_DIGITS + 1 + 2;
    if (ms == 0 || bytes > EVENT_BYTES_MAX) return NULL;
    if (bytes < fixed) bytes = fixed;
    for (int i = 0; i < kinds_length; i++)
        if (kinds[i].interval_ns == ms * 1000000ull && kinds[i].bytes == bytes) return &kinds[i];
    if (kinds_length == KINDS_MAX) return NULL;

    struct kind *kind = &kinds[kinds_length];
    char *head = malloc(sizeof HEAD + bytes + 32);
    if (!head) return NULL;
    memcpy(head, HEAD, sizeof HEAD - 1);
    kind->chunk = head + sizeof HEAD - 1;
    kinds_length++;
    kind->interval_ns = ms * 1000000ull;
    kind->bytes = bytes;
    kind->head = kind->tail = NOBODY;
    char *end = kind->chunk + sprintf(kind->chunk, "%x\r\ndata: ", bytes);
    kind->stamp = end;
    end += STAMP_DIGITS;
    *end++ = ' ';
    memset(end, 'x', bytes - fixed);
    end += bytes - fixed;
    memcpy(end, "\n\n\r\n", 4);
    kind->chunk_length = (size_t)(end + 4 - kind->chunk);
    return kind;
}

static unsigned parameter(const char *name, unsigned otherwise) {
    const char *end = strstr(request, " HTTP/1.");
    const char *found = strstr(request, name);
    return found && end && found < end ? (unsigned)strtoul(found + strlen(name), NULL, 10) : otherwise;
}

static void start_stream(int fd) {
    if (strncmp(request, "GET /hello", 10) == 0) {
        static const char hello[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";
        if (!send_all(fd, hello, sizeof hello - 1)) drop_stream(fd);
        return;
    }
    if (strncmp(request, "GET /idle", 9) == 0) {
        streams[fd].state = IDLE;
        if (!send_all(fd, HEAD, sizeof HEAD - 1)) drop_stream(fd);
        return;
    }
    if (strncmp(request, "GET /topic", 10) == 0) {
        streams[fd].state = SUBSCRIBED;
        streams[fd].deadline_ns = (uint64_t)subscribers_length;
        subscribers[subscribers_length++] = fd;
        if (!send_all(fd, HEAD, sizeof HEAD - 1)) drop_stream(fd);
        return;
    }
    struct kind *kind = NULL;
    if (strncmp(request, "GET /tick", 9) == 0)
        kind = find_kind(parameter("ms=", 1000), parameter("bytes=", 100));
    if (!kind) {
        const char *no = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        send_all(fd, no, strlen(no));
        drop_stream(fd);
        return;
    }
    stamp_event(kind);
    const size_t head_length = sizeof HEAD - 1;
    if (!send_all(fd, kind->chunk - head_length, head_length + kind->chunk_length)) {
        drop_stream(fd);
        return;
    }
    streams[fd].state = TICKING;
    streams[fd].kind = (uint64_t)(kind - kinds);
    enqueue(kind, fd, now_ns() + kind->interval_ns);
}

static void accept_all(void) {
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
        if (fd >= FDS_MAX || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
            close(fd);
            continue;
        }
        streams[fd].state = FREE;
    }
}

static void fan_out(void) {
    for (int i = 0; i < subscribers_length;)
        if (send_all(subscribers[i], events_to_send, events_to_send_length)) i++;
        else drop_stream(subscribers[i]);   /* the last one takes its place */
    events_to_send_length = 0;
}

/* Takes one whole request off the front of what has arrived; 0 when it is not all there yet. */
static size_t publish_one(void) {
    const char *end = strstr(request, "\r\n\r\n");
    const char *length = end ? strcasestr(request, "content-length:") : NULL;
    if (!length || length > end) return 0;
    size_t body_length = strtoul(length + strlen("content-length:"), NULL, 10);
    size_t whole_length = (size_t)(end + 4 - request) + body_length;
    if (whole_length > request_length) return 0;

    char *out = events_to_send + events_to_send_length;
    out += sprintf(out, "%zx\r\ndata: ", body_length + 8);
    memcpy(out, end + 4, body_length);
    memcpy(out + body_length, "\n\n\r\n", 4);
    events_to_send_length = (size_t)(out + body_length + 4 - events_to_send);
    if (!batch) fan_out();
    return whole_length;
}

static void publish_all(int fd) {
    static const char DONE[] = "HTTP/1.1 204 No Content\r\n\r\n";
    int answers = 0;
    for (size_t taken; (taken = publish_one()) > 0; answers++) {
        request_length -= taken;
        memmove(request, request + taken, request_length + 1);
    }
    if (batch && events_to_send_length > 0) fan_out();
    while (answers-- > 0)
        if (!send_all(fd, DONE, sizeof DONE - 1)) break;
}

static void read_from(int fd) {
    /* An event is never longer than its request, whose head is longer than a chunk's. */
    ssize_t n = read(fd, request + request_length, PUBLISHED_BYTES_MAX - request_length);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        request_length = 0;
        drop_stream(fd);
        return;
    }
    request_length += (size_t)n;
    request[request_length] = 0;
    if (streams[fd].state == FREE && strncmp(request, "POST /publish", 13) == 0) {
        publish_all(fd);
        return;
    }
    int whole = strstr(request, "\r\n\r\n") != NULL;
    if (streams[fd].state == FREE) {
        if (whole) start_stream(fd);
        else drop_stream(fd);
    }
    request_length = 0;
}

static void fire(struct kind *kind, uint64_t now) {
    while (kind->head != NOBODY && streams[kind->head].deadline_ns <= now) {
        int fd = kind->head;
        stamp_event(kind);
        if (!send_all(fd, kind->chunk, kind->chunk_length)) {
            drop_stream(fd);
            continue;
        }
        /* Never due again in this turn: after a pause come two events, not a storm. */
        uint64_t next = streams[fd].deadline_ns + kind->interval_ns;
        take_out(fd);
        enqueue(kind, fd, next <= now ? now + 1 : next);
    }
}

static void fire_due(void) {
    uint64_t now = now_ns();
    for (int i = 0; i < kinds_length; i++) fire(&kinds[i], now);
}

static void arm_timer(void) {
    static uint64_t armed_ns;
    uint64_t first = UINT64_MAX;
    for (int i = 0; i < kinds_length; i++)
        if (kinds[i].head != NOBODY && streams[kinds[i].head].deadline_ns < first)
            first = streams[kinds[i].head].deadline_ns;
    if (first == UINT64_MAX || first == armed_ns) return;
    armed_ns = first;
    struct itimerspec when = {.it_value = {(time_t)(first / 1000000000u), (long)(first % 1000000000u)}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void set_up(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    const char *port = getenv("PORT");
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(port ? atoi(port) : 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int one = 1;
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listen_fd < 0) die("socket");
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listen_fd, (struct sockaddr *)&at, length) < 0) die("bind");
    if (listen(listen_fd, 4096) < 0) die("listen");
    if (getsockname(listen_fd, (struct sockaddr *)&at, &length) < 0) die("getsockname");

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event on_accept = {.events = EPOLLIN | EPOLLET, .data.fd = listen_fd};
    struct epoll_event on_timer = {.events = EPOLLIN | EPOLLET, .data.fd = timer_fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &on_accept) < 0) die("epoll_ctl");
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &on_timer) < 0) die("epoll_ctl");

    printf("listening on http://127.0.0.1:%d\n", ntohs(at.sin_port));
    fflush(stdout);
}

int main(int arguments_length, char **arguments) {
    static struct epoll_event events[1024];
    for (int i = 1; i < arguments_length; i++) {
        if (strcmp(arguments[i], "--ms") == 0) whole_ms = 1;
        else if (strcmp(arguments[i], "--batch") == 0) batch = 1;
        else return fprintf(stderr, "floor [--ms] [--batch]\n"), 2;
    }
    set_up();
    for (;;) {
        arm_timer();
        int n = epoll_wait(epoll_fd, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listen_fd) accept_all();
            else if (fd != timer_fd) read_from(fd);
        }
        fire_due();
    }
}
