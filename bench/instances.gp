# SPDX-License-Identifier: GPL-2.0-only
# The wall time of one flush against the number of instances, for several latencies
set multiplot layout 1,3 title "One flush of a domain, by IOMMU instances that it is attached to"
set xlabel "instances"
set xrange [0:17]
set yrange [0:*]
set xtics (1, 4, 8, 12, 16)
do for [latency in "20 100 500"] {
	set title sprintf("%s us each", latency)
	set ylabel "us"
	stats lines("instances", int(latency), "series") using ($3 == 1 ? $6 : NaN) nooutput
	goal = STATS_max * 1.15 / 1000
	plot lines("instances", int(latency), "base") using 3:($6 / 1000):($5 / 1000):($7 / 1000) \
		with yerrorlines linestyle 1 title "base", \
	     lines("instances", int(latency), "series") using 3:($6 / 1000):($5 / 1000):($7 / 1000) \
		with yerrorlines linestyle 2 title "series", \
	     goal with lines linestyle 3 title "1.15 x one instance"
}
unset multiplot
