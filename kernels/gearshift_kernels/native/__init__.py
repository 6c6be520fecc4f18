"""The native CPU kernels as Python calls them: `library` loads, `structures` holds arguments,
`pack` lays out weights, `team` runs. The C++ stands in `kernels/native/`.
"""
