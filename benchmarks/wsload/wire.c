#include "wire.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_SIZE = 256 * 1024,
    TURNS = 16,                 /* reads or writes in one event, so that nobody starves */
    HIGH_WATER = 8 << 20,       /* unsent bytes from which on nothing more is read */
};

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void *grown(void *at, size_t *cap, size_t need, size_t item)
{
    if (need <= *cap)
        return at;
    while (*cap < need)
        *cap = *cap ? 2 * *cap : 64;
    at = realloc(at, *cap * item);
    if (!at)
        die("out of memory");
    return at;
}

SSL_CTX *make_tls(void)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_method());
    SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, 64 * 1024);
    if (!SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256")
        || !SSL_CTX_set1_groups_list(tls, "X25519"))
        die("OpenSSL lacks AES-128-GCM or X25519");
    return tls;
}

/* ---- bytes out ---- */

/* RFC 6455 5.3 wants the key of every frame unpredictable, against a hostile peer. There is none
 * here, and a system call for every message would be measured too: xorshift will do. */
static void random_key(uint8_t key[4])
{
    static uint64_t state;
    if (!state && RAND_bytes((uint8_t *)&state, sizeof state) != 1)
        die("no random bytes");
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    memcpy(key, &state, 4);
}

/* to = from XOR key, where the first byte stands at `at` in its frame. */
static void mask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t key[4], uint64_t at)
{
    uint8_t turned[8];
    for (unsigned i = 0; i < 8; i++)
        turned[i] = key[(at + i) & 3];
    uint64_t wide, word;
    memcpy(&wide, turned, 8);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < n; i++)
        to[i] = from[i] ^ turned[i & 7];
}

static uint8_t *room(struct bytes *b, size_t more)
{
    b->at = grown(b->at, &b->cap, b->len + more, 1);
    b->len += more;
    return b->at + b->len - more;
}

void put_bytes(struct conn *c, const void *data, size_t n)
{
    if (n)
        memcpy(room(&c->out, n), data, n);
}

void put_text(struct conn *c, const char *format, ...)
{
    char text[HEAD_MAX];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put_bytes(c, text, (size_t)n);
}

void put_frame_head(struct conn *c, bool fin, uint8_t opcode, uint64_t n, uint8_t key[4])
{
    uint8_t head[14] = {(uint8_t)((fin ? 0x80 : 0) | opcode)};
    unsigned len = 2, extra = n < 126 ? 0 : n < 65536 ? 2 : 8;
    head[1] = (uint8_t)((c->role->masks ? 0x80 : 0) | (extra == 8 ? 127 : extra ? 126 : n));
    while (extra--)
        head[len++] = (uint8_t)(n >> 8 * extra);
    if (c->role->masks) {
        random_key(key);
        memcpy(head + len, key, 4);
        len += 4;
    }
    put_bytes(c, head, len);
}

void put_frame(struct conn *c, uint8_t opcode, const uint8_t *data, size_t n)
{
    uint8_t key[4];
    put_frame_head(c, true, opcode, n, key);
    if (c->role->masks)
        mask(room(&c->out, n), data, n, key, 0);
    else
        put_bytes(c, data, n);
}

/* ---- bytes in ---- */

