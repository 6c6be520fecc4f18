# Synthesis, placement and routing of the project that block_design.tcl made; then the overlay
# (a .bit and a .hwh of the same stem, as PYNQ wants them) and the reports.

set root [file normalize [file join [file dirname [info script]] ..]]
set project [file join $root build vivado]
set reports [file join $root build reports]
file mkdir $reports [file join $root overlay]

open_project [file join $project vivado.xpr]

proc run {name args} {
    reset_runs $name
    launch_runs $name {*}$args -jobs 4
    wait_on_runs $name
    if {[get_property PROGRESS [get_runs $name]] ne "100%"} {
        error "$name did not finish: see its runme.log in build/vivado/vivado.runs/$name"
    }
}

run synth_1
set_property strategy Performance_ExplorePostRoutePhysOpt [get_runs impl_1]
run impl_1 -to_step write_bitstream

open_run impl_1
report_utilization -file [file join $reports utilization.rpt]
report_utilization -hierarchical -file [file join $reports hierarchy.rpt]
report_timing_summary -file [file join $reports timing.rpt]

set bit [glob [file join $project vivado.runs impl_1 *.bit]]
set hwh [glob [file join $project vivado.gen sources_1 bd system hw_handoff system.hwh]]
file copy -force [lindex $bit 0] [file join $root overlay gearshift.bit]
file copy -force [lindex $hwh 0] [file join $root overlay gearshift.hwh]
