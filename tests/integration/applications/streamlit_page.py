"""A page of Streamlit's."""

from __future__ import annotations

import streamlit

streamlit.write("written")
