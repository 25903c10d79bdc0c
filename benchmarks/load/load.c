/* A load generator for WebSocket servers: one thread, one epoll, frames read by their headers alone.
 *
 *     load SCENARIO
 *
 * It opens the connections of a scenario, publishes from some of them, counts what every one of them receives, and
 * prints JSON, one event a line. benchmarks/README.md says what the keys of a scenario mean.
 */
#define _GNU_SOURCE
#include "scenario.h"
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_BYTES 65536
#define READ_BYTES (1 << 20)
#define EVENTS 512
#define TICK_NS 10000000ull /* between two looks at what is due */
#define SECOND 1000000000ull
#define TABLE (1u << 18)    /* messages under way; a power of two */
#define WAITING 512         /* replies that a publisher may wait for */
#define TRIES 30            /* to open a connection for the first time */
#define QUIET (SECOND / 2)  /* without a frame, until who has come is no news any more */
#define PATIENCE (60 * SECOND) /* for that */
#define CONNECT_LIMIT (600 * SECOND) /* until all are connected */

enum state { CLOSED, OPENING, UPGRADING, GREETING, READY };
enum phase { CONNECTING, HOLDING, SETTLING, WARMING, MEASURING, DRAINING, DONE };

struct connection {
    int fd;
    enum state state;
    uint32_t number, room;
    uint32_t received;         /* deliveries since the run began */
    uint32_t tries;
    uint64_t begun, wake;      /* when its handshake began; when it tries again */
    uint32_t told_ms;          /* to wait, by the server; 0: it has not said */
    uint64_t id;               /* of its last command */
    char *input, *output;      /* what came of a frame that is not whole; what the socket did not take */
    uint32_t input_length, output_length;
    struct publisher *publisher; /* NULL for one that only reads */
    char epoch[24];
    uint64_t seq;
};

struct publisher {
    struct connection *connection;
    uint64_t waiting[WAITING]; /* numbers whose reply has not come, oldest first; 0: a heartbeat's */
    uint32_t first, count;
    uint64_t again[WAITING];   /* numbers that were refused */
    uint32_t again_count;
    uint64_t again_at;
    int is_dirty;              /* whether its connection has something to be written in this turn */
};

struct message {
    uint64_t number, stamp, refused;
    uint32_t expected, got, room;
    uint16_t needs_reply, done;
    struct publisher *publisher;
};

static struct scenario run;
static struct connection *connections;
static struct publisher *publishers, **dirty;
static struct message *messages;
static uint32_t *published; /* by room, since the run began */
static uint64_t *newest_seq; /* by room */
static int publisher_count, dirty_count, room_size, epoll, ready_count, opening, waiting_to_open, next_to_open;
static uint64_t next_number = 1, oldest = 1, in_flight;
static enum phase phase;
static char buffer[READ_BYTES + FRAME_BYTES];
static uint64_t now;

static struct histogram handshakes, deliveries, completions, replies, resumed, refusals;
static uint64_t delivered, completed, replied, errors, others, lost, dropped, failed, unrecovered, gaps;
static uint64_t count_delivered, count_completed, count_replied, reads, first_begun, all_ready, down_at, last_other;
static uint64_t closed_by_code[5000];
static size_t mark_at; /* where the last delivery had its mark: it is there in most of them */

static void connection_open(struct connection *);
static void publish_next(struct publisher *, uint64_t stamp);

/* -- writing ----------------------------------------------------------------------------------------------------- */

static void watch(struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void connection_keep(struct connection *c, const char *data, size_t length)
{
    c->output = realloc(c->output, c->output_length + length);
    memcpy(c->output + c->output_length, data, length);
    c->output_length += (uint32_t)length;
}

static void connection_write(struct connection *c, const char *data, size_t length)
{
    if (c->publisher && c->state == READY) {
        /* What one turn of the loop publishes leaves in one write, as from any client that buffers. */
        if (!c->publisher->is_dirty) {
            c->publisher->is_dirty = 1;
            dirty[dirty_count++] = c->publisher;
        }
        connection_keep(c, data, length);
        return;
    }
    if (!c->output_length) {
        ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);
        if (sent == (ssize_t)length)
            return;
        if (sent < 0 && errno != EAGAIN)
            return; /* the read that follows says that it is gone */
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
        }
    }
    connection_keep(c, data, length);
    watch(c, EPOLLIN | EPOLLOUT);
}

