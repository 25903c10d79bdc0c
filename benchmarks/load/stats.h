/* Histograms, clocks, and the processor time of other processes. */
#ifndef STATS_H
#define STATS_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* A histogram of microseconds: 128 steps for each power of two, so that a value is off by less than one per cent. */
#define STEPS 128
#define POWERS 40

struct histogram {
    uint64_t counts[STEPS * POWERS];
    uint64_t total;
    uint64_t largest;
};

uint64_t now_ns(void);
void histogram_add(struct histogram *, uint64_t nanoseconds);
/* Milliseconds below which a share of all values lies. */
double histogram_ms(const struct histogram *, double share);
/* `"name": {"p50": …, "p99": …, "max": …, "count": …}` */
void histogram_print(FILE *, const char *name, const struct histogram *);

/* Seconds of processor time that a process has used, threads included; 0 when it is gone. */
double cpu_seconds(pid_t);
double own_cpu_seconds(void);

#endif
