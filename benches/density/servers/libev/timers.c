/* timers COUNT: what a timer of libev's heap costs, as a line of JSON. The passes are those of
 * benches/density/src/timer_passes.rs, with the same random keys and deadlines.
 *
 *   insert   ev_timer_start
 *   re-arm   ev_timer_again
 *   cancel   ev_timer_stop
 *   fire     one ev_run in which all are due, their callbacks included; the deadlines lie in the
 *            past by then, because libev's clock cannot be set ahead
 */
#include <ev.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SPREAD_MS = 60000, RUNS_MIN = 5 };
static const double MEASUREMENT_S = 0.7;

static struct ev_loop *loop;
static ev_timer *timers;
static uint32_t count, fired;
static double *deadlines_s, *later_s;
static uint32_t *inserted, *re_armed, *cancelled;

static void on_due(struct ev_loop *l, ev_timer *timer, int events) {
    (void)l, (void)timer, (void)events;
    fired++;
}

static uint64_t below(uint64_t *state, uint64_t end) {
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return (mixed ^ (mixed >> 31)) % end;
}

static void *allocate(size_t size) {
    void *memory = calloc(count, size);
    if (!memory) perror("calloc"), exit(1);
    return memory;
}

static double *random_deadlines_s(uint64_t seed) {
    double *deadlines = allocate(sizeof *deadlines);
    for (uint32_t i = 0; i < count; i++) deadlines[i] = (1 + (double)below(&seed, SPREAD_MS)) / 1e3;
    return deadlines;
}

static uint32_t *shuffled_keys(uint64_t seed) {
    uint32_t *keys = allocate(sizeof *keys);
    for (uint32_t i = 0; i < count; i++) keys[i] = i;
    for (uint32_t last = count - 1; last > 0; last--) {
        uint32_t other = (uint32_t)below(&seed, (uint64_t)last + 1), key = keys[last];
        keys[last] = keys[other];
        keys[other] = key;
    }
    return keys;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double anonymous_bytes(void) {
    char line[256];
    double kibibytes = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && kibibytes < 0 && fgets(line, sizeof line, file)) sscanf(line, "Anonymous: %lf", &kibibytes);
    if (kibibytes < 0) fputs("smaps_rollup has no Anonymous\n", stderr), exit(1);
    fclose(file);
    return kibibytes * 1024;
}

/* `shift_s` moves all deadlines: into the past, for those that are to fire. */
static void insert(double shift_s) {
    for (uint32_t i = 0; i < count; i++) {
        ev_timer *timer = &timers[inserted[i]];
        ev_timer_set(timer, deadlines_s[i] + shift_s, 0.);
        ev_timer_start(loop, timer);
    }
}

static void re_arm(void) {
    for (uint32_t i = 0; i < count; i++) {
        ev_timer *timer = &timers[re_armed[i]];
        timer->repeat = later_s[i];
        ev_timer_again(loop, timer);
    }
}

static void cancel(void) {
    for (uint32_t i = 0; i < count; i++) ev_timer_stop(loop, &timers[cancelled[i]]);
}

static void keep_fastest(double *fastest_ns, double start_s) {
    double each_ns = (now_s() - start_s) * 1e9 / count;
    if (*fastest_ns == 0 || each_ns < *fastest_ns) *fastest_ns = each_ns;
}

int main(int argc, char **argv) {
    count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
    if (count == 0) return fputs("say how many timers\n", stderr), 1;
    deadlines_s = random_deadlines_s(1);
    later_s = random_deadlines_s(2);
    inserted = shuffled_keys(3);
    re_armed = shuffled_keys(4);
    cancelled = shuffled_keys(5);
    if (!(loop = ev_loop_new(EVFLAG_AUTO))) return fputs("no event loop\n", stderr), 1;

    double before_bytes = anonymous_bytes();
    timers = allocate(sizeof *timers);
    for (uint32_t key = 0; key < count; key++) ev_init(&timers[key], on_due);
    insert(0);
    double bytes = anonymous_bytes() - before_bytes;
    cancel();

    double insert_ns = 0, re_arm_ns = 0, cancel_ns = 0, fire_ns = 0, end_s = now_s() + MEASUREMENT_S;
    for (int runs = 0; runs < RUNS_MIN || now_s() <= end_s; runs++) {
        double start_s = now_s();
        insert(0);
        keep_fastest(&insert_ns, start_s);
        start_s = now_s();
        re_arm();
        keep_fastest(&re_arm_ns, start_s);
        start_s = now_s();
        cancel();
        keep_fastest(&cancel_ns, start_s);

        insert(-SPREAD_MS / 1e3 - 1);
        fired = 0;
        start_s = now_s();
        ev_run(loop, EVRUN_NOWAIT);
        keep_fastest(&fire_ns, start_s);
        if (fired != count) return fprintf(stderr, "of %u timers, %u fired\n", count, fired), 1;
    }
    printf("{\"timers\": %u, \"insert_ns\": %.2f, \"re_arm_ns\": %.2f, \"cancel_ns\": %.2f, "
           "\"fire_ns\": %.2f, \"bytes_each\": %.2f}\n",
           count, insert_ns, re_arm_ns, cancel_ns, fire_ns, bytes / count);
    return 0;
}
