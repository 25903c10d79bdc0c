/* What a run does, read from a file of lines `key value`; benchmarks/README.md lists the keys. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_ADDRESSES 64
#define MAX_HEADERS 8
#define MAX_HELLOS 4
#define MAX_PARTS 32
#define MAX_PIDS 64

/* Stands in a message before its number of NUMBER_DIGITS digits. */
#define MARK "~B~"
#define MARK_LENGTH 3
#define NUMBER_DIGITS 10

enum placeholder { TEXT, TOKEN, USER, PEER, ROOM, NUMBER, ID, UUID, EPOCH, SEQ, PROOF };

/* A text with placeholders: {token} {user} {peer} {room} {number} {id} {uuid} {epoch} {seq} {proof}. */
struct template {
    int count;
    struct { enum placeholder kind; const char *text; size_t length; } parts[MAX_PARTS];
};

struct values {
    const char *token, *user, *peer, *room, *epoch, *proof;
    uint64_t number, id, seq;
};

struct scenario {
    struct sockaddr_in addresses[MAX_ADDRESSES];
    int address_count;
    int sources;               /* of 127.0.0.x to connect from; 0: the system's choice */
    struct template path, headers[MAX_HEADERS], hellos[MAX_HELLOS], publish, heartbeat, resume, prove;
    int header_count, hello_count;
    const char *host, *subprotocol;
    char **tokens, **users, **room_names; /* one for each connection, or room; NULL without */
    int token_count, room_name_count;

    const char *ready;         /* how the frame begins that says a connection is ready; NULL: it is, once open */
    const char *reply;         /* how a reply begins; NULL: none is expected */
    const char *error;         /* what an error holds; NULL: unknown */
    const char *ping, *pong;   /* of the application's own protocol */
    const char *asks;          /* how a push begins that asks for the text after it; NULL: none does */
    int split;                 /* whether a frame holds several messages, one a line */

    int connections, rooms, publishers, in_flight, concurrency;
    int max_publishers;        /* in all rooms together; 0: no bound */
    int expected;              /* deliveries of one message; 0: as many as the room has members */
    int wait_delivery, wait_reply; /* what makes a message complete */
    double rate;               /* messages a second in all; 0: closed loop */
    double warm_up, duration, drain, give_up; /* seconds */
    double heartbeat_every;    /* seconds; 0: never */
    int hold;                  /* wait for `go` on the standard input once all are connected */
    int reconnect;             /* come back with the product's own back-off when a connection ends */
    double backoff_base, backoff_cap;
    pid_t pids[MAX_PIDS];      /* whose processor time is measured */
    int pid_count;
};

/* Ends the program with a sentence when the file is no good. */
void scenario_read(struct scenario *, const char *path);
/* Write a template; returns the length. */
size_t template_write(const struct template *, const struct values *, char *out, size_t room);

#endif
