"""The contract in the languages of its readers: C++, SystemVerilog, Markdown."""
