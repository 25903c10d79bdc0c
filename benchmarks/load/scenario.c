#include "scenario.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "scenario: %s: %s\n", what, which);
    exit(2);
}

static const struct { const char *name; enum placeholder kind; } PLACEHOLDERS[] = {
    {"{token}", TOKEN}, {"{user}", USER}, {"{peer}", PEER}, {"{room}", ROOM},  {"{number}", NUMBER},
    {"{id}", ID},       {"{uuid}", UUID}, {"{epoch}", EPOCH}, {"{seq}", SEQ},
    {"{proof}", PROOF},
};

static void template_add(struct template *t, enum placeholder kind, const char *text, size_t length)
{
    if (kind == TEXT && length == 0)
        return;
    if (t->count == MAX_PARTS)
        fail("too many placeholders", text);
    t->parts[t->count].kind = kind;
    t->parts[t->count].text = text;
    t->parts[t->count].length = length;
    t->count++;
}

static void template_parse(struct template *t, const char *value)
{
    const char *start = value, *at = value;
    while (*at) {
        size_t index, known = sizeof PLACEHOLDERS / sizeof *PLACEHOLDERS;
        for (index = 0; index < known; index++)
            if (strncmp(at, PLACEHOLDERS[index].name, strlen(PLACEHOLDERS[index].name)) == 0)
                break;
        if (index == known) {
            at++;
            continue;
        }
        template_add(t, TEXT, start, (size_t)(at - start));
        template_add(t, PLACEHOLDERS[index].kind, NULL, 0);
        at += strlen(PLACEHOLDERS[index].name);
        start = at;
    }
    template_add(t, TEXT, start, (size_t)(at - start));
}

static size_t append(char *out, size_t at, size_t room, const char *text, size_t length)
{
    if (at + length >= room)
        fail("a frame is too long", "raise FRAME_BYTES");
    memcpy(out + at, text, length);
    return at + length;
}

/* Something that the last run did not have: ids of messages are unique for ever. */
static unsigned run_id(void)
{
    static unsigned id;
    if (!id)
        id = (unsigned)time(NULL) ^ (unsigned)getpid() << 16;
    return id;
}

size_t template_write(const struct template *t, const struct values *v, char *out, size_t room)
{
    size_t at = 0;
    char made[64];
    for (int i = 0; i < t->count; i++) {
        const char *text = made;
        switch (t->parts[i].kind) {
        case TEXT:
            at = append(out, at, room, t->parts[i].text, t->parts[i].length);
            continue;
        case TOKEN: text = v->token; break;
        case USER: text = v->user; break;
        case PEER: text = v->peer; break;
        case ROOM: text = v->room; break;
        case EPOCH: text = v->epoch; break;
        case PROOF: text = v->proof; break;
        case NUMBER: snprintf(made, sizeof made, MARK "%0*llu", NUMBER_DIGITS, (unsigned long long)v->number); break;
        case ID: snprintf(made, sizeof made, "%llu", (unsigned long long)v->id); break;
        case SEQ: snprintf(made, sizeof made, "%llu", (unsigned long long)v->seq); break;
        case UUID:
            /* The same for the same message, so that a retry is one; different in each run. */
            snprintf(made, sizeof made, "%08x-0000-4000-8000-%012llx", run_id(), (unsigned long long)v->number);
            break;
        }
        if (!text)
            fail("a placeholder has no value here", "tokens, users or rooms are missing");
        at = append(out, at, room, text, strlen(text));
    }
    return at;
}

/* Read the lines of a file; the second word of each goes to `seconds` when there is one. */
static int read_lines(const char *path, char ***firsts, char ***seconds)
{
    FILE *file = fopen(path, "r");
    if (!file)
        fail("cannot be read", path);
    int count = 0, space = 0;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        if (count == space) {
            space = space ? space * 2 : 1024;
            *firsts = realloc(*firsts, (size_t)space * sizeof **firsts);
            if (seconds)
                *seconds = realloc(*seconds, (size_t)space * sizeof **seconds);
        }
        char *second = strchr(line, ' ');
        if (second)
            *second++ = 0;
        (*firsts)[count] = strdup(line);
        if (seconds)
            (*seconds)[count] = second ? strdup(second) : NULL;
        count++;
    }
    free(line);
    fclose(file);
    return count;
}

static void add_address(struct scenario *s, char *value)
{
    char *colon = strrchr(value, ':');
    if (!colon || s->address_count == MAX_ADDRESSES)
        fail("no address", value);
    *colon = 0;
    struct sockaddr_in *address = &s->addresses[s->address_count++];
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, value, &address->sin_addr) != 1)
        fail("no address", value);
}

