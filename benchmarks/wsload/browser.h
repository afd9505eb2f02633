/* What a browser with a notebook open sends, written into a connection. */
#ifndef BROWSER_H
#define BROWSER_H

#include "wire.h"

/* Asks for a WebSocket at a path. */
void put_upgrade(struct conn *, int port, const char *path);

/* Asks for a page once and lets the connection close. */
void put_visit(struct conn *, int port, const char *path);

/* Asks for a page with the head of browser.lua: no two requests are alike. */
void put_page_request(struct conn *, int port, const char *prefix);

#endif
