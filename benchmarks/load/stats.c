#include "stats.h"

#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned slot_of(uint64_t us)
{
    if (us < STEPS)
        return (unsigned)us;
    unsigned power = 63u - (unsigned)__builtin_clzll(us) - 6u; /* 128 = 2^7 has power 1 */
    unsigned slot = power * STEPS + (unsigned)((us >> (power)) & (STEPS - 1));
    return slot < STEPS * POWERS ? slot : STEPS * POWERS - 1;
}

static double value_of(unsigned slot)
{
    unsigned power = slot / STEPS, step = slot % STEPS;
    if (power == 0)
        return step;
    /* The leading bit is bit 6 of the step after the shift: steps run from 64 to 127. */
    return (double)((uint64_t)step << power);
}

void histogram_add(struct histogram *h, uint64_t nanoseconds)
{
    uint64_t us = nanoseconds / 1000;
    h->counts[slot_of(us)]++;
    h->total++;
    if (us > h->largest)
        h->largest = us;
}

double histogram_ms(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->total), seen = 0;
    for (unsigned slot = 0; slot < STEPS * POWERS; slot++) {
        seen += h->counts[slot];
        if (h->counts[slot] && seen >= wanted)
            return value_of(slot) / 1000.0;
    }
    return (double)h->largest / 1000.0;
}

void histogram_print(FILE *out, const char *name, const struct histogram *h)
{
    fprintf(out, "\"%s\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f, \"count\": %llu}", name,
            histogram_ms(h, 0.5), histogram_ms(h, 0.9), histogram_ms(h, 0.99), (double)h->largest / 1000.0,
            (unsigned long long)h->total);
}

double cpu_seconds(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    char *after = strrchr(text, ')'); /* the name before it may hold anything */
    unsigned long user, system;
    if (!after || sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

double own_cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}
