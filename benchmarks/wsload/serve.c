/* The upstream: a WebSocket server, and a place to upload to.
 *
 *   wsserve PORT[-LAST] [CERTIFICATE KEY]
 *
 * It answers a PUT with Content-Length when the body is in, and any other request with 1 KiB.
 * A WebSocket's target says what to do: "?flood=BYTES" sends such messages for ever, "?sink"
 * answers every message with a short one, anything else echoes frame by frame.
 */
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MOST_PORTS = 2000, PAGE_BYTES = 1024 };

struct client {
    struct conn conn;
    enum { ECHO, SINK, FLOOD } task;
    bool closes;                /* when the answer is sent */
    size_t size;                /* payload of each message of the flood */
    size_t flood_len;           /* bytes of conn.out when it holds one of them and nothing else */
};

static uint8_t zeros[MESSAGE_MAX];

static void accept_upgrade(struct conn *c, const char *key)
{
    char text[24 + 36 + 1], accept[32];
    uint8_t digest[SHA_DIGEST_LENGTH];
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((const uint8_t *)text, strlen(text), digest);
    EVP_EncodeBlock((uint8_t *)accept, digest, sizeof digest);
    put_text(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    c->stage = OPEN;
}

static bool body_came(struct conn *c)
{
    struct client *client = c->own;
    put_text(c, "HTTP/1.1 201 Created\r\nConnection: %s\r\nContent-Length: 0\r\n\r\n",
             client->closes ? "close" : "keep-alive");
    c->stage = HEAD;
    return true;
}

static bool head_came(struct conn *c)
{
    struct client *client = c->own;
    const char *length = field(c, "Content-Length"), *key = field(c, "Sec-WebSocket-Key");
    const char *upgrade = field(c, "Upgrade"), *connection = field(c, "Connection");
    const char *line_end = strstr(c->head, "\r\n");
    client->closes = connection && !strncasecmp(connection, "close", 5);
    if (!strncmp(c->head, "PUT ", 4) && length && (c->body_left = strtoull(length, NULL, 10))) {
        c->stage = BODY;
    } else if (!strncmp(line_end - 8, "HTTP/1.1", 8) && key && upgrade
               && !strncasecmp(upgrade, "websocket", 9)) {
        accept_upgrade(c, key);
        const char *flood = strstr(c->head, "?flood="), *sink = strstr(c->head, "?sink");
        client->task = flood && flood < line_end ? FLOOD : sink && sink < line_end ? SINK : ECHO;
        client->size = client->task == FLOOD ? strtoull(flood + 7, NULL, 10) : 0;
        c->floods = client->task == FLOOD;
        return client->size <= MESSAGE_MAX;
    } else {
        put_text(c, "HTTP/1.1 200 OK\r\nConnection: %s\r\nContent-Length: %d\r\n\r\n",
                 client->closes ? "close" : "keep-alive", PAGE_BYTES);
        put_bytes(c, zeros, PAGE_BYTES);
    }
    return true;
}

static bool frame_came(struct conn *c)
{
    if (((struct client *)c->own)->task == ECHO)
        put_frame_head(c, c->in.fin, c->in.opcode, c->in.left, NULL);
    return true;
}

static bool data_came(struct conn *c, const uint8_t *data, size_t n)
{
    if (((struct client *)c->own)->task == ECHO)
        put_bytes(c, data, n);
    return true;
}

static bool message_came(struct conn *c)
{
    if (((struct client *)c->own)->task == SINK)
        put_frame(c, TEXT, (const uint8_t *)"got it", 6);
    return true;
}

static bool all_written(struct conn *c)
{
    struct client *client = c->own;
    if (client->closes)
        return c->stage == BODY;
    if (client->flood_len && client->flood_len == c->out.len)
        return true;            /* the same frame again, without copying it */
    c->out.len = 0;
    if (client->task == FLOOD) {
        put_frame(c, BINARY, zeros, client->size);
        client->flood_len = c->out.len;
    }
    return true;
}

static const struct role server = {
    .head = head_came,
    .body = body_came,
    .frame = frame_came,
    .data = data_came,
    .message = message_came,
    .written = all_written,
};

static void on_event(struct conn *c, int loop)
{
    int shaken = c->stage == SHAKING ? conn_shake(c) : 1;
    if (shaken < 0 || (shaken && !conn_pump(c))) {
        conn_end(c);
        free(c->own);
        return;
    }
    conn_arm(c, loop);
}

static void accept_all(int listener, int loop, SSL_CTX *tls)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct client *client = calloc(1, sizeof *client);
        if (!client)
            die("out of memory");
        client->conn.own = client;
        conn_begin(&client->conn, &server, fd, tls ? SSL_new(tls) : NULL);
        if (tls)
            SSL_set_accept_state(client->conn.ssl);
        conn_arm(&client->conn, loop);
    }
}

static int listen_on(unsigned port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("port %u: %s", port, strerror(errno));
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 4)
        die("wsserve PORT[-LAST] [CERTIFICATE KEY]");
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX *tls = argc == 4 ? make_tls() : NULL;
    if (tls && (SSL_CTX_use_certificate_chain_file(tls, argv[2]) != 1
                || SSL_CTX_use_PrivateKey_file(tls, argv[3], SSL_FILETYPE_PEM) != 1))
        die("no certificate and key in %s and %s", argv[2], argv[3]);
    static int listeners[MOST_PORTS];
    char *rest;
    unsigned first = (unsigned)strtoul(argv[1], &rest, 10);
    unsigned count = *rest == '-' ? (unsigned)strtoul(rest + 1, NULL, 10) - first + 1 : 1;
    if (count > MOST_PORTS)
        die("at most %u ports", MOST_PORTS);
    int loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[256];
    for (unsigned i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners[i]};
        listeners[i] = listen_on(first + i);
        epoll_ctl(loop, EPOLL_CTL_ADD, listeners[i], &event);
    }
    for (;;) {
        int n = epoll_wait(loop, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int *listener = events[i].data.ptr;
            if (listener >= listeners && listener < listeners + count)
                accept_all(*listener, loop, tls);
            else
                on_event(events[i].data.ptr, loop);
        }
    }
}