/* Write what is kept; returns whether nothing is left. */
static int connection_flush(struct connection *c)
{
    ssize_t sent = send(c->fd, c->output, c->output_length, MSG_NOSIGNAL);
    if (sent <= 0)
        return 0;
    c->output_length -= (uint32_t)sent;
    memmove(c->output, c->output + sent, c->output_length);
    return !c->output_length;
}

static void flush_publishers(void)
{
    for (int i = 0; i < dirty_count; i++) {
        struct connection *c = dirty[i]->connection;
        dirty[i]->is_dirty = 0;
        if (c->output_length && c->state != CLOSED && !connection_flush(c))
            watch(c, EPOLLIN | EPOLLOUT);
    }
    dirty_count = 0;
}

/* Clients mask their frames; a mask of zeros leaves the payload as it is. */
static void write_frame(struct connection *c, int opcode, const char *payload, size_t length)
{
    static char frame[FRAME_BYTES + 16];
    size_t at = 2;
    frame[0] = (char)(0x80 | opcode);
    if (length < 126) {
        frame[1] = (char)(0x80 | length);
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[2] = (char)(length >> 8);
        frame[3] = (char)length;
        at = 4;
    }
    memset(frame + at, 0, 4);
    memcpy(frame + at + 4, payload, length);
    connection_write(c, frame, at + 4 + length);
}

static struct values values_of(struct connection *c)
{
    uint32_t first = c->room * (uint32_t)room_size, place = c->number - first;
    uint32_t peer = first + (place + 1) % (uint32_t)room_size;
    struct values v = {.id = c->id, .seq = c->seq, .epoch = c->epoch};
    if (run.tokens) {
        v.token = run.tokens[c->number];
        v.user = run.users[c->number];
        v.peer = run.users[peer];
    }
    if (run.room_names)
        v.room = run.room_names[c->room];
    return v;
}

static void write_values(struct connection *c, const struct template *t, uint64_t number, const char *proof)
{
    static char text[FRAME_BYTES];
    c->id++;
    struct values v = values_of(c);
    v.number = number;
    v.proof = proof;
    size_t length = template_write(t, &v, text, sizeof text);
    write_frame(c, 1, text, length);
}

static void write_template(struct connection *c, const struct template *t, uint64_t number)
{
    write_values(c, t, number, "");
}

/* -- publishing -------------------------------------------------------------------------------------------------- */

static int is_running(void) { return phase == WARMING || phase == MEASURING; }

static void message_send(struct message *m)
{
    struct publisher *p = m->publisher;
    if (m->needs_reply && p->count < WAITING)
        p->waiting[(p->first + p->count++) % WAITING] = m->number;
    write_template(p->connection, &run.publish, m->number);
}

static void publish_next(struct publisher *p, uint64_t stamp)
{
    struct connection *c = p->connection;
    if (c->state != READY && !run.reconnect)
        return;
    uint64_t number = next_number++;
    struct message *m = &messages[number & (TABLE - 1)];
    *m = (struct message){.number = number, .stamp = stamp, .room = c->room, .publisher = p};
    m->expected = run.expected ? (uint32_t)run.expected : (uint32_t)room_size;
    m->needs_reply = run.reply != NULL;
    published[c->room]++;
    in_flight++;
    if (c->state == READY)
        message_send(m);
    else
        p->again[p->again_count < WAITING ? p->again_count++ : 0] = number;
}

static void message_finish(struct message *m, int is_lost)
{
    m->done = 1;
    in_flight--;
    if (is_lost)
        lost++;
    else if (phase == MEASURING) {
        completed++;
        histogram_add(&completions, now > m->stamp ? now - m->stamp : 0);
    }
    while (oldest < next_number && messages[oldest & (TABLE - 1)].done)
        oldest++;
    if (is_running() && !run.rate)
        publish_next(m->publisher, now);
}

