"""What the RTL takes of a board's programmable logic, estimated by Yosys."""