const char *field(const struct conn *c, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = strstr(c->head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (!strncasecmp(line + 2, name, n) && line[2 + n] == ':')
            return line + 3 + n + strspn(line + 3 + n, " \t");
    return NULL;
}

/* Takes bytes up to the end of a frame's head. */
static size_t take_frame_head(struct frame *f, const uint8_t *data, size_t n)
{
    size_t used = 0;
    while (used < n && !f->whole) {
        f->head[f->have++] = data[used++];
        if (f->have < 2)
            continue;
        unsigned length = f->head[1] & 0x7f, extra = length == 126 ? 2 : length == 127 ? 8 : 0;
        f->masked = f->head[1] & 0x80;
        if (f->have < 2 + extra + (f->masked ? 4 : 0))
            continue;
        f->left = extra ? 0 : length;
        for (unsigned i = 0; i < extra; i++)
            f->left = f->left << 8 | f->head[2 + i];
        if (f->masked)
            memcpy(f->mask, f->head + 2 + extra, 4);
        f->fin = f->head[0] & 0x80;
        f->opcode = f->head[0] & 0x0f;
        f->done = 0;
        f->whole = true;
    }
    return used;
}

static bool frame_is_sound(const struct conn *c)        /* RFC 6455 5.1, 5.2, 5.5 */
{
    const struct frame *f = &c->in;
    if (f->head[0] & 0x70 || f->masked == c->role->masks)
        return false;
    return f->opcode >= CLOSE ? f->fin && f->left <= 125 && f->opcode <= PONG : f->opcode <= BINARY;
}

static bool payload_came(struct conn *c, uint8_t *data, size_t n)
{
    struct frame *f = &c->in;
    if (f->masked)
        mask(data, data, n, f->mask, f->done);
    if (f->opcode >= CLOSE)
        memcpy(f->control + f->done, data, n);
    f->done += n;
    f->left -= n;
    return f->opcode >= CLOSE || c->role->data(c, data, n);
}

static bool frame_ended(struct conn *c)
{
    struct frame *f = &c->in;
    f->have = 0;
    f->whole = false;
    if (f->opcode == PING)
        put_frame(c, PONG, f->control, f->done);
    return f->opcode >= CLOSE ? f->opcode != CLOSE : !f->fin || c->role->message(c);
}

/* Each takes what belongs to its stage and leaves the rest to the next. -1: it is over. */
static ssize_t take_frame(struct conn *c, uint8_t *data, size_t n)
{
    struct frame *f = &c->in;
    size_t used = f->whole ? 0 : take_frame_head(f, data, n);
    if (!f->whole)
        return (ssize_t)used;
    if (used && !frame_is_sound(c)) {
        c->fault = "a frame breaks RFC 6455";
        return -1;
    }
    if (used && f->opcode < CLOSE && !c->role->frame(c))
        return -1;
    size_t now = n - used < f->left ? n - used : (size_t)f->left;
    if ((now && !payload_came(c, data + used, now)) || (!f->left && !frame_ended(c)))
        return -1;
    return (ssize_t)(used + now);
}

static ssize_t take_head(struct conn *c, const uint8_t *data, size_t n)
{
    for (size_t used = 0; used < n;) {
        if (c->head_len == HEAD_MAX)
            return -1;
        c->head[c->head_len++] = (char)data[used++];
        if (c->head_len >= 4 && !memcmp(c->head + c->head_len - 4, "\r\n\r\n", 4)) {
            c->head[c->head_len] = 0;
            c->head_len = 0;
            return c->role->head(c) ? (ssize_t)used : -1;
        }
    }
    return (ssize_t)n;
}

static ssize_t take_body(struct conn *c, size_t n)
{
    size_t now = n < c->body_left ? n : (size_t)c->body_left;
    c->body_left -= now;
    return c->body_left || c->role->body(c) ? (ssize_t)now : -1;
}

static bool bytes_came(struct conn *c, uint8_t *data, size_t n)
{
    while (n) {
        ssize_t used = c->stage == HEAD   ? take_head(c, data, n)
                       : c->stage == BODY ? take_body(c, n)
                                          : take_frame(c, data, n);
        if (used < 0)
            return false;
        data += used, n -= (size_t)used;
    }
    return true;
}

/* ---- the descriptor ---- */

void conn_begin(struct conn *c, const struct role *role, int fd, SSL *ssl)
{
    c->role = role;
    c->fd = fd;
    c->ssl = ssl;
    c->stage = ssl ? SHAKING : HEAD;
    if (ssl)
        SSL_set_fd(ssl, fd);
}

void conn_end(struct conn *c)
{
    if (c->ssl) {
        /* As if both sides had said goodbye: otherwise OpenSSL spoils the ticket. */
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(c->ssl);
    }
    close(c->fd);
    free(c->out.at);
}

/* More than 0: bytes. 0: not now. -1: it is over. */
static int tls_result(struct conn *c, int done)
{
    c->wants_write = false;
    if (done > 0)
        return done;
    int why = SSL_get_error(c->ssl, done);
    ERR_clear_error();
    c->wants_write = why == SSL_ERROR_WANT_WRITE;
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t read_some(struct conn *c, uint8_t *to, size_t n)
{
    if (c->ssl)
        return tls_result(c, SSL_read(c->ssl, to, (int)n));
    ssize_t got = read(c->fd, to, n);
    return got > 0 ? got : got < 0 && errno == EAGAIN ? 0 : -1;
}

static ssize_t write_some(struct conn *c, const uint8_t *from, size_t n)
{
    if (c->ssl)
        return tls_result(c, SSL_write(c->ssl, from, n < READ_SIZE ? (int)n : READ_SIZE));
    ssize_t put = write(c->fd, from, n);
    return put > 0 ? put : put < 0 && errno == EAGAIN ? 0 : -1;
}

int conn_shake(struct conn *c)
{
    int done = tls_result(c, SSL_do_handshake(c->ssl));
    if (done > 0)
        c->stage = HEAD;
    return done;
}

bool conn_flush(struct conn *c)
{
    for (int turn = 0; turn < TURNS && c->sent < c->out.len; turn++) {
        ssize_t put = write_some(c, c->out.at + c->sent, c->out.len - c->sent);
        if (put < 0)
            return false;
        if (!put)
            break;
        c->sent += (size_t)put;
        if (c->sent == c->out.len) {
            c->sent = 0;
            if (!c->role->written(c))
                return false;
        }
    }
    return true;
}

static bool may_read(const struct conn *c)
{
    return c->floods || c->out.len - c->sent < HIGH_WATER;
}

bool conn_pump(struct conn *c)
{
    static uint8_t input[READ_SIZE];
    if (!conn_flush(c))
        return false;
    for (int turn = 0; turn < TURNS || (c->ssl && SSL_has_pending(c->ssl)); turn++) {
        ssize_t got = may_read(c) ? read_some(c, input, READ_SIZE) : 0;
        if (got < 0 || !bytes_came(c, input, (size_t)got))
            return false;
        if (!got)
            break;
    }
    return conn_flush(c);
}

void conn_arm(struct conn *c, int loop)
{
    bool has_output = c->sent < c->out.len || c->wants_write || c->stage == CONNECTING;
    uint32_t events = (has_output ? EPOLLOUT : 0u) | (may_read(c) ? EPOLLIN : 0u);
    if (events == c->armed)
        return;
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(loop, c->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event))
        die("epoll_ctl: %s", strerror(errno));
    c->armed = events;
}
