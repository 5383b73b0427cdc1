"""The module that cffi generates; its contents are declared once, in the headers *_api.h."""

from typing import Any

ffi: Any
lib: Any