static void message_look(struct message *m)
{
    if (m->done || (run.wait_delivery && m->got < m->expected) || (run.wait_reply && m->needs_reply))
        return;
    message_finish(m, 0);
}

static void on_reply(struct connection *c, int is_error)
{
    struct publisher *p = c->publisher;
    if (!p || !p->count)
        return; /* of a heartbeat of somebody who only reads */
    uint64_t number = p->waiting[p->first];
    p->first = (p->first + 1) % WAITING;
    p->count--;
    if (!number)
        return; /* of a heartbeat */
    struct message *m = &messages[number & (TABLE - 1)];
    if (m->number != number)
        return;
    if (is_error) {
        errors++;
        if (!m->refused)
            m->refused = now;
        if (run.reconnect && p->again_count < WAITING) {
            p->again[p->again_count++] = number;
            p->again_at = now + SECOND / 2;
            return;
        }
    }
    m->needs_reply = 0;
    replied++;
    if (m->refused)
        histogram_add(&refusals, now - m->refused);
    if (phase == MEASURING || (run.reconnect && phase == DRAINING))
        histogram_add(&replies, now - m->stamp);
    message_look(m);
}

static void send_again(struct publisher *p)
{
    uint32_t count = p->again_count;
    p->again_count = 0;
    for (uint32_t i = 0; i < count; i++)
        message_send(&messages[p->again[i] & (TABLE - 1)]);
}

/* -- reading ----------------------------------------------------------------------------------------------------- */

