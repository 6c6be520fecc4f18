"""The compiler: quantised tasks -> constant memory and one descriptor program a task."""

from gearshift_hls.compile.compiler import compile_bundle

__all__ = ["compile_bundle"]
