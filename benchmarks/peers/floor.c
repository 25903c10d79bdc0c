/* The floor: a server that does nothing but write. It checks nobody, knows no topics, and keeps nothing.
 *
 *     floor PORT write    one write for each delivery
 *     floor PORT join     what one turn of the loop has brought leaves in one write for each reader
 *
 * The room of a connection is the number at the end of its path. What a member sends, all members of the room get.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512
#define BYTES 65536
#define ROOMS 65536
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct reader {
    int fd, room, open;
    uint32_t length; /* of what waits because the socket is full */
    char *waiting;
};

struct room {
    struct reader **readers;
    int count, space, is_dirty;
    uint32_t length, room; /* of what this turn has brought */
    char *text;
};

static struct room rooms[ROOMS];
static int dirty[ROOMS], dirty_count, epoll, joins;

/* -- the answer to a handshake: base64(SHA-1(key + GUID)), RFC 6455, section 4.2.2 --------------------------------- */

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void sha1_block(uint32_t *h, const unsigned char *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 ? b ^ c ^ d : i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t t = rotate(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotate(b, 30), b = a, a = t;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

static void accept_of(const char *key, size_t length, char *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char data[128] = {0}, digest[21] = {0};
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    size_t total = length + sizeof GUID - 1;
    memcpy(data, key, length);
    memcpy(data + length, GUID, sizeof GUID - 1);
    data[total] = 0x80;
    data[126] = (unsigned char)(total * 8 >> 8); /* 24 + 36 characters: the length does not fit into one block */
    data[127] = (unsigned char)(total * 8);
    sha1_block(h, data);
    sha1_block(h, data + 64);
    for (int i = 0; i < 20; i++)
        digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < 7; i++) {
        uint32_t three = (uint32_t)digest[3 * i] << 16 | (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = letters[three >> (18 - 6 * j) & 63];
    }
    out[27] = '=';
    out[28] = 0;
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

static void reader_write(struct reader *r, const char *data, size_t length)
{
    if (!r->length) {
        ssize_t sent = send(r->fd, data, length, MSG_NOSIGNAL);
        if (sent == (ssize_t)length || (sent < 0 && errno != EAGAIN))
            return;
        data += sent > 0 ? sent : 0;
        length -= sent > 0 ? (size_t)sent : 0;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = r};
        epoll_ctl(epoll, EPOLL_CTL_MOD, r->fd, &event);
    }
    r->waiting = realloc(r->waiting, r->length + length);
    memcpy(r->waiting + r->length, data, length);
    r->length += (uint32_t)length;
}

static void reader_flush(struct reader *r)
{
    ssize_t sent = send(r->fd, r->waiting, r->length, MSG_NOSIGNAL);
    if (sent <= 0)
        return;
    r->length -= (uint32_t)sent;
    memmove(r->waiting, r->waiting + sent, r->length);
    if (!r->length) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = r};
        epoll_ctl(epoll, EPOLL_CTL_MOD, r->fd, &event);
    }
}

static void room_write(struct room *room, const char *data, size_t length)
{
    for (int i = 0; i < room->count; i++)
        reader_write(room->readers[i], data, length);
}

static void room_publish(int number, const char *payload, size_t size)
{
    char frame[BYTES];
    size_t header = size < 126 ? 2 : 4;
    struct room *room = &rooms[number];
    frame[0] = (char)0x81;
    frame[1] = (char)(size < 126 ? size : 126);
    if (size >= 126) {
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
    }
    memcpy(frame + header, payload, size);
    if (!joins) {
        room_write(room, frame, header + size);
        return;
    }
    if (!room->is_dirty) {
        room->is_dirty = 1;
        dirty[dirty_count++] = number;
    }
    if (room->length + header + size > room->room) {
        room->room = (room->length + (uint32_t)(header + size)) * 2;
        room->text = realloc(room->text, room->room);
    }
    memcpy(room->text + room->length, frame, header + size);
    room->length += (uint32_t)(header + size);
}

static void write_joined(void)
{
    for (int i = 0; i < dirty_count; i++) {
        struct room *room = &rooms[dirty[i]];
        room_write(room, room->text, room->length);
        room->length = 0;
        room->is_dirty = 0;
    }
    dirty_count = 0;
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

static void reader_open(struct reader *r, const char *data, size_t length)
{
    char answer[29], text[256];
    const char *end = memmem(data, length, " HTTP/1.1", 9), *key = memmem(data, length, "Sec-WebSocket-Key: ", 19);
    if (!end || !key)
        return;
    const char *slash = memrchr(data, '/', (size_t)(end - data));
    r->room = slash ? atoi(slash + 1) & (ROOMS - 1) : 0;
    accept_of(key + 19, strcspn(key + 19, "\r\n"), answer);
    int size = snprintf(text, sizeof text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                           "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", answer);
    r->open = 1;
    reader_write(r, text, (size_t)size);
    struct room *room = &rooms[r->room];
    if (room->count == room->space) {
        room->space = room->space ? room->space * 2 : 128;
        room->readers = realloc(room->readers, (size_t)room->space * sizeof *room->readers);
    }
    room->readers[room->count++] = r;
}

static void reader_close(struct reader *r)
{
    struct room *room = &rooms[r->room];
    for (int i = 0; r->open && i < room->count; i++)
        if (room->readers[i] == r) {
            room->readers[i] = room->readers[--room->count];
            break;
        }
    close(r->fd);
    free(r->waiting);
    free(r);
}

/* The generator writes whole frames; one that comes in two parts is not worth a buffer here. */
static void read_frames(struct reader *r, unsigned char *data, size_t length)
{
    size_t at = 0;
    while (at + 6 <= length) {
        size_t size = data[at + 1] & 0x7f, header = 6;
        if (size == 126) {
            size = (size_t)data[at + 2] << 8 | data[at + 3];
            header = 8;
        }
        if (at + header + size > length)
            return;
        unsigned char *mask = data + at + header - 4, *payload = data + at + header;
        for (size_t i = 0; i < size; i++)
            payload[i] ^= mask[i & 3];
        if ((data[at] & 0x0f) == 1)
            room_publish(r->room, (char *)payload, size);
        at += header + size;
    }
}

static void on_event(struct reader *r, uint32_t events)
{
    static char data[BYTES];
    if (events & EPOLLOUT)
        reader_flush(r);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t got = recv(r->fd, data, sizeof data, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        reader_close(r);
    else if (!r->open)
        reader_open(r, data, (size_t)got);
    else
        read_frames(r, (unsigned char *)data, (size_t)got);
}

static void accept_all(int listener)
{
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct reader *r = calloc(1, sizeof *r);
        r->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = r};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    int yes = 1;
    if (argc != 3) {
        fprintf(stderr, "usage: floor PORT write|join\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    joins = strcmp(argv[2], "join") == 0;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("floor");
        return 1;
    }
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr)
                on_event(events[i].data.ptr, events[i].events);
            else
                accept_all(listener);
        write_joined();
    }
}
