"""A form behind Django's protection against other sites' forms, told that TLS ends before it."""

from __future__ import annotations

import sys
from typing import Any
from wsgiref.simple_server import make_server

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="none",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
)


def form(request: Any, port: int) -> Any:
    """The form's token, or that the form was taken."""
    return HttpResponse(get_token(request) if request.method == "GET" else "taken")


urlpatterns = [path("ipython/<int:port>/form", form)]

if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), get_wsgi_application()).serve_forever()
