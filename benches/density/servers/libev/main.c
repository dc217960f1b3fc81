/* libev: a watcher per connection and one shared timer, which is re-armed for whichever stream is
 * due next. The streams of one interval stand in a queue that is sorted by construction.
 *
 *   GET /hello                 13 bytes
 *   GET /idle                  the head, then silence
 *   GET /tick?ms=..&bytes=..   first event at once, then one every ms
 *   GET /topic, POST /publish  the body becomes an event for everybody
 *
 * No server to use: requests are expected in one piece, a client that does not read is dropped.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_BYTES_MAX = 1 << 20, KINDS_MAX = 16, STAMP_DIGITS = 19 };

struct connection {
    ev_io reads;
    struct connection *next, *previous;   /* in the queue of its kind, or among the subscribers */
    struct queue *queue;
    ev_tstamp due;
};

struct queue {
    struct connection *head, *tail;
};

struct kind {
    struct queue queue;
    unsigned ms, bytes;
    char *chunk;
    size_t chunk_length;
    char *stamp;
};

static struct ev_loop *loop;
static ev_timer next_due;
static struct kind kinds[KINDS_MAX];
static int kinds_length;
static struct queue subscribers;
static char request[REQUEST_BYTES_MAX + 1];

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

static void append(struct queue *queue, struct connection *c) {
    c->queue = queue;
    c->next = NULL;
    c->previous = queue->tail;
    if (queue->tail) queue->tail->next = c;
    else queue->head = c;
    queue->tail = c;
}

static void take_out(struct connection *c) {
    if (!c->queue) return;
    if (c->previous) c->previous->next = c->next;
    else c->queue->head = c->next;
    if (c->next) c->next->previous = c->previous;
    else c->queue->tail = c->previous;
    c->queue = NULL;
}

static void drop(struct connection *c) {
    take_out(c);
    ev_io_stop(loop, &c->reads);
    close(c->reads.fd);
    free(c);
}

