/* The client: WebSocket, request and handshake load, always over TLS 1.3, always to loopback.
 *
 *   wsload MODE [-c CONNECTIONS] [-s BYTES] [-d SECONDS] [-w SECONDS] [-r RATE]
 *               [-u FIRST -n COUNT] PORT TARGET
 *
 *   rtt         one message of BYTES under way on each connection
 *   get         one request under way on each connection; TARGET is what paths begin with
 *   down, up    counts messages of BYTES that came; that were sent and answered
 *   idle        opens the connections and holds them until standard input ends
 *   handshake   connects, GETs TARGET once, closes, over and over; no session is resumed
 *   resume      the same, and each connection offers the ticket of the one before it
 *
 * rtt and get are closed loops: what is sent next waits for the answer. With -r they are open
 * ones: so many messages a second are due, in turn on each connection, however long answers take,
 * and a round trip is counted from when its message was due.
 *
 * For "*" in TARGET stands the port of an upstream: FIRST and the COUNT - 1 behind it in turn, one
 * for each connection.
 *
 * -w is for how long messages are sent first that do not count.
 * It prints "open" when measuring begins, and a line of JSON when it is over. On anything
 * unexpected it prints a sentence to standard error and ends with status 1.
 */
#include "browser.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    OPENING_AT_ONCE = 32,       /* below the smallest listen backlog in the field, 50 */
    OPEN_WITHIN_S = 30,
};

struct browser {
    struct conn conn;
    SSL_SESSION *ticket;        /* resume: what the next connection offers */
    size_t received;            /* of the message that is coming in */
    uint64_t asked_ns;          /* when the message under way was sent, or was due */
    bool asks;                  /* a message is under way */
    bool closes;                /* the proxy has said that this was the last answer */
    unsigned long long turns, due;      /* open loop: what it has sent; what it should have sent */
};

static enum { RTT, GET, DOWN, UP, IDLE, HANDSHAKE, RESUME } mode;
static const char *const mode_names[] = {"rtt", "get", "down", "up", "idle", "handshake", "resume",
                                         NULL};

static SSL_CTX *tls;
static int loop;
static struct sockaddr_in proxy = {.sin_family = AF_INET};
static const char *target;
static unsigned first_upstream, upstreams = 1;
static struct browser *browsers;
static double rate;                     /* messages a second of an open loop; 0: a closed one */
static uint64_t began_ns;
static unsigned long long due;          /* messages of the open loop that were due so far */
static size_t message_size = 1024;
static unsigned wanted = 1;
static uint8_t pattern[MESSAGE_MAX];    /* what every message holds */

static unsigned opened, opening;        /* connections that are ready; that are on their way */
static bool measuring;
static unsigned long long messages, resumed;
static struct { uint32_t *ns; size_t n, cap; } round_trips;

static bool only_shakes(void)
{
    return mode == HANDSHAKE || mode == RESUME;
}

/* ---- what is sent and what comes ---- */

static void ask(struct browser *);

static const char *path(const struct browser *b)
{
    static char text[256];
    size_t before = strcspn(target, "*");
    if (!target[before])
        return target;
    snprintf(text, sizeof text, "%.*s%u%s", (int)before, target,
             first_upstream + (unsigned)(b - browsers) % upstreams, target + before + 1);
    return text;
}

static void shaken(struct conn *c)
{
    struct browser *b = c->own;
    int port = ntohs(proxy.sin_port);
    if (only_shakes())
        put_visit(c, port, target);
    else if (mode == RTT || mode == UP || mode == DOWN || mode == IDLE)
        put_upgrade(c, port, path(b));
    else if (!b->closes)
        opened++, opening--;
    else if (b->closes = false, !rate || b->turns < b->due)
        ask(b);
}

static bool page_begins(struct conn *c)
{
    const char *length = field(c, "Content-Length"), *connection = field(c, "Connection");
    ((struct browser *)c->own)->closes = connection && !strncasecmp(connection, "close", 5);
    if (strncmp(c->head, "HTTP/1.1 200", 12) || !length)
        die("no page: %.*s", (int)strcspn(c->head, "\r\n"), c->head);
    c->body_left = strtoull(length, NULL, 10);
    c->stage = BODY;
    return c->body_left > 0;
}

static bool head_came(struct conn *c)
{
    if (mode == GET)
        return page_begins(c);
    if (strncmp(c->head, "HTTP/1.", 7) || strncmp(c->head + 8, only_shakes() ? " 200" : " 101", 4))
        die("%s: %.*s", only_shakes() ? "no page" : "no WebSocket",
            (int)strcspn(c->head, "\r\n"), c->head);
    if (only_shakes()) {
        c->stage = BODY;
        c->body_left = UINT64_MAX;      /* until the connection closes */
    } else {
        c->stage = OPEN;
        opened++, opening--;
    }
    return true;
}

