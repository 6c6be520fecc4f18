# The steps csim, hls, cosim and ip by Tcl: vitis-run --mode hls --tcl tcl/hls.tcl

set root [file normalize [file join [file dirname [info script]] ..]]
file mkdir [file join $root build]
cd [file join $root build]

open_component -reset hls -flow_target vivado
set_top gearshift_top
add_files [file join $root src gearshift.cpp] -cflags "@cflags@"
add_files -tb [file join $root src testbench.cpp] -cflags "@cflags@"
set_part @part@
create_clock -period @period_ns@ns -name default
config_interface -m_axi_addr64=true

csim_design
csynth_design
cosim_design
export_design -format ip_catalog -ipname gearshift -version 1.0
exit