static int send_all(struct connection *c, const char *bytes, size_t length) {
    return send(c->reads.fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void stamp_event(struct kind *kind) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    for (int i = STAMP_DIGITS; i-- > 0; now /= 10) kind->stamp[i] = (char)('0' + now % 10);
}

static struct kind *find_kind(unsigned ms, unsigned bytes) {
    const unsigned fixed = 6 + STAMP_DIGITS + 1 + 2;
    if (ms == 0 || bytes > 65536) return NULL;
    if (bytes < fixed) bytes = fixed;
    for (int i = 0; i < kinds_length; i++)
        if (kinds[i].ms == ms && kinds[i].bytes == bytes) return &kinds[i];
    if (kinds_length == KINDS_MAX) return NULL;
    struct kind *kind = &kinds[kinds_length];
    if (!(kind->chunk = malloc(bytes + 32))) return NULL;
    kinds_length++;
    kind->ms = ms;
    kind->bytes = bytes;
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

static void arm(void) {
    ev_tstamp first = 0;
    for (int i = 0; i < kinds_length; i++) {
        struct connection *head = kinds[i].queue.head;
        if (head && (first == 0 || head->due < first)) first = head->due;
    }
    ev_timer_stop(loop, &next_due);
    if (first == 0) return;
    ev_tstamp after = first - ev_now(loop);
    ev_timer_set(&next_due, after > 0 ? after : 0, 0);
    ev_timer_start(loop, &next_due);
}

static void on_due(struct ev_loop *l, ev_timer *timer, int events) {
    (void)l, (void)timer, (void)events;
    ev_tstamp now = ev_now(loop);
    for (int i = 0; i < kinds_length; i++) {
        struct kind *kind = &kinds[i];
        for (struct connection *c; (c = kind->queue.head) && c->due <= now;) {
            take_out(c);
            stamp_event(kind);
            if (!send_all(c, kind->chunk, kind->chunk_length)) {
                drop(c);
                continue;
            }
            c->due += kind->ms / 1e3;
            if (c->due <= now) c->due = now + 1e-6;
            append(&kind->queue, c);
        }
    }
    arm();
}

static unsigned parameter(const char *name, unsigned otherwise) {
    const char *end = strstr(request, " HTTP/1."), *found = strstr(request, name);
    return found && end && found < end ? (unsigned)strtoul(found + strlen(name), NULL, 10) : otherwise;
}

static int starts(const char *text) { return strncmp(request, text, strlen(text)) == 0; }

static int publish(struct connection *publisher, size_t length) {
    static char event[REQUEST_BYTES_MAX + 64];
    char *rest = request, *stop = request + length;
    while (rest < stop) {
        char *end = strstr(rest, "\r\n\r\n"), *field = strcasestr(rest, "content-length:");
        if (!end || !field) return 0;
        size_t body = strtoul(field + strlen("content-length:"), NULL, 10);
        if (end + 4 + body > stop) return 0;
        size_t size = (size_t)sprintf(event, "%zx\r\ndata: ", body + 8);
        memcpy(event + size, end + 4, body);
        memcpy(event + size + body, "\n\n\r\n", 4);
        for (struct connection *c = subscribers.head, *next; c; c = next) {
            next = c->next;
            if (!send_all(c, event, size + body + 4)) drop(c);
        }
        static const char DONE[] = "HTTP/1.1 204 No Content\r\n\r\n";
        if (!send_all(publisher, DONE, sizeof DONE - 1)) return 0;
        rest = end + 4 + body;
    }
    return 1;
}

static int answer(struct connection *c, size_t length) {
    static const char HELLO[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";
    if (starts("POST /publish")) return publish(c, length);
    if (starts("GET /hello")) return send_all(c, HELLO, sizeof HELLO - 1);
    if (starts("GET /idle")) return send_all(c, HEAD, sizeof HEAD - 1);
    if (starts("GET /topic")) {
        append(&subscribers, c);
        return send_all(c, HEAD, sizeof HEAD - 1);
    }
    struct kind *kind = NULL;
    if (starts("GET /tick")) kind = find_kind(parameter("ms=", 1000), parameter("bytes=", 100));
    if (!kind) return 0;
    stamp_event(kind);
    if (!send_all(c, HEAD, sizeof HEAD - 1) || !send_all(c, kind->chunk, kind->chunk_length)) return 0;
    c->due = ev_now(loop) + kind->ms / 1e3;
    append(&kind->queue, c);
    if (kind->queue.head == c) arm();
    return 1;
}

static void on_readable(struct ev_loop *l, ev_io *io, int events) {
    (void)l, (void)events;
    struct connection *c = (struct connection *)io;   /* its first member */
    size_t length = 0;
    for (;;) {
        ssize_t n = read(io->fd, request + length, REQUEST_BYTES_MAX - length);
        if (n < 0 && errno == EAGAIN && length == 0) return;
        if (n <= 0) break;
        length += (size_t)n;
        request[length] = 0;
        if (c->queue) return;                         /* a stream has nothing more to say */
        if (length < REQUEST_BYTES_MAX && starts("POST") && !memmem(request, length, "\r\n\r\n", 4)) continue;
        if (answer(c, length)) return;
        if (!starts("POST")) break;                   /* the rest of the body is on its way */
    }
    drop(c);
}

static void on_connection(struct ev_loop *l, ev_io *listener, int events) {
    (void)l, (void)events;
    for (int fd; (fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = calloc(1, sizeof *c);
        if (!c) return (void)close(fd);
        ev_io_init(&c->reads, on_readable, fd, EV_READ);
        ev_io_start(loop, &c->reads);
    }
}

int main(void) {
    const char *port = getenv("PORT");
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(port ? atoi(port) : 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, length) < 0 || listen(fd, 4096) < 0) return perror("listen"), 1;
    getsockname(fd, (struct sockaddr *)&at, &length);
    printf("listening on http://127.0.0.1:%d\n", ntohs(at.sin_port));
    fflush(stdout);

    loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io listener;
    ev_io_init(&listener, on_connection, fd, EV_READ);
    ev_io_start(loop, &listener);
    ev_init(&next_due, on_due);
    return ev_run(loop, 0);
}
