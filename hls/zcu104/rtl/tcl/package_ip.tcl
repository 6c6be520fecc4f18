# The RTL in src/ as an IP named gearshift, in build/ip.
# Its pins are those of the IP that Vitis HLS makes of the C++: the block design is the same.

set root [file normalize [file join [file dirname [info script]] ..]]
set ip [file join $root build ip]
file mkdir $ip

create_project -force package [file join $root build package] -part @part@
add_files -norecurse [glob [file join $root src *.sv]] [glob [file join $root src *.v]]
set_property top gearshift [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $ip -vendor gearshift -library user -taxonomy /UserIP -import_files
set core [ipx::current_core]
set_property -dict {name gearshift version 1.0 display_name gearshift} $core

# AXI ports are found by the names of their signals; all belong to the one clock and its reset.
ipx::infer_bus_interface ap_clk xilinx.com:signal:clock_rtl:1.0 $core
ipx::infer_bus_interface ap_rst_n xilinx.com:signal:reset_rtl:1.0 $core
ipx::infer_bus_interface interrupt xilinx.com:signal:interrupt_rtl:1.0 $core
foreach bus {s_axi_control m_axi_memory @weight_buses@} {
    ipx::associate_bus_interfaces -busif $bus -clock ap_clk $core
}
ipx::associate_bus_interfaces -clock ap_clk -reset ap_rst_n $core

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
