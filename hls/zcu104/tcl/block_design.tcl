# Vivado project: the accelerator beside the Zynq processing system of the @board@.
#
#   weights_0..3  -> S_AXI_HP0..HP3      memory  -> S_AXI_HPC0
#   M_AXI_HPM0_FPD -> control registers  interrupt -> pl_ps_irq0
#
# All of it in one clock domain, pl_clk0 at @clock_mhz@ MHz.

set root [file normalize [file join [file dirname [info script]] ..]]
set ports {@weight_ports@}

create_project -force vivado [file join $root build vivado] -part @part@
set_property board_part @board_part@ [current_project]
set_property ip_repo_paths [file join $root build @ip_folder@] [current_project]
update_ip_catalog
set accelerator [get_ipdefs -filter {NAME == gearshift}]
if {[llength $accelerator] != 1} {
    error "no IP gearshift in build/@ip_folder@: run make ip first"
}

create_bd_design system

# The processing system, with the board's own memory, clocks and pins.
set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps]
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset 1} $ps
# M_AXI_GP0..2 are HPM0_FPD, HPM1_FPD, HPM0_LPD; S_AXI_GP0 is HPC0, S_AXI_GP2..5 are HP0..3.
set settings [list \
    CONFIG.PSU__USE__M_AXI_GP0 {1} \
    CONFIG.PSU__USE__M_AXI_GP1 {0} \
    CONFIG.PSU__USE__M_AXI_GP2 {0} \
    CONFIG.PSU__MAXIGP0__DATA_WIDTH {32} \
    CONFIG.PSU__USE__S_AXI_GP0 {1} \
    CONFIG.PSU__SAXIGP0__DATA_WIDTH {128} \
    CONFIG.PSU__USE__IRQ0 {1} \
    CONFIG.PSU__FPGA_PL0_ENABLE {1} \
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ {@clock_mhz@}]
foreach port $ports {
    set group [expr {$port + 2}]
    lappend settings CONFIG.PSU__USE__S_AXI_GP$group 1 CONFIG.PSU__SAXIGP${group}__DATA_WIDTH 128
}
set_property -dict $settings $ps

set reset [create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset reset]
set gearshift [create_bd_cell -type ip -vlnv [get_property VLNV $accelerator] gearshift_0]

set clock [get_bd_pins ps/pl_clk0]
connect_bd_net [get_bd_pins ps/pl_resetn0] [get_bd_pins reset/ext_reset_in]
connect_bd_net $clock [get_bd_pins reset/slowest_sync_clk] [get_bd_pins gearshift_0/ap_clk] \
    [get_bd_pins ps/maxihpm0_fpd_aclk] [get_bd_pins ps/saxihpc0_fpd_aclk]
connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins gearshift_0/ap_rst_n]
connect_bd_net [get_bd_pins gearshift_0/interrupt] [get_bd_pins ps/pl_ps_irq0]

# A SmartConnect between one master and one slave.
proc join_ports {name master slave} {
    set connect [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect $name]
    set_property -dict [list CONFIG.NUM_SI {1} CONFIG.NUM_MI {1} CONFIG.NUM_CLKS {1}] $connect
    connect_bd_net [get_bd_pins ps/pl_clk0] [get_bd_pins $name/aclk]
    connect_bd_net [get_bd_pins reset/interconnect_aresetn] [get_bd_pins $name/aresetn]
    connect_bd_intf_net [get_bd_intf_pins $master] [get_bd_intf_pins $name/S00_AXI]
    connect_bd_intf_net [get_bd_intf_pins $name/M00_AXI] [get_bd_intf_pins $slave]
}

join_ports connect_control ps/M_AXI_HPM0_FPD gearshift_0/s_axi_control
join_ports connect_memory gearshift_0/m_axi_memory ps/S_AXI_HPC0_FPD
foreach port $ports {
    connect_bd_net $clock [get_bd_pins ps/saxihp${port}_fpd_aclk]
    join_ports connect_weights_$port gearshift_0/m_axi_weights_$port ps/S_AXI_HP${port}_FPD
}

assign_bd_address
validate_bd_design
save_bd_design

set design [get_files system.bd]
generate_target all $design
add_files -norecurse [make_wrapper -files $design -top]
set_property top system_wrapper [current_fileset]
update_compile_order -fileset sources_1