/* When the n-th message of all is due. */
static uint64_t due_ns(unsigned long long n)
{
    return began_ns + (uint64_t)((double)n * 1e9 / rate);
}

static void ask(struct browser *b)
{
    b->asked_ns = rate ? due_ns(b->turns++ * wanted + (unsigned)(b - browsers)) : now_ns();
    b->asks = true;
    if (mode == GET)
        put_page_request(&b->conn, ntohs(proxy.sin_port), path(b));
    else
        put_frame(&b->conn, BINARY, pattern, message_size);
}

static void answered(struct browser *b)
{
    size_t n = round_trips.n++;
    round_trips.ns = grown(round_trips.ns, &round_trips.cap, n + 1, sizeof *round_trips.ns);
    uint64_t took = now_ns() - b->asked_ns;
    round_trips.ns[n] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    messages++;
    b->asks = false;
    if (!b->closes && (!rate || b->turns < b->due))
        ask(b);
}

static bool page_came(struct conn *c)
{
    c->stage = HEAD;
    answered(c->own);
    return true;
}

static bool frame_came(struct conn *c)
{
    (void)c;
    return true;
}

static bool data_came(struct conn *c, const uint8_t *data, size_t n)
{
    struct browser *b = c->own;
    if (mode == RTT
        && (n > message_size - b->received || memcmp(data, pattern + b->received, n)))
        die("an echo differs from what was sent");
    b->received += n;
    return true;
}

static bool message_came(struct conn *c)
{
    struct browser *b = c->own;
    size_t received = b->received;
    b->received = 0;
    if (!measuring)
        return true;
    if (mode != UP && received != message_size)
        die("a message of %zu bytes came, not of %zu", received, message_size);
    if (mode == RTT)
        answered(b);
    else
        messages++;
    return true;
}

static bool all_written(struct conn *c)
{
    c->out.len = 0;
    if (mode == UP && measuring)
        ask(c->own);
    return true;
}

static const struct role client = {
    .masks = true,
    .head = head_came,
    .body = page_came,
    .frame = frame_came,
    .data = data_came,
    .message = message_came,
    .written = all_written,
};

/* ---- connections ---- */

static int ticket_came(SSL *ssl, SSL_SESSION *ticket)
{
    struct browser *b = SSL_get_app_data(ssl);
    SSL_SESSION_free(b->ticket);
    b->ticket = ticket;
    return 1;
}

static void connect_to_proxy(struct browser *b)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd < 0 || (connect(fd, (struct sockaddr *)&proxy, sizeof proxy) && errno != EINPROGRESS))
        die("connect: %s", strerror(errno));
    SSL *ssl = SSL_new(tls);
    SSL_set_app_data(ssl, b);
    SSL_set_tlsext_host_name(ssl, "localhost");
    SSL_set_connect_state(ssl);
    if (mode == RESUME && b->ticket)
        SSL_set_session(ssl, b->ticket);
    b->conn = (struct conn){.own = b};
    conn_begin(&b->conn, &client, fd, ssl);
    b->conn.stage = CONNECTING;
    conn_arm(&b->conn, loop);
}

static bool is_ready(struct conn *c)    /* the request is on its way, if not more */
{
    if (c->stage == CONNECTING) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error)
            die("connect: %s", strerror(error));
        c->stage = SHAKING;
    }
    if (c->stage == SHAKING) {
        int done = conn_shake(c);
        if (done < 0)
            die("the TLS handshake failed");
        if (done)
            shaken(c);
    }
    return c->stage > SHAKING;
}

static void on_event(struct conn *c)
{
    if (!is_ready(c) || conn_pump(c)) {
        conn_arm(c, loop);
        return;
    }
    if (mode == GET && ((struct browser *)c->own)->closes) {
        conn_end(c);
        connect_to_proxy(c->own);
        return;
    }
    if (!only_shakes() || c->stage != BODY)
        die("%s", c->fault ? c->fault : "the proxy closed a connection");
    messages++;
    resumed += (unsigned long long)SSL_session_reused(c->ssl);
    conn_end(c);
    connect_to_proxy(c->own);
}

/* ---- the run ---- */

static void send_now(struct browser *b)
{
    ask(b);
    if (!conn_flush(&b->conn))
        die("the proxy closed a connection");
    conn_arm(&b->conn, loop);
}

static void begin_counting(void)
{
    puts("open");
    fflush(stdout);
    messages = 0;
    round_trips.n = 0;
}