static uint64_t digits(const char *text)
{
    uint64_t value = 0;
    for (int i = 0; i < NUMBER_DIGITS; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    return value;
}

static uint64_t number_after(const char *text, size_t length, const char *key, uint64_t otherwise)
{
    const char *found = memmem(text, length, key, strlen(key));
    return found ? strtoull(found + strlen(key), NULL, 10) : otherwise;
}

static void on_delivery(struct connection *c, const char *payload, size_t length, const char *mark)
{
    struct message *m;
    uint64_t number = digits(mark + MARK_LENGTH);
    c->received++;
    m = &messages[number & (TABLE - 1)];
    if (phase == MEASURING) {
        delivered++;
        if (m->number == number)
            histogram_add(&deliveries, now > m->stamp ? now - m->stamp : 0);
    }
    if (run.resume.count) {
        uint64_t seq = number_after(payload, length, "\"seq\":", 0);
        gaps += c->state == READY && c->seq && seq > c->seq + 1;
        if (seq > c->seq)
            c->seq = seq;
        if (seq > newest_seq[c->room])
            newest_seq[c->room] = seq;
    }
    if (m->number != number || m->done)
        return;
    m->got++;
    message_look(m);
}

/* Take the cursor, and what was missed, from the answer that makes a connection ready. */
static void read_cursor(struct connection *c, const char *payload, size_t length)
{
    char topic[80];
    snprintf(topic, sizeof topic, "\"room.%s\":{", run.room_names ? run.room_names[c->room] : "");
    const char *found = memmem(payload, length, topic, strlen(topic));
    if (!found)
        return;
    size_t left = length - (size_t)(found - payload);
    const char *epoch = memmem(found, left, "\"epoch\":\"", 9);
    const char *is_recovered = memmem(found, left, "\"recovered\":true", 16);
    uint64_t before = c->seq, seq = number_after(found, left, "\"seq\":", 0);
    if (c->epoch[0] && !is_recovered)
        unrecovered++;
    else if (c->epoch[0])
        c->received += (uint32_t)(seq > before ? seq - before : 0);
    if (epoch) {
        size_t size = strcspn(epoch + 9, "\"");
        if (size < sizeof c->epoch) {
            memcpy(c->epoch, epoch + 9, size);
            c->epoch[size] = 0;
        }
    }
    if (seq > c->seq)
        c->seq = seq;
    if (c->seq > newest_seq[c->room])
        newest_seq[c->room] = c->seq;
}

static void become_ready(struct connection *c)
{
    c->state = READY;
    c->tries = 0;
    ready_count++;
    opening--;
    if (phase == CONNECTING) {
        histogram_add(&handshakes, now - c->begun);
        all_ready = now;
    } else if (down_at) {
        histogram_add(&resumed, now - down_at);
    }
    if (c->publisher && c->publisher->again_count)
        send_again(c->publisher);
}

static int begins(const char *text, size_t length, const char *start)
{
    size_t wanted = strlen(start);
    return length >= wanted && memcmp(text, start, wanted) == 0;
}

static void show(const char *what, const char *payload, size_t length)
{
    static int shown;
    if (shown++ < 5)
        fprintf(stderr, "load: %s: %.*s\n", what, (int)(length < 300 ? length : 300), payload);
}

/* Give back the number of a push that asks for it: so a server without back-pressure knows that this client reads. */
static void prove(struct connection *c, const char *number, size_t left)
{
    char proof[65];
    size_t size = 0;
    while (size < left && size < sizeof proof - 1 && number[size] != '"') {
        proof[size] = number[size];
        size++;
    }
    proof[size] = 0;
    struct publisher *p = c->publisher;
    if (p && p->count == WAITING)
        return;
    if (p && run.reply)
        p->waiting[(p->first + p->count++) % WAITING] = 0;
    write_values(c, &run.prove, 0, proof);
}

static void on_message(struct connection *c, const char *payload, size_t length)
{
    const char *mark;
    if (c->state == GREETING && begins(payload, length, run.ready)) {
        if (run.resume.count)
            read_cursor(c, payload, length);
        become_ready(c);
        return;
    }
    if (c->state == GREETING)
        c->told_ms = (uint32_t)number_after(payload, length, "\"retry_after_ms\":", c->told_ms);
    if (run.ping && length == strlen(run.ping) && begins(payload, length, run.ping)) {
        write_frame(c, 1, run.pong, strlen(run.pong));
        return;
    }
    if (run.asks && begins(payload, length, run.asks)) {
        prove(c, payload + strlen(run.asks), length - strlen(run.asks));
        return;
    }
    if (run.reply && begins(payload, length, run.reply)) {
        int is_error = run.error && memmem(payload, length, run.error, strlen(run.error));
        if (is_error)
            show("an error", payload, length);
        on_reply(c, is_error);
        return;
    }
    if (mark_at + MARK_LENGTH + NUMBER_DIGITS <= length && memcmp(payload + mark_at, MARK, MARK_LENGTH) == 0)
        mark = payload + mark_at;
    else
        mark = memmem(payload, length, MARK, MARK_LENGTH);
    if (mark) {
        mark_at = (size_t)(mark - payload);
        on_delivery(c, payload, length, mark);
        return;
    }
    if (run.error && memmem(payload, length, run.error, strlen(run.error))) {
        show("an error", payload, length);
        errors++;
    }
    others++;
    last_other = now;
}

static void on_text(struct connection *c, const char *payload, size_t length)
{
    if (!run.split) {
        on_message(c, payload, length);
        return;
    }
    while (length) {
        const char *end = memchr(payload, '\n', length);
        size_t line = end ? (size_t)(end - payload) : length;
        if (line)
            on_message(c, payload, line);
        payload += line + (end ? 1 : 0);
        length -= line + (end ? 1 : 0);
    }
}

/* -- life of a connection ---------------------------------------------------------------------------------------- */

static void connection_close(struct connection *c)
{
    enum state before = c->state;
    if (before == CLOSED)
        return;
    close(c->fd);
    free(c->input);
    free(c->output);
    c->input = c->output = NULL;
    c->input_length = c->output_length = 0;
    c->state = CLOSED;
    if (before == READY) {
        ready_count--;
        dropped++;
        if (!down_at)
            down_at = now;
    } else {
        opening--;
        failed++;
    }
    if (before == READY ? !run.reconnect : c->tries >= TRIES && !run.reconnect)
        return;
    /* Full jitter: a random part of a bound that doubles each time, as the product's clients do it. */
    double bound = run.backoff_base;
    for (uint32_t i = 0; i < c->tries && bound < run.backoff_cap; i++)
        bound *= 2;
    bound = bound < run.backoff_cap ? bound : run.backoff_cap;
    c->tries++;
    c->wake = now + (uint64_t)(c->told_ms ? c->told_ms * 1e6 : drand48() * bound * 1e9);
    c->told_ms = 0;
    waiting_to_open++;
    if (c->publisher) { /* what has no reply is sent again */
        struct publisher *p = c->publisher;
        for (uint32_t i = 0; i < p->count && p->again_count < WAITING; i++)
            if (p->waiting[(p->first + i) % WAITING])
                p->again[p->again_count++] = p->waiting[(p->first + i) % WAITING];
        p->first = p->count = 0;
        p->again_at = 0;
    }
}

static void connection_open(struct connection *c)
{
    int yes = 1;
    c->begun = now;
    c->wake = 0;
    c->id = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        perror("load: socket");
        exit(1);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (run.sources) {
        struct sockaddr_in source = {.sin_family = AF_INET};
        source.sin_addr.s_addr = htonl(0x7f000001u + c->number % (uint32_t)run.sources);
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        bind(c->fd, (struct sockaddr *)&source, sizeof source);
    }
    struct sockaddr_in *to = &run.addresses[c->number % (uint32_t)run.address_count];
    c->state = OPENING;
    opening++;
    if (connect(c->fd, (struct sockaddr *)to, sizeof *to) && errno != EINPROGRESS) {
        connection_close(c);
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}

static void connection_upgrade(struct connection *c)
{
    static char text[FRAME_BYTES];
    struct values v = values_of(c);
    size_t at = (size_t)sprintf(text, "GET ");
    at += template_write(&run.path, &v, text + at, sizeof text - at);
    at += (size_t)snprintf(text + at, sizeof text - at,
                           " HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n", run.host);
    if (run.subprotocol)
        at += (size_t)snprintf(text + at, sizeof text - at, "Sec-WebSocket-Protocol: %s\r\n", run.subprotocol);
    for (int i = 0; i < run.header_count; i++) {
        at += template_write(&run.headers[i], &v, text + at, sizeof text - at);
        at += (size_t)sprintf(text + at, "\r\n");
    }
    at += (size_t)sprintf(text + at, "\r\n");
    c->state = UPGRADING;
    watch(c, EPOLLIN);
    connection_write(c, text, at);
}

static void connection_greet(struct connection *c)
{
    c->state = GREETING;
    if (run.resume.count && c->epoch[0])
        write_template(c, &run.resume, 0);
    else
        for (int i = 0; i < run.hello_count; i++)
            write_template(c, &run.hellos[i], 0);
    if (!run.ready)
        become_ready(c);
}

/* Returns how much of the data was the answer to the handshake; 0: not whole yet, -1: refused. */
static ssize_t read_upgrade(const char *data, size_t length)
{
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (length < 12 || memcmp(data + 9, "101", 3)) {
        show("refused", data, length);
        return -1;
    }
    return end + 4 - data;
}

/* Handle one frame; returns its length, 0 when it is not whole, -1 when it ends the connection. */
static ssize_t read_frame(struct connection *c, const unsigned char *data, size_t length)
{
    size_t header = 2, size;
    if (length < 2)
        return 0;
    size = data[1] & 0x7f;
    if (size == 126) {
        header = 4;
        if (length < header)
            return 0;
        size = (size_t)data[2] << 8 | data[3];
    } else if (size == 127) {
        header = 10;
        if (length < header)
            return 0;
        size = (size_t)data[6] << 24 | (size_t)data[7] << 16 | (size_t)data[8] << 8 | data[9];
    }
    if (length < header + size)
        return 0;
    const char *payload = (const char *)data + header;
    int opcode = data[0] & 0x0f;
    if (opcode <= 2) {
        on_text(c, payload, size);
    } else if (opcode == 9) {
        write_frame(c, 10, payload, size);
    } else if (opcode == 8) {
        unsigned code = size >= 2 ? (unsigned)((unsigned char)payload[0] << 8 | (unsigned char)payload[1]) : 1005;
        closed_by_code[code < 5000 ? code : 0]++;
        return -1;
    }
    return (ssize_t)(header + size);
}

static void on_readable(struct connection *c)
{
    size_t kept = c->input_length;
    if (kept > sizeof buffer - FRAME_BYTES) {
        connection_close(c);
        return;
    }
    memcpy(buffer, c->input, kept);
    ssize_t got = recv(c->fd, buffer + kept, sizeof buffer - kept, 0);
    reads++;
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        connection_close(c);
        return;
    }
    size_t length = kept + (size_t)got, at = 0;
    while (at < length) {
        ssize_t used;
        if (c->state == UPGRADING) {
            used = read_upgrade(buffer + at, length - at);
            if (used > 0)
                connection_greet(c);
        } else {
            used = read_frame(c, (unsigned char *)buffer + at, length - at);
        }
        if (used < 0) {
            connection_close(c);
            return;
        }
        if (used == 0)
            break;
        at += (size_t)used;
    }
    if (length - at > c->input_length)
        c->input = realloc(c->input, length - at);
    c->input_length = (uint32_t)(length - at);
    memcpy(c->input, buffer + at, length - at);
    if (!c->input_length) {
        free(c->input);
        c->input = NULL;
    }
}

static void on_event(struct connection *c, uint32_t events)
{
    if (c->state == CLOSED)
        return;
    if (c->state == OPENING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            connection_close(c);
        else
            connection_upgrade(c);
        return;
    }
    if ((events & EPOLLOUT) && (!c->output_length || connection_flush(c)))
        watch(c, EPOLLIN);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(c);
}

/* -- phases ------------------------------------------------------------------------------------------------------ */

static double window_seconds, server_cpu, own_cpu;
static double cpu_by_pid[MAX_PIDS];
static uint64_t phase_ends, window_began, sent_open_loop;

static void say(const char *event)
{
    printf("{\"event\": \"%s\"}\n", event);
    fflush(stdout);
}

static void settle(void)
{
    phase = SETTLING;
    phase_ends = now + PATIENCE;
    last_other = now;
}

static void begin_load(void)
{
    phase = WARMING;
    phase_ends = now + (uint64_t)(run.warm_up * 1e9);
    window_began = now;
    sent_open_loop = 0;
    if (run.rate)
        return;
    for (int k = 0; k < run.in_flight; k++)
        for (int i = 0; i < publisher_count; i++)
            publish_next(&publishers[i], now);
}

static void begin_window(void)
{
    phase = MEASURING;
    window_began = now;
    sent_open_loop = 0;
    phase_ends = now + (uint64_t)(run.duration * 1e9);
    for (int i = 0; i < run.pid_count; i++)
        cpu_by_pid[i] = cpu_seconds(run.pids[i]);
    own_cpu = own_cpu_seconds();
    count_replied = replied;
    reads = others = 0;
    say("measuring");
}

static void end_window(void)
{
    window_seconds = (double)(now - window_began) / 1e9;
    own_cpu = own_cpu_seconds() - own_cpu;
    for (int i = 0; i < run.pid_count; i++) {
        cpu_by_pid[i] = cpu_seconds(run.pids[i]) - cpu_by_pid[i];
        server_cpu += cpu_by_pid[i];
    }
    count_delivered = delivered;
    count_completed = completed;
    count_replied = replied - count_replied;
    phase = DRAINING;
    phase_ends = now + (uint64_t)(run.drain * 1e9);
    say("measured");
}

static void say_connected(void)
{
    double seconds = (double)(all_ready - first_begun) / 1e9;
    printf("{\"event\": \"connected\", \"connections\": %d, \"seconds\": %.3f, \"failed\": %llu, ", ready_count,
           seconds, (unsigned long long)failed);
    histogram_print(stdout, "handshake_ms", &handshakes);
    puts("}");
    fflush(stdout);
    failed = 0;
}

static void print_result(void)
{
    uint64_t missing = 0, extra = 0, behind = 0;
    for (int i = 0; i < run.connections; i++) {
        struct connection *c = &connections[i];
        uint64_t wanted = run.expected ? c->received : published[c->room];
        missing += wanted > c->received ? wanted - c->received : 0;
        extra += c->received > wanted ? c->received - wanted : 0;
        behind += c->seq < newest_seq[c->room];
    }
    printf("{\"event\": \"result\", \"seconds\": %.4f, \"deliveries\": %llu, \"messages\": %llu, \"replies\": %llu, ",
           window_seconds, (unsigned long long)count_delivered, (unsigned long long)count_completed,
           (unsigned long long)count_replied);
    printf("\"published\": %llu, \"unfinished\": %llu, \"lost\": %llu, \"missing\": %llu, \"extra\": %llu, ",
           (unsigned long long)(next_number - 1), (unsigned long long)in_flight, (unsigned long long)lost,
           (unsigned long long)missing, (unsigned long long)extra);
    printf("\"errors\": %llu, \"others\": %llu, \"dropped\": %llu, \"failed\": %llu, \"reads\": %llu, ",
           (unsigned long long)errors, (unsigned long long)others, (unsigned long long)dropped,
           (unsigned long long)failed, (unsigned long long)reads);
    printf("\"server_cpu\": %.2f, \"cpu_by_pid\": [", server_cpu);
    for (int i = 0; i < run.pid_count; i++)
        printf("%s%.2f", i ? ", " : "", cpu_by_pid[i]);
    printf("], \"generator_cpu\": %.3f, ", own_cpu);
    histogram_print(stdout, "delivery_ms", &deliveries);
    printf(", ");
    histogram_print(stdout, "reply_ms", &replies);
    printf(", ");
    histogram_print(stdout, "complete_ms", &completions);
    if (run.reconnect) {
        printf(", ");
        histogram_print(stdout, "resumed_ms", &resumed);
        printf(", ");
        histogram_print(stdout, "refused_ms", &refusals);
        printf(", \"unrecovered\": %llu, \"gaps\": %llu, \"behind\": %llu, \"ready\": %d",
               (unsigned long long)unrecovered, (unsigned long long)gaps, (unsigned long long)behind, ready_count);
    }
    printf(", \"closed\": {");
    const char *comma = "";
    for (int code = 0; code < 5000; code++)
        if (closed_by_code[code]) {
            printf("%s\"%d\": %llu", comma, code, (unsigned long long)closed_by_code[code]);
            comma = ", ";
        }
    puts("}}");
    fflush(stdout);
}

static void open_more(void)
{
    while (next_to_open < run.connections && opening < run.concurrency) {
        if (!first_begun)
            first_begun = now;
        connection_open(&connections[next_to_open++]);
    }
    if (!waiting_to_open)
        return;
    for (int i = 0; i < run.connections; i++) {
        struct connection *c = &connections[i];
        if (c->state == CLOSED && c->wake && c->wake <= now && opening < run.concurrency * 16) {
            waiting_to_open--;
            connection_open(c);
        }
    }
}

static void publish_due(void)
{
    uint64_t due = (uint64_t)((double)(now - window_began) * run.rate / 1e9);
    while (sent_open_loop < due) {
        uint64_t stamp = window_began + (uint64_t)((double)(sent_open_loop + 1) * 1e9 / run.rate);
        publish_next(&publishers[sent_open_loop++ % (uint64_t)publisher_count], stamp);
    }
}

static void beat(void)
{
    static uint64_t last;
    static int at;
    if (!last)
        last = now;
    int due = (int)((double)(now - last) / 1e9 / run.heartbeat_every * run.connections);
    if (due < 1)
        return;
    last = now;
    for (; due > 0; due--, at = (at + 1) % run.connections) {
        struct connection *c = &connections[at];
        struct publisher *p = c->publisher;
        if (c->state != READY || (p && p->count == WAITING))
            continue;
        if (p && run.reply)
            p->waiting[(p->first + p->count++) % WAITING] = 0;
        write_template(c, &run.heartbeat, 0);
    }
}

static void give_up(void)
{
    uint64_t limit = (uint64_t)(run.give_up * 1e9);
    for (uint64_t number = oldest; number < next_number; number++) {
        struct message *m = &messages[number & (TABLE - 1)];
        if (!m->done && now - m->stamp > limit)
            message_finish(m, 1);
        else if (!m->done)
            break; /* later ones are younger */
    }
}

static void tick(void)
{
    open_more();
    if (run.heartbeat_every)
        beat();
    if (run.reconnect)
        for (int i = 0; i < publisher_count; i++) {
            struct publisher *p = &publishers[i];
            if (p->again_count && p->connection->state == READY && p->again_at <= now)
                send_again(p);
        }
    else
        give_up();
}

/* Say whether everybody is back and has what the others of their room have. */
static int all_current(void)
{
    if (ready_count < run.connections)
        return 0;
    for (int i = 0; i < run.connections; i++)
        if (connections[i].seq < newest_seq[connections[i].room])
            return 0;
    return 1;
}

static void advance(void)
{
    if (phase == CONNECTING && ready_count == run.connections) {
        phase = HOLDING;
        say_connected();
        if (!run.hold && !run.publish.count)
            phase = DONE;
        else if (!run.hold)
            settle();
    }
    if (phase == CONNECTING && first_begun && now - first_begun > CONNECT_LIMIT) {
        fprintf(stderr, "load: only %d of %d are connected\n", ready_count, run.connections);
        exit(1);
    }
    if (phase == SETTLING && (now - last_other > QUIET || now >= phase_ends))
        begin_load();
    if (phase == WARMING && now >= phase_ends)
        begin_window();
    if (phase == MEASURING && now >= phase_ends)
        end_window();
    if (phase == DRAINING && ((!in_flight && (!run.reconnect || all_current())) || now >= phase_ends)) {
        phase = DONE;
        print_result();
    }
    if (run.rate && is_running())
        publish_due();
}

static void on_command(void)
{
    char line[64];
    ssize_t got = read(0, line, sizeof line);
    if (got <= 0 || memmem(line, (size_t)got, "quit", 4))
        phase = DONE;
    else if (memmem(line, (size_t)got, "report", 6))
        print_result();
    else if (phase == HOLDING && run.publish.count)
        settle();
}

static void prepare(void)
{
    room_size = run.connections / run.rooms;
    run.connections = room_size * run.rooms;
    connections = calloc((size_t)run.connections, sizeof *connections);
    published = calloc((size_t)run.rooms, sizeof *published);
    newest_seq = calloc((size_t)run.rooms, sizeof *newest_seq);
    messages = calloc(TABLE, sizeof *messages);
    dirty = calloc((size_t)run.rooms * (size_t)run.publishers + 1, sizeof *dirty);
    publishers = calloc((size_t)run.rooms * (size_t)run.publishers + 1, sizeof *publishers);
    for (int i = 0; i < run.connections; i++) {
        struct connection *c = &connections[i];
        c->number = (uint32_t)i;
        c->room = (uint32_t)(i / room_size);
        int may = !run.max_publishers || publisher_count < run.max_publishers;
        if (i % room_size < run.publishers && may) {
            c->publisher = &publishers[publisher_count++];
            c->publisher->connection = c;
        }
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS], input = {.events = EPOLLIN, .data.ptr = NULL};
    uint64_t next_tick = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: load SCENARIO\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    scenario_read(&run, argv[1]);
    srand48((long)getpid());
    prepare();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run.hold)
        epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &input);
    while (phase != DONE) {
        int wait = run.rate && is_running() ? 1 : 5;
        int count = epoll_wait(epoll, events, EVENTS, wait);
        for (int i = 0; i < count; i++) {
            now = now_ns();
            if (events[i].data.ptr)
                on_event(events[i].data.ptr, events[i].events);
            else
                on_command();
        }
        now = now_ns();
        if (phase == CONNECTING)
            open_more();
        if (now >= next_tick) {
            tick();
            next_tick = now + TICK_NS;
        }
        advance();
        flush_publishers();
    }
    return 0;
}
