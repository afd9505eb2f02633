#include "browser.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

static void put_short_head(struct conn *c, int port, const char *path)
{
    put_text(c, "GET %s HTTP/1.1\r\nHost: localhost:%d\r\n"
                "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\n"
                "Accept: */*\r\nAccept-Language: en-GB,en;q=0.5\r\n"
                "Cookie: _xsrf=2|8f1c7a40|0d5c3f; username-localhost=2|1:0|10:1760000000\r\n",
             path, port);
}

void put_upgrade(struct conn *c, int port, const char *path)
{
    uint8_t key[16], text[32];
    if (RAND_bytes(key, sizeof key) != 1)
        die("no random bytes");
    EVP_EncodeBlock(text, key, sizeof key);
    put_short_head(c, port, path);
    put_text(c, "Origin: https://localhost:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", port, (char *)text);
}

void put_visit(struct conn *c, int port, const char *path)
{
    put_short_head(c, port, path);
    put_text(c, "Connection: close\r\n\r\n");
}

void put_page_request(struct conn *c, int port, const char *prefix)
{
    static unsigned long long count;
    count++;
    put_text(c,
        "GET %sapi/contents/notebooks/analysis-%llu.ipynb?content=0&_=%llu HTTP/1.1\r\n"
        "Host: localhost:%d\r\n"
        "Connection: keep-alive\r\n"
        "sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n"
        "sec-ch-ua-mobile: ?0\r\n"
        "sec-ch-ua-platform: \"Linux\"\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/140.0.0.0 Safari/537.36\r\n"
        "Accept: application/json, text/javascript, */*; q=0.01\r\n"
        "X-Requested-With: XMLHttpRequest\r\n"
        "X-XSRFToken: 2|8f1c7a40|0d5c3f6e9b2a4187c6d0e5f1a3b29c84|1760000000\r\n"
        "Content-Type: application/json\r\n"
        "Sec-Fetch-Site: same-origin\r\n"
        "Sec-Fetch-Mode: cors\r\n"
        "Sec-Fetch-Dest: empty\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\n"
        "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
        "Cache-Control: no-cache\r\n"
        "Pragma: no-cache\r\n"
        "Cookie: galaxysession=c6ca0ddb55be603a1b8d5f0e6a2d4c3b9f8e7a6d5c4b3a29; "
        "_xsrf=2|8f1c7a40|0d5c3f6e9b2a4187c6d0e5f1a3b29c84|1760000000; "
        "username-localhost-8888=\"2|1:0|10:1760000000|23:username-localhost-8888|"
        "44:M2Q4YTc5ZjUxYjRkNGM4Y2E2ODkwZTYzYTQ3ZjJlZGQ=|8d2f6b1c9e0a47d3\"\r\n"
        "Referer: https://localhost:%d%snotebooks/analysis-%llu.ipynb\r\n"
        "If-None-Match: \"%llu\"\r\n\r\n",
        prefix, count % 100, 1760000000000 + count, port, port, prefix, count / 64 % 100,
        7919 * count);
}
