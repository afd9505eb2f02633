/* One connection on an epoll loop, over TCP or TLS: bytes in and out, HTTP heads and bodies as far
 * as an upgrade needs them, and RFC 6455 frames without extensions. Loopback only.
 *
 * It does not know what is served or measured: that is a struct role.
 */
#ifndef WIRE_H
#define WIRE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum { HEAD_MAX = 4096, MESSAGE_MAX = 16 << 20 };

/* What becomes of what comes in. Each returns false when the connection is over. */
struct conn;
struct role {
    bool masks;                                         /* as a client does, RFC 6455 5.1 */
    bool (*head)(struct conn *);                        /* c->head holds a whole HTTP head */
    bool (*body)(struct conn *);                        /* c->body_left has become 0 */
    bool (*frame)(struct conn *);                       /* a data frame's head is in c->in */
    bool (*data)(struct conn *, const uint8_t *, size_t);   /* some of its payload, unmasked */
    bool (*message)(struct conn *);                     /* its last frame has ended */
    bool (*written)(struct conn *);     /* all of c->out is sent: empties it, or sends it again */
};

/* The frame that is coming in. */
struct frame {
    uint8_t head[14];
    unsigned have;              /* bytes of the head so far */
    bool whole, fin, masked;    /* whole: the head is complete */
    uint8_t opcode, mask[4], control[125];
    uint64_t left, done;        /* payload bytes to come, and so far */
};

struct bytes { uint8_t *at; size_t len, cap; };

struct conn {
    const struct role *role;
    void *own;                  /* the role's */
    int fd;
    SSL *ssl;                   /* NULL: plain TCP */
    enum { CONNECTING, SHAKING, HEAD, BODY, OPEN } stage;
    uint32_t armed;             /* the events epoll watches */
    bool wants_write;           /* OpenSSL's wish during the handshake */
    char head[HEAD_MAX + 1];
    size_t head_len;
    uint64_t body_left;
    struct frame in;
    struct bytes out;
    size_t sent;                /* bytes of out that are gone */
    bool floods;                /* reads on however much is unsent */
    const char *fault;          /* why it is over, if not because the other side ended it */
};

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
void *grown(void *at, size_t *cap, size_t need, size_t item);

/* TLS 1.3, X25519 and AES-128-GCM, so that every run computes the same. */
SSL_CTX *make_tls(void);

/* A new connection on a descriptor; the TLS handshake, where there is one, is still to come. */
void conn_begin(struct conn *, const struct role *, int fd, SSL *);
void conn_end(struct conn *);

/* Reads and writes what goes without waiting, once the stage is past SHAKING. */
bool conn_pump(struct conn *);
bool conn_flush(struct conn *);

/* 1: the handshake is done. 0: not yet. -1: it failed. */
int conn_shake(struct conn *);

void conn_arm(struct conn *, int loop);

void put_bytes(struct conn *, const void *, size_t);
void put_text(struct conn *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void put_frame_head(struct conn *, bool fin, uint8_t opcode, uint64_t len, uint8_t key[4]);
void put_frame(struct conn *, uint8_t opcode, const uint8_t *, size_t);

/* A field's value in c->head, up to the end of the head, or NULL. */
const char *field(const struct conn *, const char *name);

#endif