static int set_text(struct scenario *s, const char *key, char *value)
{
    struct { const char *key; const char **target; } texts[] = {
        {"host", &s->host}, {"subprotocol", &s->subprotocol}, {"ready", &s->ready}, {"reply", &s->reply},
        {"error", &s->error}, {"ping", &s->ping}, {"pong", &s->pong}, {"asks", &s->asks},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(key, texts[i].key) == 0) {
            *texts[i].target = value;
            return 1;
        }
    return 0;
}

static int set_number(struct scenario *s, const char *key, const char *value)
{
    struct { const char *key; int *target; } integers[] = {
        {"sources", &s->sources}, {"connections", &s->connections}, {"rooms", &s->rooms},
        {"publishers", &s->publishers}, {"max-publishers", &s->max_publishers}, {"in-flight", &s->in_flight},
        {"concurrency", &s->concurrency}, {"expected", &s->expected}, {"wait-delivery", &s->wait_delivery},
        {"wait-reply", &s->wait_reply}, {"split", &s->split}, {"hold", &s->hold}, {"reconnect", &s->reconnect},
    };
    struct { const char *key; double *target; } reals[] = {
        {"rate", &s->rate}, {"warm-up", &s->warm_up}, {"duration", &s->duration}, {"drain", &s->drain},
        {"give-up", &s->give_up}, {"heartbeat-every", &s->heartbeat_every}, {"backoff-base", &s->backoff_base},
        {"backoff-cap", &s->backoff_cap},
    };
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        if (strcmp(key, integers[i].key) == 0) {
            *integers[i].target = atoi(value);
            return 1;
        }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        if (strcmp(key, reals[i].key) == 0) {
            *reals[i].target = atof(value);
            return 1;
        }
    return 0;
}

static void set(struct scenario *s, const char *key, char *value)
{
    if (set_text(s, key, value) || set_number(s, key, value))
        return;
    if (strcmp(key, "address") == 0)
        add_address(s, value);
    else if (strcmp(key, "path") == 0)
        template_parse(&s->path, value);
    else if (strcmp(key, "publish") == 0)
        template_parse(&s->publish, value);
    else if (strcmp(key, "heartbeat") == 0)
        template_parse(&s->heartbeat, value);
    else if (strcmp(key, "prove") == 0)
        template_parse(&s->prove, value);
    else if (strcmp(key, "resume") == 0)
        template_parse(&s->resume, value);
    else if (strcmp(key, "header") == 0 && s->header_count < MAX_HEADERS)
        template_parse(&s->headers[s->header_count++], value);
    else if (strcmp(key, "hello") == 0 && s->hello_count < MAX_HELLOS)
        template_parse(&s->hellos[s->hello_count++], value);
    else if (strcmp(key, "tokens") == 0)
        s->token_count = read_lines(value, &s->users, &s->tokens);
    else if (strcmp(key, "room-names") == 0)
        s->room_name_count = read_lines(value, &s->room_names, NULL);
    else if (strcmp(key, "pid") == 0 && s->pid_count < MAX_PIDS)
        s->pids[s->pid_count++] = (pid_t)atoi(value);
    else
        fail("unknown key, or too many of it", key);
}

void scenario_read(struct scenario *s, const char *path)
{
    memset(s, 0, sizeof *s);
    s->rooms = s->in_flight = 1;
    s->concurrency = 64;
    s->wait_delivery = 1;
    s->warm_up = 1;
    s->duration = 3;
    s->drain = 10;
    s->give_up = 60;
    s->backoff_base = 0.5;
    s->backoff_cap = 20;
    s->host = "127.0.0.1";
    FILE *file = fopen(path, "r");
    if (!file)
        fail("cannot be read", path);
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = 0;
        char *value = strchr(line, ' ');
        if (line[0] == '#' || line[0] == 0)
            continue;
        if (!value)
            fail("no value", line);
        *value++ = 0;
        set(s, line, strdup(value));
    }
    free(line);
    fclose(file);
    if (!s->address_count || !s->path.count || s->connections < 1 || s->rooms < 1)
        fail("address, path, connections and rooms are needed", path);
    if (s->token_count && s->token_count < s->connections)
        fail("fewer tokens than connections", path);
    if (s->room_name_count && s->room_name_count < s->rooms)
        fail("fewer names than rooms", path);
}
