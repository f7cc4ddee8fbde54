# SPDX-License-Identifier: GPL-2.0-only
# The VT-d driver: the wall time of an invalidation, how long interrupts are off, and threads
set multiplot layout 1,3 title "The VT-d driver of the base, and that of the series"
set xlabel "units"
set ylabel "us"
set yrange [0:*]
set title "an invalidation, 100 us each unit"
set xrange [0:9]
set xtics (1, 2, 4, 8)
stats lines("vtd-flush", 100, "series") using ($3 == 1 ? $6 : NaN) nooutput
goal = STATS_max * 1.15 / 1000
plot lines("vtd-flush", 100, "base") using 3:($6 / 1000):($5 / 1000):($7 / 1000) \
	with yerrorlines linestyle 1 title "base", \
     lines("vtd-flush", 100, "series") using 3:($6 / 1000):($5 / 1000):($7 / 1000) \
	with yerrorlines linestyle 2 title "series", \
     goal with lines linestyle 3 title "1.15 x one unit"
set style data histograms
set style fill solid 0.8 noborder
set boxwidth 0.8
set xtics autofreq
set xrange [*:*]
set title "interrupts off meanwhile"
plot lines("vtd-irqsoff", 100, "base") using ($6 / 1000):xticlabels(3) linestyle 1 title "base", \
     lines("vtd-irqsoff", 100, "series") using ($6 / 1000) linestyle 2 title "series"
gain(way) = sprintf("< awk -F, '$1 == \"vtd-threads\" && $4 == \"%s\" { if ($3 == 1) one[$2] = $6; else two[$2] = $6 } END { for (l in one) print l \",\" one[l] / two[l] }' '%s' | sort -n", \
	way, csv)
set title "two threads, in units of one alone"
set xlabel "latency of the units, us"
unset ylabel
set yrange [0:2.8]
plot gain("base") using 2:xticlabels(1) linestyle 1 title "base", \
     gain("series") using 2 linestyle 2 title "series", \
     1.8 with lines linestyle 3 title "goal: 1.8"
unset multiplot
