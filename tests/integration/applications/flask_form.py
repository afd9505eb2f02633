"""A form behind Flask-WTF's protection against other sites' forms, and Werkzeug's ProxyFix."""

from __future__ import annotations

import sys

from flask import Flask, request
from flask_wtf.csrf import CSRFProtect, generate_csrf
from werkzeug.middleware.proxy_fix import ProxyFix

application = Flask(__name__)
application.config["SECRET_KEY"] = "none"
CSRFProtect(application)


@application.route("/ipython/<int:port>/form", methods=["GET", "POST"])
def form(port: int) -> str:
    """The form's token, or that the form was taken."""
    return generate_csrf() if request.method == "GET" else "taken"


if __name__ == "__main__":
    application.wsgi_app = ProxyFix(application.wsgi_app, x_proto=1, x_host=1)
    application.run("127.0.0.1", int(sys.argv[1]))