static void begin_sending(void)
{
    measuring = true;
    began_ns = now_ns();
    if (mode == IDLE) {
        char byte;
        while (read(STDIN_FILENO, &byte, 1) > 0)
            ;
        exit(0);
    }
    for (unsigned i = 0; i < wanted && !rate && (mode == RTT || mode == GET || mode == UP); i++)
        send_now(&browsers[i]);
}

/* Sends what is due, where nothing is under way; gives the nanoseconds until the next is due. */
static uint64_t keep_the_rate(void)
{
    const uint64_t at_most = 50000000;
    if (!rate || !measuring)
        return at_most;
    for (uint64_t at; (at = due_ns(due)) <= now_ns(); due++) {
        struct browser *b = &browsers[due % wanted];
        b->due++;
        if (!b->asks && !b->closes)
            send_now(b);
    }
    uint64_t at = due_ns(due), now = now_ns();
    return at <= now ? 0 : at - now < at_most ? at - now : at_most;
}

static double run(uint64_t warm_up_ns, uint64_t duration_ns)      /* seconds measured */
{
    unsigned begun = 0, at_once = only_shakes() ? wanted : OPENING_AT_ONCE;
    bool counting = false;
    uint64_t began = now_ns(), end = began + OPEN_WITHIN_S * 1000000000ull;
    struct epoll_event events[256];
    while (now_ns() < end) {
        for (; begun < wanted && opening < at_once; begun++, opening++)
            connect_to_proxy(&browsers[begun]);
        if (!measuring && (only_shakes() || opened == wanted)) {
            if (mode == IDLE)
                begin_counting();
            begin_sending();
            end = began_ns + warm_up_ns + duration_ns;
        }
        if (measuring && !counting && now_ns() >= began_ns + warm_up_ns) {
            counting = true;
            began = now_ns();
            begin_counting();
        }
        struct timespec wait = {.tv_nsec = (long)keep_the_rate()};
        int n = epoll_pwait2(loop, events, 256, &wait, NULL);
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr);
    }
    if (!measuring)
        die("only %u of %u connections were open after %d s", opened, wanted, OPEN_WITHIN_S);
    return (double)(now_ns() - began) / 1e9;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_result(double seconds)
{
    printf("{\"seconds\": %.6f, \"messages\": %llu, \"resumed\": %llu", seconds, messages, resumed);
    if (round_trips.n) {
        size_t n = round_trips.n, p99 = (size_t)((double)n * 0.99);
        qsort(round_trips.ns, n, sizeof *round_trips.ns, ascending);
        printf(", \"p50_us\": %.3f, \"p99_us\": %.3f", round_trips.ns[n / 2] / 1e3,
               round_trips.ns[p99] / 1e3);
    }
    puts("}");
}

int main(int argc, char **argv)
{
    unsigned named = 0;
    while (argc > 1 && mode_names[named] && strcmp(argv[1], mode_names[named]))
        named++;
    if (argc < 4 || !mode_names[named])
        die("wsload MODE [OPTION ...] PORT TARGET");
    mode = named;
    argc--, argv++;
    double seconds = 1, warm_up = 0;
    for (int option; (option = getopt(argc, argv, "c:s:d:w:r:u:n:")) != -1;) {
        switch (option) {
        case 'c': wanted = (unsigned)strtoul(optarg, NULL, 10); break;
        case 's': message_size = strtoul(optarg, NULL, 10); break;
        case 'd': seconds = strtod(optarg, NULL); break;
        case 'w': warm_up = strtod(optarg, NULL); break;
        case 'r': rate = strtod(optarg, NULL); break;
        case 'u': first_upstream = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'n': upstreams = (unsigned)strtoul(optarg, NULL, 10); break;
        default: return 1;
        }
    }
    if (argc - optind != 2 || message_size > MESSAGE_MAX || !wanted || !upstreams)
        die("wsload: PORT and TARGET are needed, a connection, and at most 16 MiB");
    proxy.sin_port = htons((uint16_t)strtoul(argv[optind], NULL, 10));
    proxy.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    target = argv[optind + 1];
    for (size_t i = 0; i < message_size; i++)
        pattern[i] = (uint8_t)(i * 31 + (i >> 8));
    signal(SIGPIPE, SIG_IGN);
    tls = make_tls();
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls, ticket_came);
    loop = epoll_create1(EPOLL_CLOEXEC);
    browsers = calloc(wanted, sizeof *browsers);
    if (!browsers)
        die("out of memory");
    print_result(run((uint64_t)(warm_up * 1e9), (uint64_t)(seconds * 1e9)));
    return 0;
}
