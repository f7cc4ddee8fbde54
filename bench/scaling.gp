# SPDX-License-Identifier: GPL-2.0-only
# What a second thread, or process, on a second CPU adds
gain(row, way) = sprintf("< awk -F, '$1 == \"%s\" && $4 == \"%s\" { if ($3 == 1) one[$2] = $6; else print $2 \",\" one[$2] / $6 }' '%s'", \
	row, way, csv)
set multiplot layout 1,2 title "Throughput of two, in units of one alone"
set style data histograms
set style fill solid 0.8 noborder
set boxwidth 0.8
set yrange [0:2.8]
set xlabel "latency of the hardware, us"
do for [row in "threads bind"] {
	set title (row eq "threads" ? "two threads flush one domain" : "two processes bind and unbind")
	plot gain(row, "base") using 2:xticlabels(1) linestyle 1 title "base", \
	     gain(row, "series") using 2 linestyle 2 title "series", \
	     1.8 with lines linestyle 3 title "goal: 1.8"
}
unset multiplot
