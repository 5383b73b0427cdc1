"""The module that cffi generates; its contents are declared once, in seqstore_api.h."""

from typing import Any

ffi: Any
lib: Any
